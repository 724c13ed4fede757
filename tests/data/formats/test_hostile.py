"""Values, names and files that no data set should have: each is a fault, none ends the reader or makes it wait."""

import json
import os
import time

import numpy as np
import pytest
from helpers import folders

from fsdet.data.check import check
from fsdet.data.formats.coco import CocoReader
from fsdet.data.formats.voc import VocReader
from fsdet.data.open import open_data
from fsdet.data.shots.splits import find
from fsdet.errors import InputError


def report(root, change):
    content = folders.coco_content()
    change(content)
    folders.write_coco(root, content)
    return check(root, "train")


def test_forty_thousand_categories_are_read_in_time(tmp_path):
    content = folders.coco_content()
    content["categories"] += [{"id": i, "name": f"c{i}"} for i in range(100, 40_100)]
    folders.write_coco(tmp_path, content)
    start = time.process_time()
    assert len(CocoReader().read(tmp_path, "train").data.classes) == 40_003
    assert time.process_time() - start < 5


def test_a_line_of_spaces_is_read_in_time(tmp_path):
    folders.write_voc(tmp_path)
    names = tmp_path / "ImageSets" / "Main" / "train.txt"
    names.write_text(f"a 1\nb\t-1\nc{' ' * 400_000}x\nc\n")
    start = time.process_time()
    result = VocReader().read(tmp_path, "train")
    assert time.process_time() - start < 2
    assert [path.split("/")[1] for path in map(str, result.data.paths)] == [
        "a.png",
        "b.png",
        "c.png",
    ]


@pytest.mark.parametrize("value", [10**400, [10**400, 0, 5, 5], [1, 2, float("inf"), 5]])
def test_numbers_that_no_float_holds(tmp_path, value):
    key = "bbox" if isinstance(value, list) else "area"
    found = report(tmp_path, lambda content: content["annotations"][0].update({key: value}))
    assert len(found.faults) == (key == "bbox") and found.boxes == 5 - 2 * len(
        found.faults
    )  # its image is left out


@pytest.mark.parametrize("width", ["1e300", "inf", "nan", "99999999999"])
def test_sides_that_no_image_has_are_read_from_the_image(tmp_path, width):
    annotations = folders.write_voc(tmp_path)
    file = annotations / "a.xml"
    file.write_text(file.read_text().replace("<width>60", f"<width>{width}"))
    assert open_data(tmp_path, "train", cache=False).sizes.tolist()[0] == [40, 60]


@pytest.mark.parametrize("value", [[], {}, None, "", True, 1.5])
def test_ids_of_categories_that_are_no_numbers(tmp_path, value):
    found = report(tmp_path, lambda content: content["categories"][0].update(id=value))
    assert found.counts()["category is incomplete"] == 1


@pytest.mark.parametrize(
    ("value", "ignored"),
    [(0, 0), (1, 1), ("0", 0), ("1", 1), (None, 0), (1.0, 1), ("false", 0), ("true", 1)],
)
def test_iscrowd_is_0_or_1(tmp_path, value, ignored):
    found = report(tmp_path, lambda content: content["annotations"][0].update(iscrowd=value))
    assert (found.ignored, found.faults) == (ignored, [])


@pytest.mark.parametrize("value", ["perhaps", 2, float("nan"), [], {}, 0.5])
def test_iscrowd_of_another_value_is_a_fault(tmp_path, value):
    found = report(tmp_path, lambda content: content["annotations"][0].update(iscrowd=value))
    assert "expected iscrowd 0 or 1" in found.faults[0].detail and found.boxes == 3


@pytest.mark.parametrize(
    ("text", "ignored", "faults"),
    [
        ("1", 1, 0),
        ("True", 1, 0),
        ("0", 0, 0),
        ("false", 0, 0),
        ("", 0, 0),
        ("yes", 0, 1),
        ("2", 0, 1),
    ],
)
def test_difficult_is_0_or_1(tmp_path, text, ignored, faults):
    file = folders.write_voc(tmp_path) / "a.xml"
    xml = file.read_text().replace("<difficult>0", f"<difficult>{text}", 1)
    file.write_text(xml)
    found = check(tmp_path, "train")
    assert (found.ignored, len(found.faults), found.boxes) == (ignored, faults, 5 - 2 * faults)


@pytest.mark.parametrize("name", ["a\0", "a" * 300, "\ud800", "x/" * 3000, 5, None, ""])
def test_file_names_that_no_file_has(tmp_path, name):
    found = report(tmp_path, lambda content: content["images"][0].update(file_name=name))
    assert len(found.faults) == 1 and found.images == 2
    with pytest.raises(InputError, match="1 fault"):
        open_data(tmp_path, "train")  # through the cache


def test_a_category_with_half_a_character_is_a_fault(tmp_path):
    found = report(tmp_path, lambda content: content["categories"][0].update(name="\ud800"))
    assert "category is incomplete" in found.counts()


@pytest.mark.parametrize("subset", ["a" * 300, "a\0", "a" * 300 + ".json"])
def test_names_of_subsets_that_no_file_has(tmp_path, subset):
    folders.write_coco(tmp_path)
    with pytest.raises(InputError, match="no subset"):
        open_data(tmp_path, subset)


def test_pipes_are_not_waited_for(tmp_path):
    coco, voc, yolo = tmp_path / "coco", tmp_path / "voc", tmp_path / "yolo"
    folders.write_coco(coco)
    folders.write_voc(voc)
    folders.write_yolo(yolo)
    for file in (
        coco / "images" / "train" / "a.png",
        voc / "Annotations" / "a.xml",
        yolo / "labels" / "train" / "a.txt",
    ):
        file.unlink()
        os.mkfifo(file)
        assert check(file.parents[len(file.relative_to(tmp_path).parts) - 2], "train").faults
    os.mkfifo(voc / "ImageSets" / "Main" / "x.txt")
    with pytest.raises(InputError, match="no subset 'x'"):
        open_data(voc, "x")
    os.mkfifo(tmp_path / "splits.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        find(f"{tmp_path}/splits.yaml:first", ["a"])


def test_an_lvis_category_with_a_list_as_id(tmp_path):
    def change(content):
        content["categories"].append({"id": [1], "name": "x", "frequency": ["r"]})
        for category in content["categories"]:
            category["frequency"] = ["r"]

    assert "category is incomplete" in report(tmp_path, change).counts()


def test_the_content_written_here_is_sound(tmp_path):
    content = json.loads(json.dumps(folders.coco_content()))
    assert np.isfinite([row["area"] for row in content["annotations"]]).all()
    assert report(tmp_path, lambda content: None).faults == []
