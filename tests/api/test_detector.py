"""Detector: register, predict, forget, save and load, with images of any kind."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.detectors import INKS, SETTINGS, empty, knowing, square
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import fsdet
from fsdet import InputError, build, tensor_file
from fsdet import config as cfg
from fsdet.api.inputs import as_boxes, as_tensor
from fsdet.types import IGNORE, Shots

HEADS = ("maml", "cosine", "prototype")
IMAGE, BOX = square("red", 0)


@pytest.mark.parametrize("head", HEADS)
def test_a_few_boxes_register_a_category(head):
    detector = knowing(head)
    assert detector.names == ("red", "blue")
    for ink in INKS:
        image, (x1, y1, x2, y2) = square(ink, 99)
        best = detector.predict(image, 0.05)[0]
        assert best.name == ink
        middle = (best.box[0] + best.box[2]) / 2, (best.box[1] + best.box[3]) / 2
        assert x1 < middle[0] < x2 and y1 < middle[1] < y2


def test_detections_are_inside_the_image_best_first_and_above_the_threshold():
    detector = knowing()
    image = cv2.resize(IMAGE, (200, 130))
    found = detector.predict(image, 0.01)
    scores = [one.score for one in found]
    assert len(found) > 5 and scores == sorted(scores, reverse=True) and min(scores) >= 0.01
    boxes = np.array([one.box for one in found])
    assert boxes.min() >= 0 and (boxes <= (200, 130, 200, 130)).all()
    assert boxes[:, 2].max() > 130  # in pixels of the image as given, not as resized
    assert detector.predict(image, 0.3) == [one for one in found if one.score >= 0.3]
    box, name, score = found[0]
    assert all(isinstance(v, float) for v in (*box, score)) and isinstance(name, str)


def test_predict_many_equals_predict():
    detector = knowing()
    images = [square(ink, seed)[0] for seed in range(5) for ink in INKS]
    together = detector.predict_many(images, 0.1)
    assert len(together) == 10
    for image, found in zip(images, together, strict=True):
        alone = detector.predict(image, 0.1)
        assert [one.name for one in found] == [one.name for one in alone]
        np.testing.assert_allclose(
            [one.box for one in found], [one.box for one in alone], atol=1e-3
        )
    assert detector.predict_many([]) == []


def test_more_shots_add_to_a_category_and_forgetting_leaves_the_others():
    detector = knowing()
    before = len(detector.support())
    image, box = square("red", 50)
    detector.register("red", [image, image], torch.tensor([box, box]))
    assert detector.names == ("red", "blue") and len(detector.support()) > before
    detector.forget("red")
    assert detector.names == ("blue",)
    assert {one.name for one in detector.predict(square("blue", 50)[0], 0.01)} == {"blue"}
    assert "red" not in {one.name for one in detector.predict(image, 0)}
    with pytest.raises(InputError, match="no category 'bleu'; did you mean 'blue'"):
        detector.forget("bleu")


def test_registering_does_not_depend_on_the_global_generators():
    first = knowing().predict(IMAGE, 0.01)
    torch.manual_seed(7)
    np.random.seed(7)
    assert knowing().predict(IMAGE, 0.01) == first


def test_boxes_of_others_give_no_background():
    def background(others):
        detector = empty()
        detector.register("red", [IMAGE], [BOX], others)
        return int((detector.support().labels == 0).sum())

    assert background(None) == background([[]]) == background([None]) > 0
    assert background([[[0, 0, 96, 96]]]) == 0


def test_categories_of_annotated_images_are_remembered_together():
    (a, one), (b, two) = square("red", 1), square("blue", 2)
    images = [as_tensor(a), as_tensor(b)]
    targets = [
        {"boxes": as_boxes(one, images[0]), "labels": torch.tensor([1])},
        {"boxes": as_boxes([two, two], images[1]), "labels": torch.tensor([2, IGNORE])},
    ]
    detector = empty()
    detector.remember([Shots(images, targets, ("red", "blue"))])
    assert detector.names == ("red", "blue")
    hidden = [{"boxes": t["boxes"], "labels": t["labels"].clamp(max=1)} for t in targets]
    with pytest.raises(InputError, match="category 'blue' has no usable region"):
        empty().remember([Shots(images, hidden, ("red", "blue"))])
    with pytest.raises(InputError, match="at least one annotated image"):
        detector.remember([])


@pytest.mark.parametrize("head", HEADS)
def test_a_saved_detector_predicts_the_same(head, tmp_path):
    detector = knowing(head)
    file = detector.save(tmp_path / "run")
    assert file == tmp_path / "run" / "detector.safetensors"
    for again in (fsdet.load(tmp_path / "run"), fsdet.load(str(file), device="auto")):
        assert again.names == detector.names
        assert again.predict(IMAGE, 0.01) == detector.predict(IMAGE, 0.01)
    image, box = square("blue", 5)
    for one in (detector, again):
        one.register("more", [image], [box])
    assert again.predict(image, 0.01) == detector.predict(image, 0.01)
    assert "more" in repr(again)


def test_a_detector_without_categories_is_saved_too(tmp_path):
    detector = fsdet.load(empty().save(tmp_path / "none.safetensors"))
    assert detector.names == ()
    with pytest.raises(InputError, match="register one first"):
        detector.predict(IMAGE)


def variants(folder: Path):
    """The same picture in every kind that is understood."""
    yield IMAGE
    yield IMAGE.astype(np.float32) / 255
    yield IMAGE.astype(np.float64) / 255
    yield IMAGE.astype(np.uint16) * 257
    yield IMAGE.astype(">u2") * 257
    yield np.asfortranarray(IMAGE)
    yield IMAGE[:, ::-1][:, ::-1]
    yield np.concatenate([IMAGE, IMAGE[..., :1]], 2)  # alpha
    yield Image.fromarray(IMAGE)
    yield Image.fromarray(IMAGE).convert("RGBA")
    tensor = torch.from_numpy(IMAGE).permute(2, 0, 1)
    yield tensor
    yield tensor / 255
    yield (tensor / 255).requires_grad_()
    file = folder / "image.png"
    Image.fromarray(IMAGE).save(file)
    yield file
    yield str(file)
    yield file.read_bytes()
    turned = Image.fromarray(np.rot90(IMAGE).copy())
    exif = turned.getexif()
    exif[0x0112] = 6  # a quarter turn clockwise makes it upright
    turned.save(folder / "turned.png", exif=exif)
    yield folder / "turned.png"


def test_every_kind_of_image_is_the_same_image(tmp_path):
    for image in variants(tmp_path):
        torch.testing.assert_close(
            as_tensor(image), as_tensor(IMAGE), atol=1e-4, rtol=0, msg=f"{type(image)}"
        )


def test_grey_images_have_three_equal_channels(tmp_path):
    grey = IMAGE[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    flat = torch.from_numpy(grey)
    for image in (
        grey, grey[..., None], flat, flat[None], Image.fromarray(grey), tmp_path / "grey.png",
        tmp_path / "deep.png", Image.open(tmp_path / "deep.png"),
    ):  # fmt: skip
        tensor = as_tensor(image)
        assert tensor.shape == (3, 96, 96) and tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, (flat / 255).expand(3, -1, -1), atol=1e-4, rtol=0)
    Image.fromarray(IMAGE).convert("CMYK").save(tmp_path / "print.jpg")
    assert knowing().predict(tmp_path / "print.jpg", 0.01)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (IMAGE.transpose(2, 0, 1), r"RGB array \[H, W, 3\], got shape \[3, 96, 96\]"),
        (torch.from_numpy(IMAGE), r"tensor \[3, H, W\], got shape \[96, 96, 3\]"),
        (torch.zeros(1, 3, 8, 8), r"got shape \[1, 3, 8, 8\]"),
        (np.zeros((0, 5, 3), np.uint8), r"got shape \[0, 5, 3\]"),
        (np.zeros(7, np.uint8), r"got shape \[7\]"),
        (IMAGE.astype(np.int64), "array of uint8, or floats in 0..1; got int64"),
        (IMAGE > 5, "got bool"),
        (torch.zeros(3, 8, 8, dtype=torch.int32), "got int32"),
        (IMAGE.astype(np.float32), "values from 0 to 255; divide by 255"),
        (np.full((4, 4, 3), np.nan, np.float32), "values from nan to nan"),
        (Image.new("F", (8, 8)), "got mode F"),
        (Path("no.jpg"), "no.jpg: cannot be read"),
        (b"no image", "not an image"),
        (None, "got NoneType"),
        ([IMAGE, IMAGE], "got several; see predict_many"),
        (np.zeros((2, 900, 3), np.uint8), "900 x 2 pixels is too narrow"),
    ],
)
def test_wrong_images_are_refused(image, message):
    detector = knowing("prototype")
    with pytest.raises(InputError, match=message):
        detector.predict(image)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([1, 2, 30, 40], [[1, 2, 30, 40]]),
        ([[1, 2, 30, 40], (5, 5, 9, 9)], [[1, 2, 30, 40], [5, 5, 9, 9]]),
        (np.array([[1, 2, 30, 40]], np.int64), [[1, 2, 30, 40]]),
        (torch.tensor([1, 2, 30, 40.5], requires_grad=True), [[1, 2, 30, 40.5]]),
        ([-0.8, -1, 96.5, 97], [[0, 0, 96, 96]]),
    ],
)
def test_boxes_of_any_kind_are_clipped_to_the_image(boxes, expected):
    found = as_boxes(boxes, torch.zeros(3, 96, 96))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", [IMAGE], [BOX]), "expected a category name, got ''"),
        ((" ", [IMAGE], [BOX]), "expected a category name"),
        ((3, [IMAGE], [BOX]), "expected a category name, got 3"),
        (("x", IMAGE, BOX), r"expected a list of images, got one; write \[image\], \[boxes\]"),
        (("x", "a.jpg", BOX), "expected a list of images, got one"),
        (("x", Image.fromarray(IMAGE), [BOX]), "expected a list of images, got one"),
        (("x", None, [BOX]), "expected a list of images, got NoneType"),
        (("x", [IMAGE], 3), "expected a list of boxes, got int"),
        (("x", [], []), "at least one image with a box, got none"),
        (("x", [IMAGE], BOX), "got 1 images and 4 sets of boxes; the boxes of one image go into"),
        (("x", [IMAGE, IMAGE], [BOX]), "got 2 images and 1 sets of boxes"),
        (("x", [IMAGE], [[]]), "image 0: expected at least one box, got none"),
        (("x", [IMAGE, IMAGE], [BOX, [0, 0, 0, 9]]), r"image 1: box \[0.0, 0.0, 0.0, 9.0\] is not"),
        (("x", [IMAGE], [[float("nan"), 0, 9, 9]]), r"box \[nan, 0.0, 9.0, 9.0\] is not"),
        (("x", [IMAGE], [[0, 0, float("inf"), 9]]), "is not .x1, y1, x2, y2. with area"),
        (("x", [IMAGE], [[50, 50, 20, 20]]), "is not .x1, y1, x2, y2. with area inside"),
        (("x", [IMAGE], [[90, 90, 120, 120]]), "inside the image of 96 x 96 pixels"),
        (("x", [IMAGE], [[96, 0, 97, 9]]), "with area inside the image"),
        (("x", [IMAGE], [[0.1, 0.2, 0.5, 0.6]]), "not shares of the image's sides"),
        (("x", [IMAGE], [[1, 2, 3]]), r"must be \[G, 4\] .* got shape \[3\]"),
        (("x", [IMAGE], [[[1, 2], [3, 4]]]), r"got shape \[2, 2\]"),
        (("x", [IMAGE], [[[1, 2, 3, 4], [5]]]), "boxes must be numbers"),
        (("x", [IMAGE], ["abcd"]), "boxes must be numbers"),
        (("x", [IMAGE[..., :2]], [BOX]), "register 'x', image 0: expected an RGB array"),
        (("x", [IMAGE], [BOX], [BOX, BOX]), "got 1 images and 2 sets of boxes"),
        (("x", [IMAGE], [BOX], [[[0, 0, 300, 9]]]), "image 0: box .* inside the image"),
        (("x", [IMAGE], [BOX], [3]), r"image 0: boxes must be \[G, 4\] .* got shape \[\]"),
        (("x", [IMAGE], [None]), r"image 0: boxes must be \[G, 4\] .* got shape \[\]"),
    ],
)
def test_wrong_shots_are_refused_and_change_nothing(arguments, message):
    detector = empty("prototype")
    with pytest.raises(InputError, match=message):
        detector.register(*arguments)
    assert detector.names == ()


@pytest.mark.parametrize("threshold", [-0.1, 50, float("nan")])
def test_a_threshold_outside_0_to_1_is_refused(threshold):
    with pytest.raises(InputError, match=r"score in 0..1"):
        knowing("prototype").predict(IMAGE, threshold)


def test_predict_many_refuses_a_single_image():
    with pytest.raises(InputError, match="expected a list of images, got one"):
        knowing("prototype").predict_many(IMAGE)


def test_files_without_a_whole_detector_are_refused_in_one_line(tmp_path):
    whole = knowing("prototype").save(tmp_path / "whole.safetensors")
    content = whole.read_bytes()
    tensors = load_file(whole)
    files = {
        "cut": content[: len(content) // 2],
        "empty": b"",
        "text": b"hello there, this is not a detector",
    }
    for name, value in files.items():
        (tmp_path / f"{name}.safetensors").write_bytes(value)
    save_file(tensors, tmp_path / "plain.safetensors")
    save_file(tensors, tmp_path / "strange.safetensors", {"fsdet": '{"format": 99}'})
    other = content.replace(b'\\"width\\": 32', b'\\"width\\": 16')
    (tmp_path / "other.safetensors").write_bytes(other)
    assert other != content
    expected = {
        "cut": "not a whole safetensors file",
        "empty": "not a whole safetensors file",
        "text": "not a whole safetensors file",
        "plain": "holds tensors but no detector",
        "strange": "no detector of format",
        "other": "its content differs from its checksum",
        "absent": "expected a run folder or a .safetensors file",
    }
    for name, message in expected.items():
        with pytest.raises(InputError, match=message) as caught:
            fsdet.load(tmp_path / f"{name}.safetensors")
        assert len(str(caught.value)) < 500 and name in str(caught.value)
    with pytest.raises(InputError, match="expected a run folder"):
        fsdet.load(tmp_path)


def edited(path, tensors, about):
    tensor_file.save(path, tensors, {key: v for key, v in about.items() if key != "checksum"})
    return path


def content(path):
    """The tensors and the header of a saved detector."""
    with safe_open(path, "pt") as file:
        return load_file(path), json.loads(file.metadata()["fsdet"])


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (
            "detector.width",
            9_999,
            r"tensor 'model.head.+expected floats \[9999, 624\], got floats \[32, 624\]",
        ),
        (
            "detector.backbone.channels",
            4096,
            r"tensor 'model.backbone.*expected floats \[4096",
        ),
        ("detector.pool", 64, "tensor 'model.head.trunk.first.weight': expected floats"),
        ("detector.width", 200_000, "width: expected at most 10000, got 200000"),
        ("head.args.n_background", 9_999, "tensor 'model.head.background.rows': expected floats"),
        ("n_base", -1, "n_base: expected a whole number 0..100000, got -1"),
        ("n_base", "3", "n_base: expected a whole number 0..100000, got '3'"),
        ("memory", ["", "red", "red"], "memory: expected names, each once"),
        ("memory", ["", 1, "red"], "memory: expected names, each once"),
        ("memory", [""], "tensor 'memory.1.deltas' is of no part of the detector"),
        ("memory", ["", "red", "blue", "more"], "tensor 'memory.3.maps' is missing"),
        (
            "detector.anchors",
            [[16.0]],
            "Detector: anchors: expected a list of sizes for each of the 3",
        ),
        ("detector.std", [1.0, 0.0, 1.0], "Detector: std.1: expected at least 1e-06, got 0.0"),
        ("head.args.scale", -1, "head.args.scale: expected above 0, got -1"),
        ("detector", 3, "Detector: expected keys and values, got 3"),
    ],
)
def test_a_header_that_differs_from_its_tensors_is_refused(tmp_path, keys, value, message):
    """Before memory is taken: most of these would need more than there is."""
    file = knowing("prototype").save(tmp_path)
    tensors, about = content(file)
    *path, last = keys.split(".")
    place = about
    for key in path:
        place = place[key]
    place[last] = value
    with pytest.raises(InputError, match=message) as error:
        fsdet.load(edited(file, tensors, about))
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "memory.1.maps",
            lambda t: t[:, :3],
            r"expected floats \[\d+, 16, 5, 5\], got flo.*3, 5, 5\]",
        ),
        ("memory.1.means", lambda t: t[:-1].clone(), r"expected floats \[\d+, 224\], got floats"),
        (
            "memory.2.deltas",
            lambda t: t[:, :2],
            r"expected floats \[\d+, 4\], got floats \[\d+, 2\]",
        ),
        ("memory.0.maps", lambda t: t.to(torch.int32), "got whole numbers"),
        ("model.head.log_scale", lambda t: t[None], r"expected floats \[\], got floats \[1\]"),
        ("model.head.log_scale", lambda t: None, "is missing"),
    ],
)
def test_a_tensor_of_another_shape_or_type_is_refused(tmp_path, name, change, message):
    file = knowing("prototype").save(tmp_path)
    tensors, about = content(file)
    changed = change(tensors.pop(name))
    if changed is not None:
        tensors[name] = changed.contiguous()
    with pytest.raises(InputError, match=f"tensor '{name}'.*{message}") as error:
        fsdet.load(edited(file, tensors, about))
    assert str(file) in str(error.value)


def test_a_loaded_detector_has_the_same_trainable_parameters(tmp_path):
    settings = replace(SETTINGS, backbone=replace(SETTINGS.backbone, frozen_stages=1))
    model = build.detector(settings, cfg.Head("maml"), 3, pretrained=False)
    again = fsdet.load(fsdet.Detector(model, settings, cfg.Head("maml"), {}, 3).save(tmp_path))
    for (name, one), other in zip(model.named_parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other) and other.device.type == "cpu", name
        assert one.requires_grad == other.requires_grad, name
    assert not all(one.requires_grad for one in again.model.parameters())


def test_a_failed_save_leaves_the_old_file(tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(InputError, match="cannot be written"):
        knowing("prototype").save(tmp_path / "file" / "inside")
    assert (tmp_path / "file").read_text() == "here"


@pytest.mark.parametrize("device", ["nonsense", "cuda"])
def test_a_missing_device_is_refused(device, tmp_path):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    file = empty("prototype").save(tmp_path)
    with pytest.raises(InputError, match=f"device '{device}'"):
        fsdet.load(file, device)


def test_the_memory_is_on_the_device_of_the_model():
    detector = knowing("prototype")
    parts = (SETTINGS, detector.head, detector._memory, 3)
    moved = fsdet.Detector(detector.model.to("meta"), *parts)
    assert {kept.deltas.device.type for kept in moved._memory.values()} == {"meta"}
    assert moved.support().labels.device.type == moved.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_and_cpu_predict_the_same(tmp_path):
    file = knowing().save(tmp_path)
    here, there = fsdet.load(file), fsdet.load(file, "cuda")
    image, box = square("blue", 5)
    for detector in (here, there):
        detector.register("more", [image], [box])
    best, other = here.predict(IMAGE, 0.1)[0], there.predict(IMAGE, 0.1)[0]
    assert best.name == other.name and abs(best.score - other.score) < 0.02
    assert fsdet.load(there.save(tmp_path / "again")).names == here.names


def test_registering_in_a_copy_leaves_the_original_as_it_was():
    detector = knowing()
    other = detector.copy()
    other.forget("red")
    other.register("crimson", [IMAGE], [BOX])
    assert detector.names == ("red", "blue") and other.names == ("blue", "crimson")
    assert detector.predict(IMAGE, 0.1) == knowing().predict(IMAGE, 0.1)


def test_a_head_that_a_copy_uses_leaves_the_original_as_it_was():
    detector = knowing()
    other = detector.copy()
    head = copy.deepcopy(detector.model.head)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3)
    before = detector.predict(IMAGE, 0.0)
    other.use(head)
    assert other.predict(IMAGE, 0.0) != before
    assert detector.predict(IMAGE, 0.0) == before
    detector.use(detector.model.head)  # discards the cached task
    assert detector.predict(IMAGE, 0.0) == before == knowing().predict(IMAGE, 0.0)


def test_candidates_stay_valid_when_categories_change():
    detector = knowing()
    (candidates,) = detector.candidates([IMAGE])
    assert detector.detect(candidates, 0.1) == detector.predict(IMAGE, 0.1)
    detector.register("more", [square("blue", 5)[0]], [square("blue", 5)[1]])
    assert detector.detect(candidates, 0.1) == detector.predict(IMAGE, 0.1)
    with pytest.raises(InputError, match=r"threshold.*0\.\.1.*7"):
        detector.detect(candidates, 7)


@pytest.mark.parametrize("head", HEADS)
def test_a_rejected_box_gets_a_lower_score(head):
    detector = knowing(head)
    image, _ = square("red", 7)
    before = detector.predict(image, 0.0)[0]
    assert before.name == "red"
    detector.reject([image], [[before.box]])
    after = [one.score for one in detector.predict(image, 0.0) if one.box == before.box]
    assert detector.names == ("red", "blue")
    assert max(after, default=0.0) < before.score
