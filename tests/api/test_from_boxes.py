"""Boxes of another detector, recognised without training."""

import numpy as np
import pytest
import supervision as sv
import torch
from helpers import published
from helpers.detectors import INKS, knowing, square
from torch.nn import functional as F

import fsdet
from fsdet import build
from fsdet import config as cfg
from fsdet.api.proposals import as_proposals
from fsdet.api.results import Detection, Detections
from fsdet.errors import InputError
from fsdet.export import export
from fsdet.model.given_boxes import windows

NETWORK = {"backbone": "timm/tf_efficientnet_lite0", "levels": (1, 2), "size": (96, 96)}


def bright(image: np.ndarray) -> list[list[int]]:
    """The box of the square in a picture, and a corner of noise."""
    rows, columns = np.nonzero(image.max(2) > 200)
    return [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], [0, 0, 12, 12]]


def teach(detector: fsdet.Detector) -> fsdet.Detector:
    for ink in INKS:
        images, boxes = zip(*(square(ink, n) for n in range(3)), strict=True)
        detector.register(ink, images, boxes)
    return detector


@pytest.fixture(scope="module")
def detector():
    return teach(fsdet.from_boxes(bright, head="prototype", **NETWORK))


def with_head(detector: fsdet.Detector, name: str) -> fsdet.Detector:
    """The same over another head: to read a network takes longer than to teach it."""
    parts, spec = detector.parts(), cfg.Head(name)
    torch.manual_seed(0)
    head = build.head(spec, parts.model.shape, parts.settings.width, 0)
    model = parts.model.with_head(head)
    return teach(fsdet.Detector(*parts._replace(model=model, head=spec, memory={})))


@pytest.mark.parametrize("head", ["prototype", "ridge", "maml", "cosine-averages", "beside"])
def test_boxes_of_a_function_are_named_and_stay_as_they_are(detector, head):
    detector = with_head(detector, head)
    assert detector.names == tuple(INKS)
    for ink in INKS:
        image, box = square(ink, 40)
        best = detector.predict(image, 0.2)[0]
        assert best.name == ink
        assert best.box == pytest.approx(box, abs=0.5 if head == "maml" else 1e-3)


def test_prototypes_compare_angles_of_averages_alone(detector):
    image, _ = square("red", 41)
    (candidates,) = detector.candidates([image])
    means = F.normalize(candidates.features.means, dim=1)
    support = detector.support()
    stored = F.normalize(support.features.means, dim=1)
    rows = torch.stack([F.normalize(stored[support.labels == n].mean(0), dim=0) for n in range(3)])
    head = detector.model.head
    logits = head(candidates.features, detector.task()).logits
    torch.testing.assert_close(logits[:, 1:], 20 * means @ rows[1:].T, atol=1e-4, rtol=0)
    assert candidates.features.maps.shape[1] == 0


def test_a_file_holds_all_but_the_function(detector, tmp_path, monkeypatch):
    file = detector.save(tmp_path)

    def no_weights(name):
        raise AssertionError("weights are in the file")

    monkeypatch.setattr("fsdet.model.backbones.pip_weights", no_weights, raising=False)
    again = fsdet.load(file, proposals=bright)
    image, _ = square("blue", 42)
    assert again.predict(image, 0.1) == detector.predict(image, 0.1) != []
    assert again.copy().predict(image, 0.1) == detector.predict(image, 0.1)
    with pytest.raises(
        InputError, match=r"recognises boxes of another detector.*proposals=FUNCTION"
    ):
        fsdet.load(file)
    own = knowing("prototype").save(tmp_path / "own")
    with pytest.raises(InputError, match="has boxes of its own"):
        fsdet.load(own, proposals=bright)


def test_background_is_learned_where_every_box_is_an_object(detector):
    parts = detector.parts()._replace(proposals=lambda image: bright(image)[:1], memory={})
    only = fsdet.Detector(*parts)
    image, box = square("red", 1)
    only.register("red", [image], [box])
    assert (only.support().labels == 0).sum() >= 10
    inside = windows(60, 80)
    assert inside.shape == (25, 4) and inside[0].tolist() == [0, 0, 40, 30]
    assert inside[-1].tolist() == [60, 45, 80, 60]


def test_an_image_without_boxes_has_no_detections(detector):
    detector = fsdet.Detector(*detector.parts()._replace(proposals=lambda image: np.zeros((0, 4))))
    assert detector.predict_many([square("red", 3)[0], square("blue", 4)[0]], 0.0) == [[], []]


def test_what_has_boxes_of_others_is_not_exported_or_moved(detector):
    with pytest.raises(InputError, match="boxes come from another detector"):
        export(detector, "x.onnx")


BOXES = np.array([[1, 2, 30, 40], [5, 5, 20, 20], [-9, 0, 300, 50]], np.float32)
SCORES = np.array([0.2, 0.9, 0.5])
SORTED = np.array([[5, 5, 20, 20], [0, 0, 100, 50], [1, 2, 30, 40]])


@pytest.mark.parametrize(
    "found",
    [
        (BOXES, SCORES),
        (torch.from_numpy(BOXES), torch.from_numpy(SCORES)),
        {"boxes": torch.from_numpy(BOXES), "scores": torch.from_numpy(SCORES), "labels": None},
        sv.Detections(xyxy=BOXES, confidence=SCORES),
        Detections([Detection(tuple(b), "x", s) for b, s in zip(BOXES, SCORES, strict=True)]),
        SORTED.tolist(),
        sv.Detections(xyxy=np.array(SORTED, float)),
    ],
)
def test_boxes_of_all_kinds_are_ordered_and_clipped(found):
    assert as_proposals(found, (80, 100)).tolist() == SORTED.tolist()
    assert as_proposals([], (80, 100)).shape == (0, 4)
    outside = np.concatenate([BOXES, [[200, 0, 210, 9], [7, 7, 7, 9]]])
    assert len(as_proposals(outside, (80, 100))) == 3


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([1, 2, 3, 4], r"\[R, 4\].* got shape \[4\]"),
        ([[1, 2, 3]], r"got shape \[1, 3\]"),
        ([[1, 2, float("nan"), 4]], "expected finite boxes"),
        ([["a", 2, 3, 4]], "expected boxes as numbers"),
        ([[50, 40, 20, 20]], "not x, y, width, height"),
        ([[0.1, 0.2, 0.8, 0.9]], "not shares"),
        ([[200, 0, 210, 9]], "no box has area inside the image of 100 x 80"),
        ((BOXES, [0.1]), "a score for each of 3 boxes"),
        ((BOXES, [0.1, 0.2, float("inf")]), "finite scores"),
        ({"xyxy": BOXES}, "expected the key 'boxes', got xyxy"),
        (None, "got shape|as numbers|finite"),
    ],
)
def test_other_values_are_refused(found, said):
    with pytest.raises(InputError, match=said):
        as_proposals(found, (80, 100))


def test_errors_of_a_function_name_the_image(detector):
    def failing(image):
        raise KeyError("lost")

    with pytest.raises(
        InputError, match=r"proposals, image 0: the function failed: KeyError: 'lost'"
    ):
        fsdet.Detector(*detector.parts()._replace(proposals=failing)).predict(square("red", 1)[0])
    with pytest.raises(
        InputError, match=r"expected a function of an image, got str; .*data.proposals"
    ):
        fsdet.from_boxes("boxes.json")


def test_a_width_below_the_averages_is_refused(detector):
    narrow = cfg.Head("prototype")
    with pytest.raises(InputError, match=r"detector.width: expected at least 152, .*got 151"):
        build.head(narrow, detector.model.shape, 151, 0)


def test_an_imported_detector_gets_another_description():
    original = published.torchvision_detector(
        "fasterrcnn_mobilenet_v3_large_320_fpn", num_classes=4
    )
    plain = fsdet.import_detector(original, names=["a", "b", "c"])
    described = plain.with_descriptor(cfg.Descriptor("timm/tf_efficientnet_lite0", "pip", [2, 3]))
    image, box = square("red", 5, 160)
    assert described.predict(image, 0.05) == plain.predict(image, 0.05)
    assert plain.settings.descriptor is None and plain.model.shape.means == (160, 960)
    described.register("red", [image], [box])
    assert described.support().features.means.shape[1] == 112 + 320
    with pytest.raises(InputError, match="without registered categories"):
        described.with_descriptor(cfg.Descriptor("timm/tf_efficientnet_lite0", "pip", [3]))
    with pytest.raises(InputError, match="trained on other averages"):
        knowing().with_descriptor(cfg.Descriptor("timm/tf_efficientnet_lite0", "pip"))


def test_a_described_import_is_saved_whole(tmp_path):
    original = published.torchvision_detector(
        "fasterrcnn_mobilenet_v3_large_320_fpn", num_classes=4
    )
    described = fsdet.import_detector(original, names=["a", "b", "c"]).with_descriptor(
        cfg.Descriptor("timm/tf_efficientnet_lite0", "pip", [3])
    )
    image, box = square("red", 5, 160)
    described.register("red", [image], [box])
    again = fsdet.load(described.save(tmp_path))
    assert again.predict(image, 0.01) == described.predict(image, 0.01) != []
