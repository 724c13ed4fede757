"""Exported detectors in onnxruntime against `Detector.predict`, and an export that would be wrong."""

import json
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from helpers.detectors import INKS, empty, knowing, square
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from fsdet import build
from fsdet import config as cfg
from fsdet.api.detector import Detector
from fsdet.errors import InputError
from fsdet.export.graph import _Resized
from fsdet.export.onnx import export, task_inputs
from fsdet.export.parity import DetectionTable, Variant, compare, generated, matched

pytestmark = pytest.mark.slow

SIDE = 96  # longer side of the resized images
# For an odd length like these, length * (SIDE / length) is a pixel less in floats than in doubles, or more.
HARD = [
    n for n in range(40, 300) if int(np.float32(n) * np.float32(SIDE / n)) != int(n * (SIDE / n))
]
SIZES = [(96, 96), (96, 71), (50, 96), (61, 47), (200, 133), (97, 301), (17, 150)]


def picture(height: int, width: int, seed: int = 5) -> np.ndarray:
    """Squares of both colours, so many pixels of them."""
    side = max(height, width, 96)
    both = [square(ink, seed, side)[0] for ink in INKS]
    return np.ascontiguousarray(np.maximum(both[0], both[1][::-1])[:height, :width])


def opened(file) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])


def assert_same(session, detector: Detector, image: np.ndarray, threshold: float, inputs=()):
    """Assert that a file returns the detections of `predict`, in the same order."""
    limit = {"threshold": np.array(threshold, np.float32)}
    boxes, scores, labels = session.run(None, {"image": image} | limit | dict(inputs))
    expected = detector.predict(image, threshold)
    assert [detector.names[n - 1] for n in labels] == [one.name for one in expected]
    np.testing.assert_allclose(scores, [one.score for one in expected], atol=1e-4)
    np.testing.assert_allclose(boxes, np.reshape([one.box for one in expected], (-1, 4)), atol=0.01)
    return len(expected)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A detector of two categories and its file."""
    detector = knowing()
    file = tmp_path_factory.mktemp("export") / "deep" / "maml.onnx"
    parity = export(detector, file, 0.2)
    assert parity.images == 12 and parity.detections > 50
    assert parity.box < 0.01 and parity.score < 1e-4
    return detector, file


def test_exported_file_detects_as_predict(exported):
    detector, file = exported
    session = opened(file)
    hard = [(HARD[0], 31), (HARD[len(HARD) // 2], 40), (37, HARD[-1])]
    counts = [assert_same(session, detector, picture(*size), 0.05) for size in SIZES + hard]
    assert sum(counts) > 30


def test_metadata_and_default_inputs_of_a_file(exported):
    detector, file = exported
    session, image = opened(file), picture(80, 96)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["names"]) == ["red", "blue"]
    assert [value.name for value in session.get_inputs()] == ["image"]
    boxes, scores, labels = session.run(None, {"image": image})
    assert (boxes.dtype, scores.dtype, labels.dtype) == (np.float32, np.float32, np.int64)
    assert len(scores) == len(detector.predict(image, 0.2)) > 0 and scores.min() > 0.2


def test_outputs_without_detections_are_empty(exported):
    _, file = exported
    threshold = {"threshold": np.array(1, np.float32)}
    boxes, scores, labels = opened(file).run(None, {"image": picture(90, 60)} | threshold)
    assert (boxes.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))


def test_task_inputs_detect_categories_registered_after_the_export(exported):
    _, file = exported
    detector, session = knowing(), opened(file)
    images, boxes = zip(*(square("red", 40 + n) for n in range(3)), strict=True)
    detector.register("green", [image[..., [1, 0, 2]] for image in images], list(boxes))
    new = picture(96, 96)[..., [1, 0, 2]].copy()
    new[:48] = picture(96, 96)[:48]
    assert assert_same(session, detector, new, 0.05, task_inputs(detector, session)) > 3
    assert "green" in {one.name for one in detector.predict(new, 0.05)}
    detector.forget("green")
    detector.forget("blue")
    red = square("red", 77)[0]
    assert assert_same(session, detector, red, 0.05, task_inputs(detector, session)) > 0
    with torch.no_grad():
        detector.model.head.log_scale += 0.1
    with pytest.raises(InputError, match="other weights; export it again"):
        task_inputs(detector, session)


def test_export_with_a_single_category(tmp_path):
    detector = empty("prototype")
    image, box = square("red", 3)
    detector.register("red", [image], [box])
    export(detector, tmp_path / "one.onnx", 0.5, [image])
    assert assert_same(opened(tmp_path / "one.onnx"), detector, picture(70, 90), 0.05) > 0


HEADS = (  # one for each way to compute logits
    "prototype euclidean matching matching-fce siamese relation anil meta-sgd cosine-averages linear mann"
    " film reweighting ridge"
)


@pytest.mark.parametrize("head", HEADS.split())
def test_every_kind_of_head_is_exported_with_a_dynamic_number_of_categories(head, tmp_path):
    """The export itself compares with one more category; this test, with one less."""
    detector = knowing(head, shots=2)
    image = picture(60, 96)
    assert export(detector, tmp_path / "head.onnx", 0.05, [image]).detections > 0
    session = opened(tmp_path / "head.onnx")
    detector.forget("red")
    assert_same(session, detector, image, 0.02, task_inputs(detector, session))


def test_a_calibrated_head_is_exported(tmp_path):
    spec = cfg.Head("cosine", {"steps": 5}, calibration=0.5)
    plain = knowing("cosine", steps=5)
    torch.manual_seed(0)
    model = build.detector(plain.settings, spec, 3, pretrained=False)
    detector = Detector(model, plain.settings, spec, {}, 3)
    image, box = square("red", 3)
    detector.register("red", [image], [box])
    assert export(detector, tmp_path / "head.onnx", 0.05, [image]).detections > 0


def test_a_file_that_differs_from_pytorch_is_not_written(exported, tmp_path, monkeypatch):
    """The tolerances are tight enough for another resizing of images."""
    detector, _ = exported
    (file := tmp_path / "model.onnx").write_bytes(b"before")

    def coarse(self, image, target=None):
        size = (image.shape[1] // 2 * 2, image.shape[2])
        return torch.nn.functional.interpolate(image[None], size, mode="nearest")[0], None

    monkeypatch.setattr(_Resized, "resize", coarse)
    with pytest.raises(InputError, match=r"image \d+ \(\d+ x \d+\), .* alone detects"):
        export(detector, file)
    assert file.read_bytes() == b"before" and list(tmp_path.iterdir()) == [file]


def test_a_head_that_cannot_be_traced_is_an_error(tmp_path, monkeypatch):
    detector = knowing("prototype")
    head = detector.model.head
    logits = type(head).logits

    def strange(self, what, task):
        return logits(self, what, task) * torch.linalg.svdvals(what)[0]

    monkeypatch.setattr(type(head), "logits", strange)
    with pytest.raises(InputError, match="cannot trace a detector with the head 'prototype'"):
        export(detector, tmp_path / "model.onnx")
    # With a constant number of categories, the file is right until there are more.
    monkeypatch.setattr(
        type(head),
        "logits",
        lambda self, what, task: logits(self, what, task)[:, : len(task["rows"])],
    )
    with pytest.raises(InputError, match=r"image 1 .*, with one more category: .* alone detects"):
        export(detector, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_traced_resizing_gives_torchvisions_sizes():
    ours, theirs = (
        kind(96, 150, [0.5], [0.5]).eval() for kind in (_Resized, GeneralizedRCNNTransform)
    )
    rng = np.random.default_rng(0)
    for height, width in rng.integers(8, 700, (300, 2)).tolist():
        image = torch.zeros(1, height, width)
        assert ours.resize(image)[0].shape == theirs.resize(image)[0].shape


def test_generated_images_have_six_sizes():
    sizes = {image.shape[:2] for image in generated(64, 100)}
    assert (
        len(sizes) == 6 and (64, 64) in sizes and min(map(min, sizes)) < 64 < max(map(max, sizes))
    )


def rows(*rows: tuple[int, float, float]) -> DetectionTable:
    """Detections of a label and a score, ten pixels wide, at a place."""
    boxes = np.array([[x, x, x + 10, x + 10] for _, _, x in rows], np.float32).reshape(-1, 4)
    return DetectionTable(
        boxes, np.array([r[1] for r in rows]), np.array([r[0] for r in rows], np.int64)
    )


def test_detections_are_matched_in_pairs():
    one = rows((1, 0.9, 0), (2, 0.8, 50), (1, 0.8, 30))
    parity = matched(one, rows((1, 0.9005, 0.05), (1, 0.8, 30), (2, 0.8, 50)), 0.5, 0.1, "here")
    assert parity[:3] == (1, 3, 0)
    assert parity.box == pytest.approx(0.05, abs=1e-5) and parity.score == pytest.approx(5e-4)
    assert matched(rows(), rows(), 0.5, 0.1, "here") == (1, 0, 0, 0.0, 0.0)
    tie = rows((1, 0.9, 0), (2, 0.8, 50), (1, 0.8, 30), (1, 0.5008, 70))
    assert matched(one, tie, 0.5, 0.1, "here").ties == matched(tie, one, 0.5, 0.1, "here").ties == 1
    for wrong in (
        rows((1, 0.9, 0), (2, 0.8, 50)),  # one is missing
        rows((1, 0.9, 0), (2, 0.8, 50), (1, 0.8, 30), (1, 0.503, 70)),  # one too many
        rows((1, 0.9, 0), (2, 0.8, 50), (2, 0.8, 30)),  # of another label
        rows((1, 0.9, 0), (2, 0.8, 50), (1, 0.8, 30.2)),  # elsewhere
        rows((1, 0.9, 0), (2, 0.802, 50), (1, 0.8, 30)),  # as sure as not
    ):
        with pytest.raises(InputError, match=r"here: .* alone detects label"):
            matched(one, wrong, 0.5, 0.1, "here")


def test_a_comparison_without_detections_is_an_error(exported):
    detector, _ = exported
    nothing = rows()._replace(boxes=np.zeros((0, 4), np.float32))
    variants = [Variant("plain", detector.task(), 1.0, {})]
    with pytest.raises(InputError, match="got none in 1 images"):
        compare(detector.model, lambda image, inputs: nothing, variants, [picture(96, 96)])


def test_invalid_exports_are_input_errors(exported, tmp_path, monkeypatch):
    detector, _ = exported
    with pytest.raises(InputError, match="no category yet"):
        export(empty(), tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"score in 0..1, got 7"):
        export(detector, tmp_path / "model.onnx", 7)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="onnxruntime is not installed; pip install 'onnx"):
        export(detector, tmp_path / "model.onnx")
    monkeypatch.delitem(sys.modules, "onnxruntime")
    monkeypatch.delattr(torch.onnx, "register_custom_op_symbolic")
    monkeypatch.delitem(sys.modules, "fsdet.export.graph")
    with pytest.raises(InputError, match=r"PyTorch .* cannot trace .* dynamo=False"):
        export(detector, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
