"""COCO reader: every fault is reported with its place and can be left out."""

import json

import cv2
import pytest
from helpers.folders import coco_content, picture, write_coco

from fsdet.data import open_data
from fsdet.data.check import check
from fsdet.errors import InputError


def change(key, row, **values):
    """An edit of a COCO content: set values of one entry of a list."""

    def edit(content):
        content[key][row].update(values)

    return edit


def append_copy(key, row, **values):
    """An edit that appends a copy of an entry, with other values."""

    def edit(content):
        content[key].append({**content[key][row], **values})

    return edit


def remove(key, row, name):
    def edit(content):
        del content[key][row][name]

    return edit


# Edit, (rule, part of where, part of detail), (images, boxes) left of 3 and 5.
COCO_FAULTS = {
    "outside": (
        change("annotations", 0, bbox=[50, 10, 20, 20]),
        ("box outside its image", "annotation 1", "50, 10, 70, 30 in a.png of 60 x 40"),
        (3, 5),
    ),
    "far away": (
        change("annotations", 0, bbox=[500, 10, 20, 20]),
        ("box outside its image", "annotation 1", "500, 10, 520, 30"),
        (2, 3),
    ),
    "no width": (
        change("annotations", 3, bbox=[10, 10, 0, 5]),
        ("box without area", "annotation 4", "10, 10, 10, 15"),
        (2, 2),
    ),
    "negative height": (
        change("annotations", 3, bbox=[10, 10, 5, -5]),
        ("box without area", "annotation 4", "10, 10, 15, 5"),
        (3, 5),
    ),
    "too thin for float32": (
        change("annotations", 3, bbox=[10, 10, 1e-9, 5]),
        ("box without area", "annotation 4", "'dog'"),
        (2, 2),
    ),
    "NaN": (
        change("annotations", 1, bbox=[float("nan"), 0, 5, 5]),
        ("box is not finite", "annotation 2", "nan, 0, nan, 5"),
        (2, 3),
    ),
    "infinite": (
        change("annotations", 1, bbox=[0, 0, float("inf"), 5]),
        ("box is not finite", "annotation 2", "inf"),
        (2, 3),
    ),
    "missing image": (
        change("annotations", 2, image_id=999),
        ("annotation of an unknown image", "annotation 3", "one of 3 images; got image_id 999"),
        (3, 4),
    ),
    "missing category": (
        change("annotations", 2, category_id=4),
        (
            "annotation of an unknown category",
            "annotation 3",
            "expected a category_id of 3, 6, 9; got 4",
        ),
        (2, 2),
    ),
    "two images of one id": (
        change("images", 1, id=10),
        ("duplicate image id", "image 10", "images/train/a.png and images/train/b.png share it"),
        (1, 3),
    ),
    "category twice": (
        append_copy("categories", 0, name="cow"),
        ("duplicate category id", "category 3", "'cow' has the id of 'ant'"),
        (2, 2),
    ),
    "missing file": (
        change("images", 2, file_name="nowhere.png"),
        ("missing image file", "image 30", "expected images/train/nowhere.png"),
        (2, 2),
    ),
    "file outside": (
        change("images", 2, file_name="../../../secret.png"),
        ("image outside the data root", "image 30", "points outside the data root"),
        (2, 2),
    ),
    "absolute file outside": (
        change("images", 2, file_name="/etc/hostname"),
        ("image outside the data root", "image 30", "points outside the data root"),
        (2, 2),
    ),
    "file outside by a link": (
        change("images", 2, file_name="link.png"),
        ("image outside the data root", "image 30", "points outside the data root"),
        (2, 2),
    ),
    "no file name": (
        remove("images", 2, "file_name"),
        ("image is incomplete", "image 30", "got None"),
        (2, 2),
    ),
    "no box": (
        remove("annotations", 2, "bbox"),
        ("annotation is incomplete", "annotation 3", "expected bbox"),
        (2, 2),
    ),
    "three numbers": (
        change("annotations", 2, bbox=[1, 2, 3]),
        ("annotation is incomplete", "annotation 3", "[1, 2, 3]"),
        (2, 2),
    ),
    "words": (
        change("annotations", 2, bbox=["one", 2, 3, 4]),
        ("annotation is incomplete", "annotation 3", "['one', 2, 3, 4]"),
        (2, 2),
    ),
    "id is a list": (
        change("annotations", 2, category_id=[9]),
        ("annotation of an unknown category", "annotation 3", "got [9]"),
        (2, 2),
    ),
    "crowd in words": (
        change("annotations", 2, iscrowd="perhaps"),
        ("annotation is incomplete", "annotation 3", "expected iscrowd 0 or 1; got 'perhaps'"),
        (2, 2),
    ),
    "category is a list": (
        append_copy("categories", 0, id=[3], name="cow"),
        ("category is incomplete", "category number 4", "id [3]"),
        (3, 5),
    ),
    "id in words": (
        change("annotations", 2, image_id="thirty"),
        ("annotation of an unknown image", "annotation 3", "image_id 'thirty'"),
        (3, 4),
    ),
}


@pytest.mark.parametrize("kind", COCO_FAULTS)
def test_a_coco_fault_is_reported_and_can_be_skipped(kind, tmp_path, caplog):
    edit, (rule, where, detail), remaining = COCO_FAULTS[kind]
    root, content = tmp_path / "root", coco_content()
    edit(content)
    write_coco(root, content)
    cv2.imwrite(str(tmp_path / "secret.png"), picture((32, 32)))
    (root / "images" / "train" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError) as caught:
        open_data(root, "train")
    message = str(caught.value)
    for part in (rule, where, detail, "1 fault", "fsdet check", "data.skip_bad=true"):
        assert part in message
    assert "\n" not in message and not caplog.records
    report = check(root, "train")
    assert report.counts() == {rule: 1}
    assert where in report.faults[0].where and detail in report.faults[0].detail
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        data = open_data(root, "train", skip_bad=True)
        assert (len(data), len(data.boxes)) == remaining
        assert len(set(data.ids.tolist())) == len(data.boxes)
        assert f"left out: 1 fault (1 x {rule})" in caplog.text


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_truncated_json_is_reported_with_line_and_column(share, tmp_path):
    file = write_coco(tmp_path)
    text = json.dumps(coco_content(), indent=1)
    file.write_text(text[: int(len(text) * share)])
    lines = file.read_text().count("\n") + 1
    for skip_bad in (False, True):  # there is nothing to go on with
        with pytest.raises(InputError) as caught:
            open_data(tmp_path, "train", skip_bad=skip_bad)
        assert "instances_train.json: annotation file is not valid JSON" in str(caught.value)
        assert f"line {lines} column" in str(caught.value) or share == 0.3
    assert check(tmp_path, "train").counts() == {"annotation file is not valid JSON": 1}


@pytest.mark.parametrize("text", ["[]", "3", '{"images": []}', '{"images": {}, "annotations": []}'])
def test_json_without_the_lists_of_coco_is_refused(text, tmp_path):
    write_coco(tmp_path).write_text(text)
    with pytest.raises(InputError, match="expected lists images, annotations, categories"):
        open_data(tmp_path, "train")
