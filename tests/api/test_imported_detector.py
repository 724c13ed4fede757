"""Imported detectors in Python: new categories beside the kept ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import published

import fsdet
from fsdet.api.finetune import finetune
from fsdet.api.inputs import as_shots
from fsdet.data.shapes.dataset import open_shapes
from fsdet.data.shots.images import choose
from fsdet.errors import InputError
from fsdet.export import export
from fsdet.types import Shots

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def original():
    model = published.torchvision_detector("fasterrcnn_mobilenet_v3_large_320_fpn", num_classes=4)
    with torch.no_grad():  # of a random network's regions most are background, as in life
        model.roi_heads.box_predictor.cls_score.bias[0] += 4
    return model


@pytest.fixture
def detector(original):
    return fsdet.import_detector(original, names=NAMES)


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand(4, 3, 7, 9, generator=generator)
    return list(torch.nn.functional.interpolate(coarse, (180, 240), mode="bilinear"))


BOXES = [[[20, 20, 120, 110]], [[60, 30, 200, 150]]]


def test_registering_leaves_boxes_of_kept_categories_and_raises_no_score(detector, images):
    before = detector.predict(images[3], 0.05)
    detector.register("new", images[:2], BOXES)
    assert detector.names == ("a", "b", "c", "new")
    after = {
        (found.name, *(round(side, 2) for side in found.box)): found.score
        for found in detector.predict(images[3], 0.0)
    }
    scores = [
        (found.score, after[key])
        for found in before
        if (key := (found.name, *(round(side, 2) for side in found.box))) in after
    ]
    assert len(scores) > 3
    assert all(new <= old + 1e-6 for old, new in scores)


def test_regions_of_a_registered_category_are_recognised(detector, images):
    detector.register("new", images[:2], BOXES)
    support = detector.support()
    prediction = detector.model.head(support.features, detector.task())
    scores = prediction.probabilities()[:, 3]
    assert scores[support.labels == 4].median() > 2 * scores[support.labels != 4].median()


def test_forgetting_everything_new_gives_the_imported_detector_again(detector, images):
    before = detector.predict(images[3], 0.05)
    detector.register("new", images[:2], BOXES)
    detector.forget("new")
    assert detector.predict(images[3], 0.05) == before


def test_kept_categories_can_be_forgotten_and_dropped(detector, images):
    copy = detector.copy()
    detector.forget("b")
    assert detector.names == ("a", "c") and copy.names == ("a", "b", "c")
    found, found_by_copy = (d.predict(images[3], 0.01) for d in (detector, copy))
    assert {detection.name for detection in found} <= {"a", "c"}
    assert "b" in {detection.name for detection in found_by_copy}
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


def test_fine_tuning_must_not_move_what_kept_categories_rest_on(detector, images):
    detector.register("new", images[:2], BOXES)
    shots = open_shapes("train", images=2)
    shots = choose(replace(shots, classes=("new", *shots.classes[1:])), ["new"], 1, 0)
    with pytest.raises(InputError, match="imported categories rest on the layers"):
        finetune(detector, shots, steps=1)


def test_class_specific_boxes_are_exported_with_and_without_new_categories(images, tmp_path):
    model = published.small_detector(5, short=96)
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias[0] += 2
    detector = fsdet.import_detector(model, names=list("abcd"))
    pixels = [np.ascontiguousarray((255 * image).byte().permute(1, 2, 0)) for image in images]
    assert export(detector, tmp_path / "kept.onnx", 0.2, pixels).detections > 20
    detector.register("new", images[:2], BOXES)
    detector.forget("b")
    parity = export(detector, tmp_path / "new.onnx", 0.2, pixels)
    assert parity.detections > 20 and parity.box < 1e-3 and parity.score < 1e-5


def test_exporting_a_resizing_of_other_projects_is_refused(detector, tmp_path):
    detector.settings = replace(detector.settings, resize="pillow")
    with pytest.raises(InputError, match="resizes images as pillow does"):
        export(detector, tmp_path / "file.onnx")
    assert not (tmp_path / "file.onnx").exists()


def test_boxes_of_kept_categories_are_known_objects_and_leave_their_rows(detector, images):
    shots = as_shots("new", images[:2], BOXES, [[[100, 100, 200, 170]], []])
    targets = [{**t, "labels": t["labels"].clone()} for t in shots.targets]
    targets[0]["labels"][-1] = 2  # the other box is annotated: "a"
    plain, known = detector.copy(), detector.copy()
    plain.remember([shots])
    known.remember([Shots(shots.images, targets, ("new", "a"))])
    assert known.names == plain.names == (*NAMES, "new")
    support = known.support()
    assert (support.labels == 1).sum() > (plain.support().labels == 1).sum()
    before = detector.model.head.kept.state_dict()
    after = known.model.head.kept.state_dict()
    assert all(before[name].equal(after[name]) for name in before)
