"""COCO results of another detector, matched to the images of a data set."""

import json

import numpy as np
import pytest

from fsdet.data.formats.coco_results import MOST, load_results, match
from fsdet.data.shapes.dataset import open_shapes
from fsdet.errors import InputError

NAMES = ["JPEGImages/2008_000012.jpg", "JPEGImages/000034.jpg", "x/c.png"]
SIZES = np.array([[80, 100], [50, 60], [10, 10]])


def result(image, box, score=None, key="image_id"):
    return {key: image, "category_id": 7, "bbox": box} | ({} if score is None else {"score": score})


def test_boxes_are_clipped_and_ordered_by_score():
    entries = [
        result("c", [1, 2, 3, 4], 0.1),
        result("c", [-5, -5, 100, 8], 0.9),
        result("c", [20, 20, 5, 5], 0.8),  # outside
        result("c", [3, 3, 0, 5], 0.7),  # without area
        result("c", [0, 0, 1, 1], 0.1),  # equal scores stay in the file's order
    ]
    boxes = match(entries, NAMES, None, SIZES)
    assert boxes.starts.tolist() == [0, 0, 0, 3]
    assert boxes.of(2).tolist() == [[0, 0, 10, 3], [1, 2, 4, 6], [0, 0, 1, 1]]
    assert boxes.of(0).shape == (0, 4) and boxes.boxes.dtype == np.float32
    again = boxes.take([2, 0, 2])
    assert again.starts.tolist() == [0, 3, 3, 6] and np.array_equal(again.of(2), boxes.of(2))


@pytest.mark.parametrize(
    ("image", "key", "ids", "expected"),
    [
        ("JPEGImages/2008_000012.jpg", "file_name", None, 0),
        ("2008_000012.jpg", "file_name", None, 0),
        ("2008_000012", "image_id", None, 0),
        (34, "image_id", None, 1),  # 000034.jpg, as tools for VOC and YOLO folders write it
        (900, "image_id", np.array([800, 900, 34]), 1),
        (34, "image_id", np.array([800, 900, 34]), 2),  # COCO's id, not the file's number
        ("000034", "image_id", np.array([800, 900, 34]), None),
        (5, "image_id", None, None),
    ],
)
def test_an_image_is_found_by_name_or_id(image, key, ids, expected):
    boxes = match([result(image, [1, 1, 5, 5], key=key)], NAMES, ids, SIZES)
    assert np.diff(boxes.starts).tolist() == [int(i == expected) for i in range(3)]


def test_a_file_name_goes_before_an_id():
    entry = result(34, [1, 1, 5, 5]) | {"file_name": "c.png"}
    assert len(match([entry], NAMES, None, SIZES).of(2)) == 1


def test_an_image_has_at_most_so_many_boxes():
    entries = [result("c", [0, 0, 2, 2], n / 5000) for n in range(MOST + 5)]
    assert len(match(entries, NAMES, None, SIZES).boxes) == MOST


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"images": []}', "expected a list of results; COCO annotations are no results"),
        ("[3]", "result 1: expected keys and values, got 3"),
        (json.dumps([result(1, [1, 2, 3])]), r"result 1: expected bbox \[x, y, width, height\]"),
        (json.dumps([result(1, [1, 2, 3, "4"])]), "expected bbox"),
        (json.dumps([result(1, [1, 2, 3, True])]), "expected bbox"),
        ('[{"image_id": 1, "bbox": [1, 2, NaN, 4]}]', "expected a finite bbox"),
        ('[{"image_id": 1, "bbox": [1, 2, 1e999, 4]}]', "expected a finite bbox"),
        (json.dumps([result(1, [1, 2, -3, 4])]), "with sides from 0 on"),
        ('[{"image_id": 1, "bbox": [1, 2, 3, 4], "score": Infinity}]', "expected a finite score"),
        ('[{"bbox": [1, 2, 3, 4]}]', "expected image_id or file_name"),
        ('[{"image_id": [], "bbox": [1, 2, 3, 4]}]', "expected image_id or file_name"),
        (json.dumps([result(1, [0, 0, 1, 1]), result(1, None)]), "result 2: "),
        (json.dumps([result(1, [10**400, 0, 1, 1])]), "expected a finite bbox"),
    ],
)
def test_other_files_are_refused(tmp_path, content, said):
    file = tmp_path / "boxes.json"
    file.write_text(content)
    with pytest.raises(InputError, match=said):
        load_results(file)


def test_data_take_proposals_along(tmp_path):
    data = open_shapes("train", images=5, size=64)
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps([result(data.paths[3], [4, 5, 10, 20], key="file_name")]))
    proposed = data.with_proposals(file)
    assert proposed.proposals.of(3).tolist() == [[4, 5, 14, 25]]
    assert proposed.subset([3, 1]).proposals.starts.tolist() == [0, 1, 1]
    assert data.proposals is None
    file.write_text(json.dumps([result("elsewhere", [4, 5, 10, 20])]))
    with pytest.raises(InputError, match=r"no box in an image of .*its first image is 'elsewhere'"):
        data.with_proposals(file)
    with pytest.raises(InputError, match="cannot be read"):
        data.with_proposals(tmp_path / "none.json")
