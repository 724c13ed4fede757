"""The studio without its page: projects, sessions, lessons, export and import."""

import io
import os
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
import torch
from helpers import published
from helpers.detectors import INKS, empty, square
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from sklearn.metrics import f1_score
from torchvision.ops import box_iou

import fsdet
from fsdet import Detection, InputError
from fsdet.apps.studio import exchange
from fsdet.apps.studio.boxes import iou
from fsdet.apps.studio.changes import changed_photo, difference
from fsdet.apps.studio.estimates import Estimate, best_threshold, estimates, hits
from fsdet.apps.studio.lesson import Teacher
from fsdet.apps.studio.photos import MOST_FRAMES
from fsdet.apps.studio.project import Box, Labels, Photo, Project, as_json, from_json
from fsdet.apps.studio.store import UNDO_STATES, Limits, Store
from fsdet.apps.studio.studio import Studio
from fsdet.apps.studio.suggestions import next_to_label, pending
from fsdet.data import open_data
from fsdet.data.formats import write
from fsdet.data.shapes.dataset import open_shapes

PHOTOS = tuple(Photo(key, f"{key}.png", 100, 80) for key in "abc")
A_BOX = Box("red", (10.0, 10.0, 40.0, 40.0))


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def squares(ink: str = "red", count: int = 4) -> list[tuple[str, bytes, Box]]:
    found = []
    for seed in range(count):
        image, box = square(ink, seed + (100 if ink == "blue" else 0))
        found.append((f"{ink}{seed}.png", png(image), Box(ink, tuple(map(float, box)))))
    return found


@pytest.fixture
def studio(tmp_path):
    return Studio(Store(tmp_path / "sessions"), empty())


def opened(studio: Studio, ink: str = "red", count: int = 4) -> tuple[str, list[str], list[Box]]:
    """A session with photographs of squares, their keys, and the true boxes."""
    token, made = studio.store.begin(), squares(ink, count)
    project, refused = studio.store.add(token, [(name, content) for name, content, _ in made])
    assert not refused
    return token, [photo.key for photo in project.photos], [box for *_, box in made]


def taken_in(studio: Studio, token: str, name: str, content: bytes) -> list[str]:
    """What a photograph that comes as a file is refused for."""
    with TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(content)
        return studio.add(token, [Path(folder) / name])


def complete(*boxes: Box) -> Labels:
    return Labels(boxes, complete=True)


def drawn(studio: Studio, token: str, key: str, *boxes: Box) -> None:
    """Draw boxes in a photograph and mark it complete."""
    studio.label(token, key, complete(*boxes))


# Changes of a project


def test_boxes_are_clipped_and_their_corners_ordered():
    project = Project(PHOTOS).labelled("a", Labels((Box("x", (120.0, 90.0, 50.0, -5.0)),)))
    assert project.of("a") == Labels((Box("x", (50.0, 0.0, 100.0, 80.0)),))
    for corners in ((1.0, 1.0, 1.5, 40.0), (200.0, 5.0, 300.0, 9.0), (np.nan, 0, 1, 1)):
        for labels in (Labels((Box("x", corners),)), Labels(rejected=(corners,))):
            with pytest.raises(InputError, match=r"box"):
                Project(PHOTOS).labelled("a", labels)


def test_categories_are_named_renamed_and_deleted():
    unnamed = complete(replace(A_BOX, category=""))
    project = Project(PHOTOS).labelled("a", unnamed).labelled("b", complete(A_BOX))
    assert project.categories == ("red",) and project.shots() == {"red": 1}
    project = project.labelled("a", complete(replace(A_BOX, category=" gear ")))
    assert project.categories == ("gear", "red") and project.shots() == {"gear": 1, "red": 1}
    project = project.with_threshold("red", 0.3).renamed("red", "gear")
    assert project.shots() == {"gear": 2} and project.thresholds == {"gear": 0.3}
    assert project.without_category("gear").shots() == {}
    assert project.unfinished() == ["c"]
    assert project.without_category("gear").unfinished() == ["a", "b", "c"]  # perhaps not empty
    for name in ("", "  ", "x" * 61, "a\nb", "\x00"):
        with pytest.raises(InputError, match=r"name"):
            project.renamed("gear", name)
    with pytest.raises(InputError, match=r"gear.*got 'bolt'"):
        project.renamed("bolt", "x")


def test_an_answer_replaces_boxes_and_rejections_of_the_same_object():
    near = Box("blue", (11.0, 10.0, 40.0, 40.0))
    project = Project(PHOTOS).labelled("a", Labels((A_BOX,))).accepted("a", near)
    assert project.of("a").boxes == (near,)
    project = project.rejected("b", A_BOX.corners).rejected("b", near.corners)
    assert project.of("b").rejected == (near.corners,)
    assert project.accepted("b", A_BOX).of("b").rejected == ()
    labels = Labels((A_BOX,), project.of("b").rejected)
    assert project.labelled("b", labels).of("b") == Labels((A_BOX,))
    assert project.rejected("a", A_BOX.corners).of("a") == Labels((), (A_BOX.corners,))


def test_a_difference_names_the_photograph_and_what_changed():
    before = Project(PHOTOS)
    after = before.labelled("b", Labels((A_BOX,), complete=True))
    assert changed_photo(before, after) == "b"
    expected = "'b.png' had 0 boxes, and has 1 box, the mark 'complete'"
    assert difference(before, after) == expected
    assert "2 photographs changed" in difference(before, after.labelled("a", Labels((A_BOX,))))
    assert difference(before, before.without_photo("a")) == "3 photographs became 2"
    assert difference(after, after.with_threshold("red", 0.2)) == "a confidence threshold changed"
    assert difference(before, replace(before, detector="x")) == "the detector was replaced"


corner = st.floats(0, 100, allow_nan=False)


@given(st.lists(st.tuples(st.text(max_size=5), corner, corner, corner, corner), max_size=5))
def test_a_project_survives_json(rows):
    project = Project(PHOTOS)
    for name, *corners in rows:
        try:
            project = project.accepted("a", Box(name, tuple(corners))).rejected("b", corners)
        except InputError:
            continue
    assert from_json(as_json(project)) == project


@given(st.tuples(*[corner] * 4), st.tuples(*[corner] * 4))
def test_iou_equals_torchvision(one, other):
    one, other = ((min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in (one, other))
    pair = (torch.tensor([box], dtype=torch.float64) for box in (one, other))
    theirs = box_iou(*pair).item()
    assert iou(one, other) == pytest.approx(0 if np.isnan(theirs) else theirs, abs=1e-9)


# Sessions


def test_a_session_survives_a_restart_and_can_be_undone(tmp_path):
    studio = Studio(Store(tmp_path), empty())
    token, keys, boxes = opened(studio)
    drawn(studio, token, keys[0], boxes[0])
    drawn(studio, token, keys[1], boxes[1])
    seen = studio.view(token)
    again = Studio(Store(tmp_path), empty())
    assert again.store.project(token) == studio.store.project(token)
    view = again.view(token)
    assert view.thresholds == seen.thresholds and view.lesson.found == seen.lesson.found
    assert again.store.undo(token).of(keys[1]).boxes == ()
    assert again.store.project(token).of(keys[0]).boxes == (boxes[0],)
    assert again.store.undo(token).of(keys[0]).boxes == ()
    assert again.store.undo(token).photos == ()
    with pytest.raises(InputError, match="nothing is left to undo"):
        again.store.undo(token)


def test_old_states_and_old_sessions_are_deleted(tmp_path):
    store = Store(tmp_path)
    token = store.begin()
    store.add(token, [("a.png", png(square("red", 0)[0]))])
    key = store.project(token).photos[0].key
    for n in range(UNDO_STATES + 10):
        box = Box("x", (0.0, 0.0, 20.0 + n / 10, 9.0))
        store.change(token, lambda p, box=box: p.labelled(key, Labels((box,))))
    assert len(list((tmp_path / token / "states").iterdir())) == UNDO_STATES
    os.utime(tmp_path / token, (0, 0))
    assert not Store(tmp_path).has(token) and not (tmp_path / token).exists()


@pytest.mark.parametrize("token", ["", "../x", "0" * 31, "g" * 32, None, 7, "0" * 32, "A" * 32])
def test_wrong_tokens_are_refused(tmp_path, token):
    store = Store(tmp_path)
    store.begin()
    assert not store.has(token)
    with pytest.raises(InputError, match="session"):
        store.project(token)
    with pytest.raises(InputError, match="session"):
        store.put_detector(token, b"")


def test_unusable_photographs_are_refused_and_the_others_added(tmp_path):
    store = Store(tmp_path, Limits(megabytes=1, megapixels=1, photos=2))
    token, good = store.begin(), png(square("red", 0)[0])
    header = png(np.zeros((2, 2, 3), np.uint8))
    bomb = header[:16] + (60000).to_bytes(4, "big") + (60000).to_bytes(4, "big") + header[24:]
    files = [
        ("good.png", good),
        ("empty.jpg", b""),
        ("text.jpg", b"hello"),
        ("cut.png", good[: len(good) // 2]),
        ("bomb.png", bomb),
        ("big.png", bytes(1_000_001)),
        ("wide.png", png(np.zeros((1001, 1000, 3), np.uint8))),
        ("../../etc/passwd", png(square("blue", 0)[0])),
        ("third.png", png(square("blue", 1)[0])),
        ("twice.png", good),
    ]
    project, refused = store.add(token, files)
    assert [photo.name for photo in project.photos] == ["good.png", "passwd"]
    told = " | ".join(refused)
    for name in ("empty.jpg", "text.jpg", "cut.png", "bomb.png", "big.png", "wide.png"):
        assert f"'{name}'" in told
    assert "up to 2 photographs: 1 of 3 were left out" in told and str(tmp_path) not in told
    assert {path.name for path in (tmp_path / token).iterdir()} == {"states", "photos"}


def test_photographs_of_the_same_name_are_renamed(tmp_path):
    store = Store(tmp_path)
    token = store.begin()
    images = [png(square("red", seed)[0]) for seed in range(2)]
    project, _ = store.add(token, [("a.png", images[0]), ("a.png", images[1])])
    names = [photo.name for photo in project.photos]
    assert names[0] == "a.png" and names[1].startswith("a-") and names[1].endswith(".png")
    assert store.file(token, project.photos[1].key).read_bytes() == images[1]


def test_the_number_of_sessions_is_bounded(tmp_path):
    store = Store(tmp_path, Limits(sessions=2))
    store.begin(), store.begin()
    with pytest.raises(InputError, match="2 sessions"):
        store.begin()
    token = next(iter(store.folder.iterdir())).name
    os.utime(store.folder / token, (0, 0))
    assert store.has(store.begin()) and not store.has(token)  # an empty one that was left made room


# Lessons


def test_a_category_drawn_in_two_photographs_is_detected_in_the_others(studio):
    token, keys, boxes = opened(studio, count=5)
    for place in (0, 1):
        drawn(studio, token, keys[place], boxes[place])
    view = studio.teach(token)
    for place in (2, 3, 4):
        best = view.lesson.found[keys[place]][0]
        middle = (best.box[0] + best.box[2]) / 2, (best.box[1] + best.box[3]) / 2
        x1, y1, x2, y2 = boxes[place].corners
        assert best.name == "red" and x1 < middle[0] < x2 and y1 < middle[1] < y2
    assert studio.view(token).lesson is view.lesson  # nothing was said since
    assert view.project.shots() == {"red": 2}


def test_a_lesson_equals_registering_by_hand(studio):
    token, keys, boxes = opened(studio)
    drawn(studio, token, keys[0], boxes[0])
    by_hand = empty()
    image = studio.store.image(token, keys[0])
    by_hand.register("red", [image], [list(boxes[0].corners)])
    found = studio.view(token).lesson.found[keys[1]]
    expected = by_hand.predict(studio.store.image(token, keys[1]), 0.05)
    assert [one.name for one in found] == [one.name for one in expected]
    # The candidates were kept as float16 in between.
    np.testing.assert_allclose([o.score for o in found], [o.score for o in expected], atol=5e-3)


def test_answers_change_the_next_lesson(studio):
    token, keys, boxes = opened(studio)
    drawn(studio, token, keys[0], boxes[0])
    studio.store.change(token, lambda p: p.with_threshold("red", 0.05))
    view = studio.view(token)
    detection = view.pending(keys[1])[0]
    studio.answer(token, [], [(keys[1], detection.box)])
    after = studio.view(token)
    assert detection not in after.pending(keys[1])
    assert after.lesson is not view.lesson
    studio.store.undo(token)
    studio.answer(token, [(keys[1], Box("red", detection.box))])
    assert studio.view(token).project.shots() == {"red": 2}


def test_all_above_a_score_are_accepted_in_one_change(studio):
    token, keys, boxes = opened(studio)
    drawn(studio, token, keys[0], boxes[0])
    studio.store.change(token, lambda p: p.with_threshold("red", 0.05))
    view = studio.view(token)
    scores = sorted(d.score for key in keys[1:] for d in view.pending(key))
    least = scores[len(scores) // 2]
    expected = {(key, d.box) for key in keys for d in view.pending(key) if d.score >= least}
    assert studio.accept_above(token, least) == len(expected)
    project = studio.store.project(token)
    accepted = {(key, box.corners) for key in keys[1:] for box in project.of(key).boxes}
    assert accepted <= expected and len(accepted) > 0
    assert (
        project.unfinished() == keys[1:]
    )  # that boxes are right does not say that none is missing
    assert studio.store.undo(token).shots() == {"red": 1}


def test_nothing_waits_in_a_complete_photograph(studio):
    """Its detections are background by its own mark: there is no question about them."""
    token, keys, boxes = opened(studio)
    drawn(studio, token, keys[0], boxes[0])
    studio.store.change(token, lambda p: p.with_threshold("red", 0.05))
    view = studio.view(token)
    assert view.lesson.found[keys[0]] and view.pending(keys[0]) == []
    waiting = view.pending(keys[1])
    assert waiting
    drawn(studio, token, keys[1])  # empty
    view = studio.view(token)
    assert view.pending(keys[1]) == [] and view.project.unfinished() == keys[2:]
    assert view.after(keys[0]) == keys[2] and view.after(keys[3]) == keys[2]
    assert view.beside(keys[0], -1) == keys[3] and view.beside(keys[3], 1) == keys[0]
    assert view.filtered("complete") == keys[:2] and view.filtered("not complete") == keys[2:]
    assert view.filtered("without a box") == keys[1:] and view.filtered("nonsense") == keys
    boxes, found, left = view.progress()
    assert (boxes, left) == (1, 2) and found == sum(map(len, map(view.pending, keys)))


def test_teaching_without_a_category_is_refused(studio):
    token, keys, boxes = opened(studio)
    with pytest.raises(InputError, match="draw a box"):
        studio.teach(token)
    drawn(studio, token, keys[0], replace(boxes[0], category=""))
    with pytest.raises(InputError, match="type its category"):
        studio.teach(token)
    assert not any(studio.view(token).lesson.found.values())


def test_only_complete_photographs_give_background(studio):
    token, keys, boxes = opened(studio)
    drawn(studio, token, keys[0], boxes[0])
    teacher = Teacher(empty())

    def background(project: Project) -> int:
        regions = teacher.taught(project, lambda key: studio.store.image(token, key)).support()
        return int((regions.labels == 0).sum())

    one = studio.store.project(token)
    two = one.accepted(keys[1], boxes[1])
    assert background(one) > 0 and background(two) == background(one)
    assert background(two.labelled(keys[1], complete(boxes[1]))) > background(two)
    assert background(one.labelled(keys[1], complete())) > background(one)
    assert background(two.rejected(keys[1], (0.0, 0.0, 12.0, 12.0))) > background(two)


def test_a_covered_box_does_not_stop_the_lesson(studio):
    token, keys, boxes = opened(studio)
    drawn(studio, token, keys[0], boxes[0], replace(boxes[0], category="twin"))
    view = studio.view(token)
    assert view.lesson.detector.names == ("red",) and view.unlearned() == ["twin"]
    assert view.lesson.found[keys[1]]
    drawn(studio, token, keys[1], replace(boxes[1], category="twin"))  # by itself it is learned
    assert studio.view(token).unlearned() == []


def test_a_photograph_too_narrow_for_the_detector_is_refused(studio):
    token, keys, boxes = opened(studio)
    drawn(studio, token, keys[0], boxes[0])
    narrow = png(np.zeros((2000, 2, 3), np.uint8))
    refused = taken_in(studio, token, "narrow.png", narrow)
    assert len(refused) == 1 and "'narrow.png'" in refused[0] and "too narrow" in refused[0]
    assert len(studio.view(token).project.photos) == len(keys)


@given(st.lists(st.tuples(st.floats(0.05, 1), st.booleans()), max_size=12), st.integers(0, 4))
def test_the_threshold_has_the_best_f1(marks, missed):
    right = sum(hit for _, hit in marks)
    truth = right + missed
    value = best_threshold(marks, truth)
    assert 0.05 <= value <= 0.95
    if not right:
        assert value == 0.5
        return

    def f1(threshold: float) -> float:
        kept = [hit for score, hit in marks if score >= threshold]
        # scikit-learn's F1 of all detections and all that was missed.
        said = [score >= threshold for score, _ in marks] + [False] * missed
        true = [hit for _, hit in marks] + [True] * missed
        return f1_score(true, said, zero_division=0) if kept or truth else 0.0

    if value < 0.95:
        assert f1(value) == pytest.approx(max(f1(score) for score, _ in marks))


def test_each_box_matches_one_detection():
    found = [Detection(A_BOX.corners, "red", 0.9), Detection((10.0, 10.0, 40.0, 41.0), "red", 0.8)]
    assert hits(found, [A_BOX]) == [(0.9, True), (0.8, False)]


def test_next_to_label_is_the_most_uncertain_photograph():
    far = (60.0, 60.0, 90.0, 79.0)
    found = {
        "a": (Detection(A_BOX.corners, "red", 0.99),),
        "b": (Detection(A_BOX.corners, "red", 0.5),),
    }
    project = Project(PHOTOS)
    assert next_to_label(project, found) == ["b", "a", "c"]
    assert next_to_label(project.labelled("b", complete(A_BOX)), found) == ["a", "c"]
    assert next_to_label(project.accepted("b", A_BOX), found) == ["a", "b", "c"]
    found["b"] += (Detection(far, "red", 0.3),)
    assert [d.box for d in pending(project.accepted("b", A_BOX), "b", found, {"red": 0.2})] == [far]
    assert pending(project.accepted("b", A_BOX), "b", found, {"red": 0.4}) == []
    part = {"b": (Detection((12.0, 12.0, 22.0, 22.0), "red", 0.9),)}
    inside = project.labelled("b", Labels((A_BOX,)))
    assert pending(project, "b", part, {}) and not pending(inside, "b", part, {})


def test_estimates_count_what_is_found_in_photographs_left_out():
    right, wrong = Detection(A_BOX.corners, "red", 0.9), Detection((60, 60, 90, 79), "red", 0.8)
    left_out = [
        (("red",), [right, wrong], [A_BOX]),
        (("red",), [], [A_BOX]),
        ((), [right], [A_BOX]),
    ]
    best = best_threshold([(0.9, True), (0.8, False)], 2)
    found = estimates(["red", "blue"], left_out)
    assert found["red"].threshold == pytest.approx((2 * best + 2 * 0.5) / 4)
    # 0.675 lies below both scores.
    assert found["red"][1:] == (2, 1, 1) and found["blue"] == Estimate()


def test_a_moved_detector_is_taught_and_undo_brings_the_one_before_back(studio):
    token, keys, boxes = opened(studio)
    studio.answer(token, [(keys[0], boxes[0])])
    with pytest.raises(InputError, match="complete"):
        studio.move(token, lambda done: None)
    for key, box in zip(keys[:2], boxes, strict=False):
        drawn(studio, token, key, box)
    before, steps = studio.view(token), []
    studio.move(token, steps.append)
    after = studio.view(token)
    assert steps == list(range(1, len(steps) + 1)) and len(steps) >= 10
    assert after.lesson.detector.names == ("red",) and after.project.shots() == {"red": 2}
    weights = [view.lesson.detector.model.backbone.state_dict() for view in (before, after)]
    assert any(not weights[1][name].equal(value) for name, value in weights[0].items())
    studio.store.undo(token)
    assert studio.view(token).lesson.found == before.lesson.found


def test_frames_of_a_video_become_photographs(studio, tmp_path):
    file = tmp_path / "film.avi"
    film = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 25, (96, 96))
    for number in range(2 * MOST_FRAMES + 1):
        film.write(np.full((96, 96, 3), 3 * number, np.uint8))
    film.release()
    token = studio.store.begin()
    assert studio.add(token, [file]) == []
    photos = studio.store.project(token).photos
    assert 20 < len(photos) <= MOST_FRAMES
    assert photos[0].name == "film-00000.jpg" and photos[1].name == "film-00003.jpg"
    shades = [studio.store.image(token, photo.key).mean() for photo in photos]
    assert shades == sorted(shades) and shades[-1] > 200
    (tmp_path / "cut.mp4").write_bytes(b"no video")
    (refused,) = studio.add(token, [tmp_path / "cut.mp4"])
    assert "'cut.mp4': not a video" in refused and str(tmp_path) not in refused


# Export and import


@pytest.fixture
def labelled(studio):
    token, keys, boxes = opened(studio)
    for key, box in list(zip(keys, boxes, strict=True))[:3]:
        drawn(studio, token, key, box, Box("corner", (0.25, 0.5, 9.75, 8.5)))
    return studio, token


@pytest.mark.parametrize("kind", list(write.FORMATS))
@pytest.mark.parametrize("with_photos", [True, False])
def test_exported_labels_can_be_imported(labelled, tmp_path, kind, with_photos):
    studio, token = labelled
    studio.export_labels(token, kind, tmp_path / "labels.zip", with_photos)
    before, other = studio.store.project(token), studio.store.begin()
    if not with_photos:
        files = [
            (photo.name, studio.store.file(token, photo.key).read_bytes())
            for photo in before.photos
        ]
        studio.store.add(other, files)
    assert studio.import_labels(other, tmp_path / "labels.zip") == []
    after = studio.store.project(other)
    within = {"COCO": 0.005, "VOC": 0.5, "YOLO": 0.001}[kind]
    for photo in before.photos[:3]:
        one, two = before.of(photo.key), after.of(photo.key)
        assert two.complete
        for old, new in zip(one.boxes, two.boxes, strict=True):
            assert old.category == new.category
            np.testing.assert_allclose(new.corners, old.corners, atol=within)


@pytest.mark.parametrize("kind", list(write.FORMATS))
def test_an_exported_zip_is_a_data_set(labelled, tmp_path, kind):
    studio, token = labelled
    studio.export_labels(token, kind, tmp_path / "labels.zip", with_photos=True)
    with zipfile.ZipFile(tmp_path / "labels.zip") as archive:
        archive.extractall(tmp_path / "out")
    data = open_data(tmp_path / "out", "train", cache=False)
    assert len(data) == 3 and len(data.boxes) == 6 and set(data.classes) == {"red", "corner"}
    assert (
        data.image(0) == studio.store.image(token, studio.store.project(token).photos[0].key)
    ).all()
    if kind == "COCO":
        theirs = COCO(str(tmp_path / "out/annotations/instances_train.json"))
        assert len(theirs.getAnnIds()) == 6 and len(theirs.getCatIds()) == 2


@pytest.mark.parametrize("kind", list(write.FORMATS))
def test_any_data_set_can_be_written_and_read(tmp_path, kind):
    shapes = open_shapes("train", images=4, size=64)
    annotations, folder = write.FORMATS[kind]
    for path, text in annotations(shapes, "train"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / folder.format(subset="train")).mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(write.file_names(shapes)):
        cv2.imwrite(str(tmp_path / folder.format(subset="train") / name), shapes.image(i))
    data = open_data(tmp_path, "train", cache=False)
    names = [data.classes[n - 1] for n in data.labels]
    assert names == [shapes.classes[n - 1] for n in shapes.labels]
    np.testing.assert_allclose(data.boxes, shapes.boxes, atol=0.51 if kind == "VOC" else 0.01)


def test_a_coco_json_alone_labels_photographs_of_the_project(labelled, tmp_path):
    studio, token = labelled
    text = dict(write.coco_files(exchange.as_data(studio.store.project(token)), "train"))
    (tmp_path / "labels.json").write_text(text["annotations/instances_train.json"])
    other = studio.store.begin()
    studio.store.add(other, [(name, content) for name, content, _ in squares(count=2)])
    studio.import_labels(other, tmp_path / "labels.json")
    assert studio.store.project(other).shots() == {"red": 2, "corner": 2}
    with pytest.raises(InputError, match="are the file names the same"):
        studio.import_labels(studio.store.begin(), tmp_path / "labels.json")


def zip_of(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


XML = (
    "<annotation><filename>{0}</filename><size><width>96</width><height>96</height><depth>3</depth></size>"
    "<object><name>red</name><bndbox><xmin>{1}</xmin><ymin>{2}</ymin><xmax>{3}</xmax><ymax>{4}</ymax></bndbox>"
    "</object></annotation>"
)


@pytest.mark.parametrize(
    ("images", "annotations", "ending"),
    [("", "", "xml"), ("images/", "annots/", "xml"), ("set/images/", "set/labels/", "txt")],
)
def test_zips_as_labelimg_and_darknet_leave_them_are_imported(
    studio, tmp_path, images, annotations, ending
):
    files = {"set/classes.txt": b"red"} if ending == "txt" else {}
    for name, content, box in squares():
        x1, y1, x2, y2 = (round(value) for value in box.corners)
        centre = [(x1 + x2) / 192, (y1 + y2) / 192, (x2 - x1) / 96, (y2 - y1) / 96]
        yolo = "0 " + " ".join(map(str, centre))
        text = XML.format(name, x1, y1, x2, y2) if ending == "xml" else yolo
        files[images + name] = content
        files[annotations + name.replace("png", ending)] = text.encode()
    (tmp_path / "in.zip").write_bytes(zip_of(files))
    token = studio.store.begin()
    assert studio.import_labels(token, tmp_path / "in.zip") == []
    project = studio.store.project(token)
    assert project.shots() == {"red": 4} and project.unfinished() == []
    boxes = {photo.name: project.of(photo.key).boxes[0] for photo in project.photos}
    for name, _, box in squares():
        np.testing.assert_allclose(boxes[name].corners, box.corners, atol=1.01)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "zip of a data set or a COCO JSON"),
        (b"hello", "zip of a data set or a COCO JSON"),
        (b"{", r"'in\.zip'.*not valid JSON"),
        (b'{"images": 3}', r"'in\.zip'.*expected lists images, annotations, categories"),
        (zip_of({}), "no data set"),
        (zip_of({"a.txt": b"x"}), r"no data set in it, found a\.txt"),
        (zip_of({"../data.yaml": b"x"}), "leads out of the archive"),
        (zip_of({"/etc/x": b"x"}), "leads out of the archive"),
        (zip_of({"..\\x": b"x"}), "leads out of the archive"),
        (zip_of({"data.yaml": b"train: images\nnames: [a]"}), "box|images"),
    ],
)
def test_imports_without_a_data_set_are_refused(studio, tmp_path, content, message):
    (tmp_path / "in.zip").write_bytes(content)
    token = studio.store.begin()
    with pytest.raises(InputError, match=message):
        studio.import_labels(token, tmp_path / "in.zip")
    assert studio.store.project(token) == Project()


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_archives_are_refused(kind):
    content, rng = io.BytesIO(), np.random.default_rng(0)
    with zipfile.ZipFile(content, "w", kind) as archive:
        archive.writestr("data.yaml", "train: images\nnames: [a]\n" * 20)
    whole = content.getvalue()
    for _ in range(150):
        broken = bytearray(whole)
        for at in rng.integers(0, len(whole), rng.integers(1, 6)):
            broken[at] = rng.integers(256)
        with pytest.raises(InputError, match=r"'in\.zip'"):
            exchange.read_labels(bytes(broken), "in.zip", {})


def test_an_archive_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(exchange, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="GB"):
        exchange.read_labels(zip_of({"data.yaml": bytes(1001)}), "big.zip", {})


def test_export_without_labels_is_refused(studio, tmp_path):
    with pytest.raises(InputError, match="draw a box"):
        studio.export_labels(studio.store.begin(), "COCO", tmp_path / "x.zip", True)
    with pytest.raises(InputError, match="COCO"):
        studio.export_labels(studio.store.begin(), "coco", tmp_path / "x.zip", True)


def test_an_imported_detector_belongs_to_its_session(studio, tmp_path):
    token, keys, boxes = opened(studio)
    drawn(studio, token, keys[0], boxes[0])
    studio.view(token).lesson.detector.save(tmp_path / "mine.safetensors")
    other, _, _ = opened(studio, "blue")
    studio.import_detector(other, tmp_path / "mine.safetensors")
    assert studio.view(other).lesson.detector.names == ("red",)
    assert studio.view(studio.store.begin()).lesson.detector.names == ()
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match=r"bad\.safetensors"):
        studio.import_detector(other, tmp_path / "bad.safetensors")
    again = Studio(studio.store, empty())
    assert again.view(other).lesson.detector.names == ("red",)
    empty().save(tmp_path / "another.safetensors")
    studio.import_detector(other, tmp_path / "another.safetensors")
    assert studio.view(other).lesson.detector.names == ()
    studio.store.undo(other)  # the first of the two is still here
    assert Studio(studio.store, empty()).view(other).lesson.detector.names == ("red",)


def test_a_published_detector_learns_beside_what_it_knows(tmp_path):
    model = published.small_detector(4, short=96)
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias[0] += 2
    detector = fsdet.import_detector(model, names=["cat", "dog", "cup"])
    studio = Studio(Store(tmp_path / "sessions"), detector)
    token, keys, boxes = opened(studio)
    for key, box in zip(keys[:2], boxes, strict=False):
        drawn(studio, token, key, box)
    assert {d.name for d in studio.view(token).lesson.found[keys[2]]} == {"red"}
    # A box of a category that it knows is a label like others; the detector's rows stay.
    drawn(studio, token, keys[0], boxes[0], Box("cat", (1.0, 1.0, 20.0, 20.0)))
    view = studio.view(token)
    assert set(view.project.categories) == {"red", "cat"}
    assert view.lesson.detector.names == ("cat", "dog", "cup", "red")
    after = view.lesson.detector.model.head.kept.state_dict()
    before = detector.model.head.kept.state_dict()
    assert all(before[name].equal(after[name]) for name in before)


def test_server_photographs_come_from_the_shelf_only(tmp_path):
    shelf = tmp_path / "shelf"
    (shelf / "inner").mkdir(parents=True)
    for name, content, _ in squares(count=2):
        (shelf / "inner" / name).write_bytes(content)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "s.png").write_bytes(squares()[0][1])
    (shelf / "link").symlink_to(tmp_path / "secret")
    (shelf / "inner" / "out.png").symlink_to(tmp_path / "secret" / "s.png")
    studio = Studio(Store(tmp_path / "sessions"), empty(), shelf)
    token = studio.store.begin()
    assert "inner" in studio.folders()
    for name in ("..", "../secret", "/etc", "link", "nowhere", "inner"):
        with pytest.raises(InputError):
            studio.add_folder(token, name)
    (shelf / "inner" / "out.png").unlink()
    assert studio.add_folder(token, "inner") == []
    assert len(studio.store.project(token).photos) == 2


# Several sessions at once


@pytest.mark.slow
def test_eight_sessions_at_once_stay_separate(studio):
    inks = list(INKS)
    errors = []

    def person(place: int) -> None:
        try:
            ink = inks[place % 2]
            token, keys, boxes = opened(studio, ink, count=3)
            name = f"thing {place}"
            for round_ in range(10):
                drawn(studio, token, keys[round_ % 2], replace(boxes[round_ % 2], category=name))
                view = studio.view(token)
                assert view.project.categories == (name,)
                assert {d.name for found in view.lesson.found.values() for d in found} <= {name}
                studio.store.undo(token)
        except Exception as error:  # told below
            errors.append(error)

    threads = [threading.Thread(target=person, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
