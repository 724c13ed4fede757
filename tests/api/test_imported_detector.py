"""Imported detectors in Python: new categories beside the kept ones."""

import pytest
import torch
from helpers import published
from torchvision.ops import box_iou

import fsdet
from fsdet.errors import InputError

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def original():
    return published.torchvision_detector("fasterrcnn_mobilenet_v3_large_320_fpn", num_classes=4)


@pytest.fixture
def detector(original):
    return fsdet.import_detector(original, names=NAMES)


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand(4, 3, 7, 9, generator=generator)
    return list(torch.nn.functional.interpolate(coarse, (180, 240), mode="bilinear"))


BOXES = [[[20, 20, 120, 110]], [[60, 30, 200, 150]]]


def test_kept_detections_keep_their_order_after_registering(detector, images):
    before = detector.predict(images[3], 0.05)
    detector.register("new", images[:2], BOXES)
    assert detector.names == ("a", "b", "c", "new")
    after = [found for found in detector.predict(images[3], 0.0) if found.name in NAMES]
    scores = {(found.name, tuple(round(x, 2) for x in found.box)): found.score for found in after}
    matched = [scores.get((found.name, tuple(round(x, 2) for x in found.box))) for found in before]
    matched = [score for score in matched if score is not None]
    assert len(matched) > 3 and matched == sorted(matched, reverse=True)


def test_a_registered_category_is_detected_in_its_shots(detector, images):
    detector.register("new", images[:2], BOXES)
    best = max(
        (found for found in detector.predict(images[0], 0.0) if found.name == "new"),
        key=lambda found: found.score,
    )
    assert box_iou(torch.tensor([best.box]), torch.tensor(BOXES[0], dtype=torch.float32)) > 0.5


def test_forgetting_everything_new_gives_the_imported_detector_again(detector, images):
    before = detector.predict(images[3], 0.05)
    detector.register("new", images[:2], BOXES)
    detector.forget("new")
    assert detector.predict(images[3], 0.05) == before


def test_kept_categories_can_be_forgotten_and_dropped(detector, images):
    copy = detector.copy()
    detector.forget("b")
    assert detector.names == ("a", "c") and copy.names == ("a", "b", "c")
    assert {found.name for found in detector.predict(images[3], 0.0)} <= {"a", "c"}
    assert "b" in {found.name for found in copy.predict(images[3], 0.0)}
    detector.register("new", images[:2], BOXES)
    detector.drop_kept()
    assert detector.names == ("new",)
    with pytest.raises(InputError, match="forget: no category 'b'"):
        detector.forget("b")


def test_a_known_name_is_refused(detector, images):
    with pytest.raises(
        InputError, match="knows a category 'a' already; give another name, or forget"
    ):
        detector.register("a", images[:2], BOXES)
    detector.forget("a")
    detector.register("a", images[:2], BOXES)
    assert detector.names == ("b", "c", "a")


def test_unlabelled_images_become_negatives(detector, images):
    with torch.no_grad():  # the random classifier is made sure of itself
        detector.model.head.kept.weight.mul_(20)
    number = detector.study(images)
    assert number > 0 and detector.names == ("a", "b", "c")
    support = detector.support()
    assert len(support) == number and support.n_way == 3
    detector.register("new", images[:2], BOXES)
    assert detector.names == ("a", "b", "c", "new")
    with pytest.raises(InputError, match="expected a list of images"):
        detector.study(images[0])


def test_study_needs_kept_categories(detector, images):
    detector.drop_kept()
    with pytest.raises(InputError, match="keeps no categories"):
        detector.study(images)


def test_saved_detectors_detect_the_same(detector, images, tmp_path):
    detector.register("new", images[:2], BOXES)
    detector.forget("b")
    again = fsdet.load(detector.save(tmp_path / "mine"))
    assert again.names == detector.names and again.origin == detector.origin
    assert again.predict(images[3], 0.05) == detector.predict(images[3], 0.05)


def test_kept_objects_in_shots_are_not_background(detector, images):
    with torch.no_grad():
        detector.model.head.kept.weight.mul_(20)
    detector.register("new", images[:2], BOXES)
    support = detector.support()
    head = detector.model.head
    embeddings = head.embed(support.features)
    kept = head.kept_probabilities(embeddings)[:, 1:].amax(1)
    assert (kept[support.labels == 0] <= 0.71).all()
    assert ((support.labels > 0) & (support.labels < 4)).any()
