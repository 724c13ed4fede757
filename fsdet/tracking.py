"""Tracking of detections over the frames of a video: ByteTrack, one tracker per category."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from typing import NamedTuple

import numpy as np

from fsdet.api.detector import Detector
from fsdet.api.results import THRESHOLD, Detection
from fsdet.errors import InputError

try:
    from trackers import ByteTrackTracker

    from fsdet.interop import from_supervision, to_supervision
except (ImportError, InputError) as error:
    # Without its dependencies: they include opencv-python, whose cv2 overwrites the headless one.
    raise InputError(
        "tracking needs the packages supervision and trackers:"
        ' pip install -e ".[track]" && pip install --no-deps trackers'
    ) from error

FAINT = 0.5  # detections continue a track from this share of the threshold on
OVERLAP = 0.5  # IoU above which boxes of any categories are one object
FRAMES = 3  # consecutive frames that start a track; the first must be above the threshold


class Tracked(NamedTuple):
    """A detection of a tracked object.

    `track` is the object's number in all frames, from 1. `trail` has the centres of its boxes during the last
    second, the present one last.
    """

    box: tuple[float, float, float, float]
    name: str
    score: float
    track: int
    trail: tuple[tuple[float, float], ...]


def watch(
    detector: Detector,
    frames: Iterable[np.ndarray],
    rate: float,
    threshold: float | None = None,
    tiles: int | None = None,
) -> Iterator[tuple[np.ndarray, list[Tracked]]]:
    """Each frame of a video with its tracked objects; see `follow`.

    Args:
        frames: uint8 [H, W, 3] RGB.
        tiles: see `Detector.predict`.
    """
    shown, frames_to_detect = tee(frames)
    threshold = THRESHOLD if threshold is None else threshold
    detections = (
        detector.predict(frame, FAINT * threshold, tiles=tiles) for frame in frames_to_detect
    )
    yield from zip(shown, follow(detections, rate, threshold), strict=True)


def follow(
    frames: Iterable[Sequence[Detection]], rate: float, threshold: float = 0.5
) -> Iterator[list[Tracked]]:
    """The tracked objects of each frame, best first; a frame is read when its objects are requested.

    A track has one category. Among overlapping detections of any categories only the best counts; weaker ones would
    start tracks of their own. A track starts with an object's third consecutive frame, which excludes flickers.
    An object keeps its number through absences of up to a second.

    Args:
        frames: the detections of each frame with scores from `FAINT * threshold` on; low scores come from
            blurred or half-hidden objects.
        rate: frames per second.
        threshold: lowest score that starts a track.
    """
    trackers: dict[str, ByteTrackTracker] = {}
    numbers: dict[tuple[str, int], int] = {}
    past: deque[dict[int, tuple[float, float]]] = deque(maxlen=max(1, round(rate)))
    for detections in frames:
        names = list(dict.fromkeys(detection.name for detection in detections))
        for name in names:
            if name not in trackers:
                trackers[name] = ByteTrackTracker(
                    lost_track_buffer=30,  # in thirtieths of a second
                    frame_rate=rate,
                    track_activation_threshold=threshold,
                    minimum_consecutive_frames=FRAMES,
                    high_conf_det_threshold=threshold,
                )
        suppressed = to_supervision(detections, names).with_nms(OVERLAP, class_agnostic=True)
        best = from_supervision(suppressed)
        tracked: list[Tracked] = []
        middles: dict[int, tuple[float, float]] = {}
        past.append(middles)
        for (
            name,
            tracker,
        ) in trackers.items():  # every tracker gets every frame, for its clock counts them
            own = [detection for detection in best if detection.name == name]
            updated = tracker.update(to_supervision(own, names))
            assert updated.tracker_id is not None
            track_ids = updated.tracker_id.tolist()
            for detection, track_id in zip(from_supervision(updated), track_ids, strict=True):
                if track_id >= 0:
                    number = numbers.setdefault((name, track_id), len(numbers) + 1)
                    x1, y1, x2, y2 = detection.box
                    middles[number] = ((x1 + x2) / 2, (y1 + y2) / 2)
                    trail = tuple(frame[number] for frame in past if number in frame)
                    tracked.append(Tracked(*detection, number, trail))
        yield sorted(tracked, key=lambda detection: -detection.score)
