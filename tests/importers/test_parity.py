"""Imported detectors detect what the originals detect."""

import numpy as np
import pytest
import torch
from helpers import published
from helpers.published import pictures

import fsdet
from fsdet.importers import PRESETS
from fsdet.importers.layouts import project_of, renamed
from fsdet.importers.reference import reference_detections

SIDE = 288  # images are resized to this short side, not to 800: quicker
TIES = 10  # of 200: equal scores and overlaps of a random network, which rounding orders; a wrong preset leaves 100
NAMES = ["a", "b", "c", "d", "e"]


def detections(detector, pixels, names=NAMES):
    found = detector.predict(pixels, threshold=0.05)
    boxes = torch.tensor([d.box for d in found]).reshape(-1, 4)
    scores = torch.tensor([d.score for d in found])
    return boxes, scores, torch.tensor([names.index(d.name) + 1 for d in found])


@pytest.fixture(scope="module")
def resnet():
    return published.torchvision_detector("fasterrcnn_resnet50_fpn", short=SIDE)


def imported(tmp_path, state, preset, names=NAMES, **options):
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    detector = fsdet.import_detector(path, preset, names, **options)
    detector.model.transform.min_size = (SIDE,)
    return detector


def test_a_torchvision_detector_detects_the_same(tmp_path, resnet):
    state = resnet.state_dict()
    detector = imported(tmp_path, state, "torchvision/fasterrcnn_resnet50_fpn", eps=1e-5)
    for pixels in pictures(2):
        with torch.no_grad():
            expected = resnet([torch.from_numpy(pixels).permute(2, 0, 1).float() / 255])[0]
        expected = expected["boxes"], expected["scores"], expected["labels"]
        assert len(expected[0]) > 5
        assert published.unmatched(expected, detections(detector, pixels)) <= TIES


@pytest.mark.parametrize(
    "name", ["fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn_v2"]
)
def test_stages_of_torchvision_detectors_agree(tmp_path, name):
    original = published.torchvision_detector(name, short=SIDE)
    model = imported(tmp_path, original.state_dict(), f"torchvision/{name}").model
    image = torch.from_numpy(next(pictures(1))).permute(2, 0, 1).float() / 255
    with torch.no_grad():
        batch, _ = original.transform([image])
        pyramid = original.backbone(batch.tensors)
        features, _ = model.extract([image])
        for level, value in features.pyramid.items():
            assert torch.allclose(value, pyramid[level], atol=1e-5 * value.abs().max())
        objectness, _ = original.rpn.head(list(pyramid.values()))
        ours, _ = model.rpn.head(list(features.proposing.values()))
        for ours_level, level in zip(ours, objectness, strict=True):
            assert torch.allclose(ours_level, level, atol=1e-5 * level.abs().max())
        boxes = [original.rpn(batch, pyramid)[0][0][:50]]
        fc7 = original.roi_heads.box_head(
            original.roi_heads.box_roi_pool(pyramid, boxes, batch.image_sizes)
        )
        logits, deltas = original.roi_heads.box_predictor(fc7)
        empty = {"weight": torch.zeros(0, 1)}
        prediction = model.head(model.pool_regions(features, boxes), empty)
    # Pooling and box head in float32 are this far from double precision, theirs and ours.
    tolerance = 3e-5 * logits.abs().max()
    assert torch.allclose(prediction.logits, logits.log_softmax(1), atol=tolerance)
    assert torch.allclose(
        prediction.deltas.flatten(1), deltas[:, 4:], atol=3e-5 * deltas.abs().max()
    )


def reference(file, preset, pixels):
    tensors = renamed(file, project_of(file, "file"))
    detections = reference_detections(tensors, PRESETS[preset], pixels, SIDE)
    return detections["boxes"], detections["scores"], detections["labels"]


@pytest.mark.parametrize("kind", ["linear", "cosine", "class-agnostic"])
def test_detectron2_files_detect_as_a_plain_forward(tmp_path, resnet, kind):
    state = published.for_msra_pixels(resnet.state_dict())
    file = published.as_detectron2(state, kind == "cosine", kind == "class-agnostic")
    detector = imported(tmp_path, {"model": file, "iteration": 3}, None)
    for pixels in pictures(1):
        expected = reference(file, "detectron2", pixels)
        assert len(expected[0]) > 5
        assert published.unmatched(expected, detections(detector, pixels)) <= TIES


@pytest.mark.parametrize("style", ["pytorch", "caffe"])
def test_mmdetection_files_detect_as_a_plain_forward(tmp_path, resnet, style):
    caffe = style == "caffe"
    state = published.for_msra_pixels(resnet.state_dict()) if caffe else resnet.state_dict()
    text = f"backbone=dict(type='ResNet', style='{style}')"
    state = published.as_mmdetection(state, caffe)
    file = {"meta": {"config": text, "CLASSES": tuple(NAMES)}, "state_dict": state}
    detector = imported(tmp_path, file, None, names=None)
    assert detector.names == tuple(NAMES)
    for pixels in pictures(1):
        expected = reference(state, "mmdetection-caffe" if caffe else "mmdetection", pixels)
        assert len(expected[0]) > 5
        assert published.unmatched(expected, detections(detector, pixels)) <= TIES


def test_detectron2_pickles_hold_the_same_detector(tmp_path, resnet):
    import pickle

    file = published.as_detectron2(resnet.state_dict())
    arrays = {name: value.numpy() for name, value in file.items()}
    path = tmp_path / "model_final.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "x"}, protocol=2))
    from_pickle = fsdet.import_detector(path, names=NAMES)
    from_torch = imported(tmp_path, {"model": file}, None)
    for name, value in from_torch.model.state_dict().items():
        assert torch.equal(value, from_pickle.model.state_dict()[name])
    assert np.isfinite(value.float().numpy()).all()
