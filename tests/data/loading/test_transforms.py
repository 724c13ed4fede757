"""Augmentation and training streams: known pitfalls of albumentations, presets, and streams."""

import os
import pickle
import random
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.paths import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fsdet.data.dataset import DetectionData
from fsdet.data.loading.stream import Relabelled, Stream, loader
from fsdet.data.loading.transforms import custom, support, training
from fsdet.errors import InputError
from fsdet.types import IGNORE

NO_CHANGE = [{"name": "HorizontalFlip", "args": {"p": 0}}]


def picture(height=120, width=160, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def target(*boxes, labels=None, **more):
    labels = range(1, len(boxes) + 1) if labels is None else labels
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(list(labels), dtype=torch.int64),
        **more,
    }


def same(first, second):
    """Whether two (image, target) are bitwise equal."""
    alike = np.array_equal(np.asarray(first[0]), np.asarray(second[0]))
    return alike and all(torch.equal(first[1][key], second[1][key]) for key in first[1])


@dataclass(frozen=True, eq=False)
class OneImage(DetectionData):
    """All images are equal: differences come from augmentation."""

    def image(self, i):
        if i == 13:
            raise InputError("image 13 does not decode")
        return picture(40, 40)


def one_image(images=6, labels=(1,), ignore=False):
    count = images * len(labels)
    return OneImage(
        root=Path("made-up"),
        classes=("a", "b", "c"),
        category_ids=[1, 2, 3],
        image_ids=np.arange(images),
        sizes=np.full((images, 2), 40),
        paths=[f"{i}.png" for i in range(images)],
        starts=np.arange(images + 1) * len(labels),
        boxes=np.tile([10.0, 12, 30, 34], (count, 1)),
        labels=np.tile(labels, images),
        ids=np.arange(count) + 1,
        areas=np.full(count, 440.0),
        ignore=np.full(count, ignore),
    )


# Pitfalls of albumentations


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_epochs_never_repeat_each_other(workers):
    stream = Stream(Relabelled(one_image(), {1: 1}), training(40), 1, length=24)
    images = [image for batch, _ in loader(stream, 3, workers) for image in batch]
    seen = {(image.shape, image.numpy().tobytes()) for image in images}
    assert len(images) == 24 and len(seen) == 24


def test_labels_and_ids_are_not_rounded():
    ids = torch.tensor([900100581904, 2**53 + 1])
    boxes = [[5, 5, 60, 60], [80, 20, 150, 110]]
    _, moved = training(160)(picture(), target(*boxes, labels=[2**24 + 1, 3], ids=ids), seed=0)
    assert moved["ids"].tolist() == ids.tolist() and moved["ids"].dtype == torch.int64
    assert moved["labels"].tolist() == [2**24 + 1, 3] and moved["labels"].dtype == torch.int64


def test_boxes_are_in_pixels():
    flip = custom([{"name": "HorizontalFlip", "args": {"p": 1}}])
    image, moved = flip(picture(), target([10, 20, 50, 90]), seed=0)
    np.testing.assert_array_equal(image, picture()[:, ::-1])
    np.testing.assert_allclose(moved["boxes"], [[110, 20, 150, 90]], atol=1e-3)


def test_boxes_with_little_area_left_are_dropped():
    crop = custom([{"name": "RandomCrop", "args": {"height": 60, "width": 60}}])
    boxes = [[x, y, x + 25, y + 25] for x in (0, 45, 90, 135) for y in (0, 45, 90)]
    lost = 0
    for seed in range(150):
        _, moved = crop(picture(), target(*boxes, labels=[1] * 12), seed)
        sides = moved["boxes"][:, 2:] - moved["boxes"][:, :2]
        assert (sides >= 2).all() and (sides.prod(1) >= 0.1 * 25 * 25 - 1e-2).all()
        lost += 12 - len(sides)
    assert lost > 0


def test_an_image_keeps_the_last_box_of_a_category():
    crop = custom([{"name": "RandomCrop", "args": {"height": 40, "width": 40}}])
    shapes = set()
    for seed in range(100):
        image, moved = crop(picture(), target([70, 50, 85, 65], [0, 0, 9, 9], labels=[2, -1]), seed)
        assert 2 in moved["labels"].tolist()
        shapes.add(image.shape)
    assert shapes == {(40, 40, 3), (120, 160, 3)}  # cropped by another draw, or untransformed
    away = custom([{"name": "Crop", "args": {"x_max": 30, "y_max": 30}}])
    given = picture(), target([70, 50, 85, 65])
    assert same(away(*given, seed=0), given)
    assert away(picture(), target([70, 50, 85, 65], labels=[IGNORE]), 0)[0].shape == (30, 30, 3)


@pytest.mark.parametrize(
    "box",
    [[10, 10, 10, 40], [30, 10, 20, 40], [float("nan"), 1, 5, 5], [170, 10, 180, 20]],
    ids=["no width", "reversed", "NaN", "outside"],
)
def test_error_names_a_box_without_area(box):
    with pytest.raises(InputError, match="box 1 of an image 160 x 120 must be finite"):
        training(160)(picture(), target([1, 1, 50, 50], box), seed=0)


def test_a_box_over_the_border_is_clipped():
    _, moved = custom(NO_CHANGE)(picture(), target([-5, 100, 50, 130]), seed=0)
    np.testing.assert_allclose(moved["boxes"], [[0, 100, 50, 120]], atol=1e-3)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            {"name": "HorizontalFlp"},
            "transform 2: .*; did you mean 'HorizontalFlip'",
        ),
        ({"name": "PadIfNeeded", "args": {"value": 3}}, r"\(PadIfNeeded\): no argument 'value'"),
        ({"name": "PadIfNeeded", "args": {"min_heigth": 3}}, "did you mean 'min_height'"),
        ({"name": "PadIfNeeded", "args": {"min_height": "x"}}, "min_height: .*integer.*got 'x'"),
        ({"name": "RandomCrop"}, "height: .*required"),
        ({"name": "RandomCrop", "arg": {}}, "expected {name, args}"),
        ("RandomCrop", "expected {name, args}"),
    ],
)
def test_unknown_names_and_arguments_are_errors(step, message):
    with pytest.raises(InputError, match=message) as caught:
        custom([*NO_CHANGE, step])
    assert "\n" not in str(caught.value)


def test_other_images_are_converted_or_refused():
    given = target([10, 20, 50, 90])
    expected = training(160)(picture(), given, seed=5)
    assert same(training(160)(Image.fromarray(picture()), given, seed=5), expected)
    assert isinstance(expected[0], np.ndarray) and isinstance(expected[1]["boxes"], torch.Tensor)
    for wrong in (picture().astype(np.float32), picture()[..., 0], picture().transpose(2, 0, 1)):
        with pytest.raises(InputError, match=r"must be uint8 \[height, width, 3\], got"):
            training(160)(wrong, given, seed=0)


def test_steps_that_move_no_boxes_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        colours = custom([{"name": "ColorJitter", "args": {"p": 1}}])
        _, moved = colours(picture(), target([10, 20, 50, 90]), seed=0)
    np.testing.assert_allclose(moved["boxes"], [[10, 20, 50, 90]], atol=1e-3)


def test_result_depends_on_the_given_seed_only():
    transform, given = training(160), (picture(), target([10, 20, 50, 90]))
    results = []
    for n in (1, 2):
        random.seed(n), np.random.seed(n), torch.manual_seed(n)
        transform(*given, seed=n)  # earlier calls have no effect
        results.append(transform(*given, seed=7))
    assert same(*results)
    assert same(results[0], pickle.loads(pickle.dumps(transform))(*given, seed=7))
    assert not same(results[0], transform(*given, seed=8))


def test_boxes_stay_in_the_image_exactly():
    for seed in range(40):
        image, moved = training(97)(picture(), target([0, 0, 160, 120], [3, 3, 157, 119]), seed)
        height, width = image.shape[:2]
        assert (moved["boxes"] >= 0).all()
        assert (moved["boxes"] <= torch.tensor([width, height, width, height])).all()


def test_steps_of_equal_probability_are_independent():
    flips = custom([{"name": "HorizontalFlip"}, {"name": "VerticalFlip"}])
    found = {}
    for seed in range(200):
        x, y = flips(picture(), target([0, 0, 10, 10]), seed)[1]["boxes"][0, :2].tolist()
        found[x > 80, y > 60] = found.get((x > 80, y > 60), 0) + 1
    assert len(found) == 4 and min(found.values()) > 25


# Presets


@settings(max_examples=80)
@given(
    height=st.integers(24, 200),
    width=st.integers(24, 200),
    corner=st.tuples(st.floats(0, 0.8), st.floats(0, 0.8)),
    extent=st.tuples(st.floats(0.2, 1), st.floats(0.2, 1)),
    seed=st.integers(0, 2**63),
)
def test_training_boxes_stay_on_their_objects(height, width, corner, extent, seed):
    """A white object on black is inside its box after zooms, flips and colours."""
    sides = np.array([width, height])
    low = np.floor(np.array(corner) * sides).astype(int)
    high = np.ceil(np.minimum(low + np.array(extent) * sides, sides)).astype(int)
    image = np.zeros((height, width, 3), np.uint8)
    image[low[1] : high[1], low[0] : high[0]] = 255
    result, moved = training(128, strength=0.8)(image, target([*low, *high], labels=[4]), seed)
    assert max(result.shape[:2]) <= 128 and moved["labels"].tolist() == [4]
    grey = result.mean(2)
    left, top, right, bottom = moved["boxes"][0].tolist()
    middle = grey[int((top + bottom) / 2), int((left + right) / 2)]
    around = grey.copy()
    around[max(int(top) - 6, 0) : int(bottom) + 7, max(int(left) - 6, 0) : int(right) + 7] = 0
    rows, columns = np.nonzero(grey > (middle + max(around.max(), 0.45 * middle)) / 2)
    drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(drawn, [left, top, right, bottom], atol=3)  # blur


@settings(max_examples=40)
@given(
    corners=st.lists(st.tuples(st.floats(0, 140), st.floats(0, 100)), max_size=6),
    seed=st.integers(0, 2**63),
)
def test_training_keeps_every_box_whole(corners, seed):
    boxes = [[x, y, x + 20, y + 20] for x, y in corners]
    labels = [n if n % 2 else IGNORE for n in range(len(boxes))]
    _, moved = training(500)(picture(), target(*boxes, labels=labels), seed)
    assert moved["labels"].tolist() == labels
    np.testing.assert_allclose(moved["boxes"][:, 2:] - moved["boxes"][:, :2], 20, atol=1e-3)


def test_training_zooms_in_and_out_and_shrinks_large_images():
    sizes = [training(500)(picture(), target([50, 50, 90, 90]), s)[0].shape for s in range(60)]
    assert min(h * w for h, w, _ in sizes) < 0.7 * 120 * 160
    assert max(h * w for h, w, _ in sizes) > 1.2 * 120 * 160
    for preset in (training, support):
        big, moved = preset(100)(picture(300, 400), target([0, 0, 400, 300]), seed=2)
        assert max(big.shape[:2]) == 100
        np.testing.assert_allclose(moved["boxes"], [[0, 0, *big.shape[1::-1]]], atol=1e-3)
    assert support(500)(picture(), target([1, 1, 9, 9]), seed=0)[0].shape == (120, 160, 3)


def test_strength_zero_without_flip_changes_nothing_and_the_input_stays_unchanged():
    image, boxes = picture(), target([10, 20, 50, 90])
    image.flags.writeable = False
    for seed in range(20):
        plain, moved = training(160, strength=0, flip=False)(image, boxes, seed)
        np.testing.assert_array_equal(plain, image)
        np.testing.assert_allclose(moved["boxes"], boxes["boxes"], atol=1e-3)
        training(160)(image, boxes, seed)
    assert boxes["boxes"].tolist() == [[10, 20, 50, 90]]
    with pytest.raises(InputError, match="between 0 and 2"):
        training(160, strength=-1)


def test_errors_of_albumentations_are_input_errors():
    large = custom([{"name": "RandomCrop", "args": {"height": 500, "width": 500}}])
    with pytest.raises(InputError, match="image 160 x 120"):
        large(picture(), target([1, 1, 9, 9]), seed=0)
    with pytest.raises(InputError, match="transformed image must be uint8"):
        custom([{"name": "Normalize"}])(picture(), target([1, 1, 9, 9]), seed=0)


def test_import_does_not_use_the_network():
    code = (
        "import socket; calls = []; socket.getaddrinfo = lambda *a, **k: calls.append(a) or [];"
        "import fsdet.data.loading.transforms; print(calls)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=ROOT,
    )
    assert done.stdout.strip() == "[]"


# Streams


def test_batches_are_bitwise_equal_for_any_number_of_workers():
    stream = Stream(Relabelled(one_image(), {1: 1}), training(40), 3, length=11)
    batches = {workers: list(loader(stream, 4, workers)) for workers in (0, 1, 2)}
    assert [len(images) for images, _ in batches[0]] == [4, 4, 3]
    for workers in (1, 2):
        for (images, targets), (others, more) in zip(batches[0], batches[workers], strict=True):
            assert all(map(same, zip(images, targets, strict=True), zip(others, more, strict=True)))


def test_a_stream_resumes_at_its_start_position():
    whole = Stream(Relabelled(one_image(), {1: 1}), training(40), 3, length=20)
    resumed = Stream(Relabelled(one_image(), {1: 1}), training(40), 3, length=9, start=11)
    assert all(same(whole[11 + n], resumed[n]) for n in range(9))
    assert len(resumed) == 9 and whole[0][0].dtype == torch.uint8 and whole[0][0].shape[0] == 3
    with pytest.raises(IndexError):
        resumed[9]


def test_each_epoch_has_each_image_once_in_another_order():
    stream = Stream(Relabelled(one_image(12), {1: 1}), support(40), 0, length=36)
    epochs = [[stream.index(e * 12 + n) for n in range(12)] for e in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] and epochs[0] != list(range(12))
    assert [stream.index(n) for n in range(12)] == epochs[0]  # and back


def test_boxes_of_other_categories_and_boxes_to_ignore_become_ignore():
    data = one_image(labels=(1, 2, 3))
    labels = Stream(Relabelled(data, {3: 1, 1: 2}), support(40), 0, length=1)[0][1]["labels"]
    assert labels.tolist() == [2, IGNORE, 1]
    hard = one_image(labels=(1, 2), ignore=np.tile([True, False], 6).tolist())
    labels = Stream(Relabelled(hard, {1: 1, 2: 2, 3: 3}), support(40), 0, length=1)[0][1]["labels"]
    assert labels.tolist() == [IGNORE, 2]


def test_images_without_a_box_of_the_task_are_left_out():
    data = one_image(images=3)
    data.labels[:] = [1, 2, 1]
    data.ignore[:] = [False, False, True]
    assert Relabelled(data, {1: 1}).indices.tolist() == [0]
    chosen = Relabelled(data, {1: 1}, np.array([1, 2]))
    assert {int(chosen.indices[Stream(chosen, support(40), 0, 5).index(n)]) for n in range(5)} == {
        1,
        2,
    }
    with pytest.raises(InputError, match="made-up: no image has a box of c"):
        Relabelled(data, {3: 1})


@pytest.mark.parametrize("workers", [0, 1])
def test_error_of_a_worker_is_one_line(workers):
    only = Stream(Relabelled(one_image(20), {1: 1}, np.array([13])), support(40), 0, length=2)
    with pytest.raises(InputError) as caught:
        list(loader(only, 1, workers))
    assert str(caught.value) == "image 13 does not decode"
