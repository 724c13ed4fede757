"""The generated data set: reproducible, with tight boxes, categories distinguishable by outline only."""

import json
import pickle
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from helpers.paths import ROOT

from fsdet.data import open_data
from fsdet.data.shapes import dataset
from fsdet.data.shapes.dataset import SHAPES_SPLITS, open_shapes, write_shapes
from fsdet.data.shapes.outlines import CATEGORIES, Silhouette, draw
from fsdet.data.shapes.render import mask
from fsdet.errors import InputError


def checksum(data):
    """Checksum of boxes, labels and every fifth image."""
    drawn = [data.image(i).tobytes() for i in range(0, len(data), 5)]
    return zlib.crc32(b"".join([data.boxes.tobytes(), data.labels.tobytes(), *drawn]))


def test_another_process_draws_equal_images_and_another_seed_different_ones():
    here = checksum(open_shapes("test", seed=3, images=20))
    code = (
        "import sys; sys.path[:0] = ['tests', 'tests/data/shapes'];"
        "from test_shapes import checksum; from fsdet.data.shapes.dataset import open_shapes;"
        "print(checksum(open_shapes('test', seed=3, images=20)))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert int(there.stdout) == here
    assert checksum(open_shapes("test", seed=4, images=20)) != here
    assert checksum(open_shapes("train", seed=3, images=20)) != here


def test_an_image_does_not_depend_on_size_subset_or_pickling():
    few, many = open_shapes("train", images=6), open_shapes("train", images=12)
    part = pickle.loads(pickle.dumps(many.subset([9, 5])))
    np.testing.assert_array_equal(few.boxes, many.boxes[: len(few.boxes)])
    np.testing.assert_array_equal(part.boxes[part.rows(1)], few.boxes[few.rows(5)])
    np.testing.assert_array_equal(part.image(1), few.image(5))
    np.testing.assert_array_equal(few.image(5), few.image(5))


@pytest.mark.parametrize("size", [128, 192, 320])
def test_boxes_are_tight_to_the_drawn_pixels(size):
    for index in range(150):
        _, silhouettes, boxes = dataset._layout(0, "train", index, size)
        for silhouette, box in zip(silhouettes, boxes, strict=True):
            y, x = np.nonzero(mask(silhouette, size, size) > 127)
            drawn = [x.min(), y.min(), x.max() + 1, y.max() + 1]
            np.testing.assert_allclose(drawn, box, atol=1)


def test_boxes_are_where_the_image_changes():
    """An image with and without its object differs inside the box."""
    index = next(i for i in range(50) if len(dataset._layout(0, "train", i, 192)[0]) == 1)
    _, silhouettes, boxes = dataset._layout(0, "train", index, 192)
    with_it = dataset.scene(dataset.random_of(0, "train", index, 1), silhouettes, 192)
    np.testing.assert_array_equal(open_shapes("train", images=index + 1).image(index), with_it)
    left, top, right, bottom = boxes[0].round().astype(int)
    smaller = Silhouette([np.array([[left, top], [left + 1, top], [left, top + 1.0]])])
    without = dataset.scene(dataset.random_of(0, "train", index, 1), [smaller], 192)
    inside = np.abs(with_it.astype(int) - without)[top:bottom, left:right].max(2)
    assert (inside > 20).mean() > 0.1


def test_boxes_lie_in_the_image_and_overlap_little():
    data = open_shapes("train", images=400)
    counts = np.diff(data.starts)
    assert counts.min() >= 1 and counts.max() == 4
    assert data.boxes.min() >= 0 and data.boxes.max() <= 192
    sides = (data.boxes[:, 2:] - data.boxes[:, :2]).max(1)
    assert sides.min() >= 23 and sides.max() <= 92
    assert np.percentile(sides, 10) < 32 and np.percentile(sides, 90) > 70
    for i in range(len(data)):
        boxes = data.boxes[data.rows(i)]
        for n, box in enumerate(boxes):
            others = np.delete(boxes, n, 0)
            overlap = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
            smaller = np.minimum(
                np.prod(box[2:] - box[:2]), (others[:, 2:] - others[:, :2]).prod(1)
            )
            assert (overlap.clip(0).prod(1) <= 0.11 * smaller).all()


def test_splits_are_five_novel_categories_each_and_disjoint():
    novel = [name for names in SHAPES_SPLITS.values() for name in names]
    assert [len(names) for names in SHAPES_SPLITS.values()] == [5, 5, 5]
    assert len(set(novel)) == 15 and set(novel) <= set(CATEGORIES)
    assert len(CATEGORIES) == 20
    for subset, least in (("train", 150), ("test", 30)):
        assert np.bincount(open_shapes(subset).labels, minlength=21)[1:].min() >= least


def test_colour_and_texture_do_not_depend_on_the_category():
    data = open_shapes("train", images=400)
    means, spreads = [[] for _ in CATEGORIES], [[] for _ in CATEGORIES]
    for i in range(len(data)):
        labels, silhouettes, _ = dataset._layout(0, "train", i, 192)
        image = data.image(i)
        for label, silhouette in zip(labels, silhouettes, strict=True):
            pixels = image[mask(silhouette, 192, 192) > 250]
            means[label - 1].append(pixels.mean(0))
            spreads[label - 1].append(pixels.std())
    for values, tolerance in ((means, 4.0), (spreads, 4.0)):
        everything = np.concatenate(values)
        for category in values:  # the tolerance is in standard errors
            error = everything.std(0) / np.sqrt(len(category))
            assert (np.abs(np.mean(category, 0) - everything.mean(0)) < tolerance * error).all()


def test_categories_are_distinguishable_by_outline():
    """Nearest neighbours by pixels among 25 outlines of each category have the right category."""

    def specimen(label, seed):
        rng = np.random.default_rng((label, seed))
        posed = dataset._posed(rng, draw(CATEGORIES[label], rng))
        points = np.concatenate(posed.filled)
        low, scale = points.min(0), 44 / np.ptp(points, 0).max()
        parts = ([(part - low) * scale + 2 for part in group] for group in posed)
        return cv2.GaussianBlur(mask(Silhouette(*parts), 48, 48), (9, 9), 2).ravel() / 255

    labels = range(len(CATEGORIES))
    support = np.stack([specimen(k, seed) for k in labels for seed in range(25)])
    query = np.stack([specimen(k, seed) for k in labels for seed in range(25, 35)])
    squared = (query**2).sum(1)[:, None] - 2 * query @ support.T + (support**2).sum(1)
    right = squared.argmin(1) // 25 == np.repeat(labels, 10)
    assert right.mean() > 0.85
    assert right.reshape(20, 10).mean(1).min() >= 0.5


def test_written_coco_folder_has_equal_data(tmp_path):
    write_shapes(tmp_path, seed=5, train=4, test=3)
    data = open_shapes("train", seed=5, images=4)
    content = json.loads((tmp_path / "annotations" / "instances_train.json").read_text())
    assert [c["name"] for c in content["categories"]] == list(CATEGORIES)
    rows = content["annotations"]
    np.testing.assert_array_equal([row["category_id"] for row in rows], data.labels)
    np.testing.assert_array_equal([row["id"] for row in rows], data.ids)
    boxes = np.array([row["bbox"] for row in rows])
    boxes[:, 2:] += boxes[:, :2]
    np.testing.assert_allclose(boxes, data.boxes, atol=1e-9)
    for i, image in enumerate(content["images"]):
        stored = cv2.imread(str(tmp_path / "images" / "train" / image["file_name"]))
        difference = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB).astype(int) - data.image(i)
        assert stored.shape == (image["height"], image["width"], 3)
        assert np.abs(difference).mean() < 4  # JPEG
    assert len(list((tmp_path / "images" / "test").iterdir())) == 3
    read = open_data(tmp_path, "train", cache=False)
    assert read.classes == data.classes
    for name in ("labels", "ids", "starts", "image_ids", "sizes", "category_ids"):
        np.testing.assert_array_equal(getattr(read, name), getattr(data, name))
    np.testing.assert_allclose(read.boxes, data.boxes, atol=1e-9)


def test_an_interrupted_write_leaves_no_annotations(tmp_path, monkeypatch):
    def power_cut(*_):
        raise OSError("power cut")

    monkeypatch.setattr("os.replace", power_cut)
    with pytest.raises(OSError, match="power cut"):
        write_shapes(tmp_path, train=1, test=1)
    assert not list((tmp_path / "annotations").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subset": "tran"}, "did you mean 'train'"),
        ({"subset": "test", "size": 16}, "at least 64"),
        ({"subset": "test", "images": 0}, "positive number"),
    ],
)
def test_error_names_a_wrong_argument(arguments, message):
    with pytest.raises(InputError, match=message):
        open_shapes(**arguments)
