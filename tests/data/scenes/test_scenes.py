"""Generated scenes: reproducible, with boxes around what is visible, as varied as photographs are."""

import subprocess
import sys
import zlib

import numpy as np
import pytest
from helpers.paths import ROOT

from fsdet.data import open_data
from fsdet.data.scenes.dataset import SCENES_SPLITS, open_scenes
from fsdet.data.scenes.drawing import scene
from fsdet.data.scenes.layout import LEAST_VISIBLE, SHAPES, layout
from fsdet.data.shapes.dataset import random_of
from fsdet.data.shapes.render import mask
from fsdet.data.shots.splits import find
from fsdet.errors import InputError

SIZE = 256


@pytest.fixture(scope="module")
def layouts():
    return [layout(random_of(0, "train", index, 0), SIZE) for index in range(150)]


def checksum(data):
    """Checksum of boxes, labels and every fifth image."""
    drawn = [data.image(i).tobytes() for i in range(0, len(data), 5)]
    return zlib.crc32(b"".join([data.boxes.tobytes(), data.labels.tobytes(), *drawn]))


def test_another_process_draws_equal_images_and_another_seed_different_ones():
    here = checksum(open_scenes("test", seed=3, images=10))
    code = (
        "import sys; sys.path[:0] = ['tests', 'tests/data/scenes'];"
        "from test_scenes import checksum; from fsdet.data.scenes.dataset import open_scenes;"
        "print(checksum(open_scenes('test', seed=3, images=10)))"
    )
    command = [sys.executable, "-c", code]
    there = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(there.stdout) == here
    assert checksum(open_scenes("test", seed=4, images=10)) != here
    assert checksum(open_scenes("train", seed=3, images=10)) != here


def test_an_image_does_not_depend_on_the_number_of_images():
    few, many = open_scenes("train", images=3), open_scenes("train", images=6)
    np.testing.assert_array_equal(few.boxes, many.boxes[: len(few.boxes)])
    np.testing.assert_array_equal(few.image(2), many.image(2))


def test_boxes_are_around_what_later_objects_leave(layouts):
    for objects in layouts[:40]:
        hidden = np.zeros((SIZE, SIZE), bool)
        for placed in reversed(objects):
            cover = mask(placed.silhouette, SIZE, SIZE) > 127
            y, x = np.nonzero(cover & ~hidden)
            assert placed.box().tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
            assert len(x) >= LEAST_VISIBLE * cover.sum()
            hidden |= cover


def test_objects_vary_as_in_photographs(layouts):
    boxes = np.concatenate([[placed.box() for placed in objects] for objects in layouts])
    assert boxes.min() >= 0 and boxes.max() <= SIZE
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1) / SIZE
    assert np.percentile(sides, 3) < 0.08 and np.percentile(sides, 97) > 0.5
    counts = np.array([len(objects) for objects in layouts])
    assert counts.min() == 1 and counts.max() >= 9
    labels = [np.bincount([placed.label for placed in objects]) for objects in layouts]
    groups = np.mean([count.max() >= 3 for count in labels])
    assert 0.1 < groups < 0.4
    hidden = [
        placed.visible.sum() < 0.9 * (mask(placed.silhouette, SIZE, SIZE) > 127).sum()
        for objects in layouts
        for placed in objects
    ]
    assert 0.05 < np.mean(hidden) < 0.4
    cut = (boxes[:, :2] == 0).any(1) | (boxes[:, 2:] == SIZE).any(1)
    assert 0.05 < cut.mean() < 0.4


def test_an_object_is_drawn_where_its_box_is(layouts):
    """The image with and without its last object differs inside the box, and hardly outside of it."""
    objects = next(objects for objects in layouts if len(objects) == 2)
    with_it = scene(random_of(0, "train", 0, 1), objects, SIZE).astype(int)
    without = scene(random_of(0, "train", 0, 1), objects[:1], SIZE).astype(int)
    assert with_it.shape == (SIZE, SIZE, 3)
    changed = np.abs(with_it - without).max(2)
    left, top, right, bottom = objects[1].box().astype(int)
    assert (changed[top:bottom, left:right] > 20).mean() > 0.2


def test_colour_does_not_depend_on_the_category(layouts):
    means = [[] for _ in SHAPES]
    for index, objects in enumerate(layouts):
        image = scene(random_of(0, "train", index, 1), objects, SIZE)
        for placed in objects:
            means[placed.label - 1].append(image[placed.visible].mean(0))
    everything = np.concatenate(means)
    for category in means:
        error = everything.std(0) / np.sqrt(len(category))
        assert (np.abs(np.mean(category, 0) - everything.mean(0)) < 4.5 * error).all()


def test_it_is_opened_by_its_name_and_has_splits():
    data = open_data("scenes", "test")
    assert len(data) == 500 and data.classes == SHAPES
    for name, novel in SCENES_SPLITS.items():
        split = find(name, data.classes)
        assert split.novel == novel and len(split.base) == len(SHAPES) - 5
    with pytest.raises(InputError, match="scenes: no subset 'val'"):
        open_data("scenes", "val")
    with pytest.raises(InputError, match="at least 64"):
        open_scenes("train", size=32)
