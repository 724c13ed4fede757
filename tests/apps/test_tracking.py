"""Tracking of objects on given paths: numbers that stay, new numbers, no tracks."""

import sys
from collections import defaultdict

import numpy as np
import pytest

from fsdet import Detection
from fsdet.errors import InputError
from fsdet.tracking import FAINT, FRAMES, follow, watch

SIDE = 30


def moving(name, start, step, frames, score=0.9):
    """An object's detections on a straight path, by frame."""
    (x, y), (dx, dy) = start, step
    return {
        n: Detection((x + n * dx, y + n * dy, x + n * dx + SIDE, y + n * dy + SIDE), name, score)
        for n in frames
    }


def tracked(*objects, rate=30.0, count=None, threshold=0.5):
    """Each frame's tracked objects of a video with these objects."""
    count = 1 + max(n for one in objects for n in one) if count is None else count
    frames = [[one[n] for one in objects if n in one] for n in range(count)]
    return list(follow(frames, rate, threshold))


def numbers(result, one):
    """The track of an object in each frame in which it is tracked."""
    return {
        n: found.track
        for n, frame in enumerate(result)
        for found in frame
        if n in one and (found.name, found.box) == (one[n].name, one[n].box)
    }


def test_an_object_that_crosses_keeps_its_number():
    gear = moving("gear", (0, 40), (7, 1), range(40))
    result = tracked(gear, rate=10)
    assert result[: FRAMES - 1] == [[]] * (FRAMES - 1)
    for n, frame in enumerate(result[FRAMES - 1 :], FRAMES - 1):
        (one,) = frame
        assert (one.box, one.name, one.score, one.track) == (*gear[n][:2], np.float32(0.9), 1)
        past = range(max(FRAMES - 1, n - 9), n + 1)  # a second of it
        assert one.trail == tuple((7 * k + SIDE / 2, 40 + k + SIDE / 2) for k in past)


def test_objects_that_move_apart_or_pass_keep_their_numbers():
    left = moving("gear", (100, 40), (-3, 0), range(25))
    right = moving("gear", (120, 40), (3, 0), range(25))
    above = moving("gear", (0, 150), (8, 0), range(25))
    below = moving("gear", (200, 170), (-8, 0), range(25))
    objects = (left, right, above, below)
    result = tracked(*objects)
    found = [numbers(result, one) for one in objects]
    assert all(list(one) == list(range(FRAMES - 1, 25)) for one in found)
    assert sorted(set(one.values()) for one in found) == [{1}, {2}, {3}, {4}]


@pytest.mark.parametrize(
    ("rate", "gone", "tracks"), [(30, 25, 1), (30, 40, 2), (10, 8, 1), (10, 25, 2)]
)
def test_an_object_keeps_its_number_when_it_is_gone_for_up_to_a_second(rate, gone, tracks):
    """Others are there meanwhile, or nothing at all."""
    frames = [*range(15), *range(15 + gone, 30 + gone)]
    gear = moving("gear", (10, 40), (1, 0), frames)
    for others in ((), (moving("key", (10, 150), (1, 0), range(30 + gone)),)):
        found = numbers(tracked(gear, *others, rate=rate), gear)
        assert len(set(found.values())) == tracks
        assert found[14] == min(found.values()) and 29 + gone in found


def test_categories_never_share_a_number():
    """An object that is called a gear and then a key; a gear and a key that pass through each other."""
    first = moving("gear", (0, 20), (4, 0), range(20))
    then = moving("key", (0, 20), (4, 0), range(20, 40))
    one, other = (
        moving("gear", (0, 150), (5, 0), range(40)),
        moving("key", (195, 150), (-5, 0), range(40), score=0.8),
    )
    result = tracked(first, then, one, other)
    names = defaultdict(set)
    for frame in result:
        for found in frame:
            names[found.track].add(found.name)
    assert sorted(map(list, names.values())) == [["gear"], ["gear"], ["key"], ["key"]]
    passing = numbers(result, other)
    assert len(set(passing.values())) == 1 and set(passing) < set(range(FRAMES - 1, 40))


def test_the_best_of_overlapping_detections_is_tracked():
    gear, rival = (
        moving(name, (0, 20), (4, 0), range(20), score)
        for name, score in (("gear", 0.9), ("key", 0.8))
    )
    result = tracked(rival, gear)
    assert {one.name for frame in result for one in frame} == {"gear"}


def test_a_faint_detection_keeps_a_track_and_begins_none():
    gear = moving("gear", (0, 40), (5, 0), range(40))
    faint = gear | moving("gear", (0, 40), (5, 0), range(10, 30), score=0.3)
    never = moving("key", (0, 150), (5, 0), range(40), score=0.49)
    result = tracked(faint, never)
    assert numbers(result, gear) == dict.fromkeys(range(FRAMES - 1, 40), 1)
    assert {one.name for frame in result for one in frame} == {"gear"}
    assert {one.track for frame in tracked(never, threshold=0.4) for one in frame} == {1}


def test_flickering_detections_begin_no_track():
    flickers = [n for n in range(40) if n % 5 < FRAMES - 1]
    assert not any(tracked(moving("gear", (10, 40), (0, 0), flickers)))


def test_frames_without_detections_have_no_tracks():
    assert list(follow([], 30)) == [] and list(follow([[], []], 30)) == [[], []]


class ByColour:
    """Finds what is red, the less sure the darker it is."""

    def __init__(self):
        self.seen = 0

    def predict(self, image, threshold, tiles):
        self.seen += 1
        score = image[..., 0].max() / 255
        (y1, x1), (y2, x2) = (
            f(np.argwhere(image[..., 0]), axis=0).tolist() for f in (np.min, np.max)
        )
        return [Detection((x1, y1, x2, y2), "red", score)] if score >= threshold else []


def test_watch_uses_faint_detections_and_reads_one_frame_at_a_time():
    images = [np.zeros((60, 200, 3), np.uint8) for _ in range(20)]
    for n, image in enumerate(images):
        image[20:50, 5 * n : 5 * n + 30, 0] = 255 * (FAINT + 0.1) * 0.5 if 8 <= n < 12 else 230
    detector = ByColour()
    for n, (image, found) in enumerate(watch(detector, iter(images), 30.0, 0.5)):
        assert detector.seen == n + 1 and image is images[n]
        assert [one.track for one in found] == [1] * (n >= FRAMES - 1)


def test_a_missing_package_is_named_with_its_commands(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackers", None)
    monkeypatch.delitem(sys.modules, "fsdet.tracking")
    with pytest.raises(
        InputError, match=r'pip install -e "\.\[track\]" && pip install --no-deps trackers$'
    ):
        import fsdet.tracking  # noqa: F401
