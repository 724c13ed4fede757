"""COCO as tools write it: ids and values as text, other names of files, turned boxes, other places of the JSON."""

import json
import unicodedata

import pytest
from helpers.folders import (
    CLASSES,
    SCENE,
    assert_same_scene,
    coco_content,
    scene_of,
    write_coco,
    write_images,
)

from fsdet.data import open_data
from fsdet.data.check import check
from fsdet.data.open import subsets


def warnings(root, subset="train"):
    report = check(root, subset)
    assert not report.faults
    return {warning.rule for warning in report.warnings}


def as_text(content):
    for rows in content.values():
        for row in rows:
            row |= {key: str(value) for key, value in row.items() if isinstance(value, int)}
            if "bbox" in row:
                row["bbox"] = list(map(str, row["bbox"]))


def as_fractions(content):
    for rows in content.values():
        for row in rows:
            row |= {key: float(value) for key, value in row.items() if isinstance(value, int)}


def as_words(content):
    for row in content["images"]:
        row["id"] = f"image {row['id']}"
    for row in content["annotations"]:
        row |= {"image_id": f"image {row['image_id']}", "category_id": 2**70 + row["category_id"]}
    for row in content["categories"]:
        row["id"] += 2**70


def only_images_as_text(content):
    for row in content["annotations"]:
        row["image_id"] = str(row["image_id"])


def categories_repeated(content):
    content["categories"] *= 3


def without_annotation_ids(content):
    for row in content["annotations"]:
        del row["id"]


def ids_begin_again(content):
    for row in content["annotations"]:
        row["id"] = row["image_id"] % 4


def outlines_only(content):
    for row in content["annotations"]:
        x, y, w, h = row.pop("bbox")
        row["segmentation"] = [[x, y, x + w, y, x, y + h], [x + w, y + h, x + 1, y + 1]]


def with_backslashes(content):
    for row in content["images"]:
        row["file_name"] = "C:\\Users\\me\\train\\" + row["file_name"]


def with_capitals(content):
    for row in content["images"]:
        row["file_name"] = row["file_name"].upper()


@pytest.mark.parametrize(
    "edit",
    [
        as_text,
        as_fractions,
        as_words,
        only_images_as_text,
        categories_repeated,
        without_annotation_ids,
        ids_begin_again,
        outlines_only,
        with_backslashes,
        with_capitals,
    ],
)
def test_what_tools_write_is_the_same_data(edit, tmp_path):
    content = coco_content()
    edit(content)
    write_coco(tmp_path, content)
    data = open_data(tmp_path, "train")
    assert_same_scene(scene_of(data), SCENE)
    assert (
        data.classes == CLASSES and data.ids.tolist() == [1, 2, 3, 4, 5] and not data.ignore.any()
    )


def test_a_file_listed_twice_is_one_image_with_the_boxes_of_both(tmp_path):
    content = coco_content()
    content["images"].append(content["images"][2] | {"id": 99})
    content["annotations"][4]["image_id"] = 99
    write_coco(tmp_path, content)
    assert_same_scene(scene_of(open_data(tmp_path, "train")), SCENE)
    assert "image listed twice" in warnings(tmp_path)


def test_one_name_under_two_ids_is_one_category(tmp_path):
    content = coco_content()
    content["categories"].append({"id": 12, "name": "dog"})
    content["annotations"][3]["category_id"] = 12
    write_coco(tmp_path, content)
    data = open_data(tmp_path, "train")
    assert_same_scene(scene_of(data), SCENE)
    assert data.category_ids.tolist() == [3, 6, 9]
    assert "category name under two ids" in warnings(tmp_path)


@pytest.mark.parametrize("used", [False, True])
def test_a_group_category_is_left_out_where_no_annotation_uses_it(used, tmp_path):
    content = coco_content()
    for category in content["categories"]:
        category["supercategory"] = "pets"
    content["categories"].insert(0, {"id": 0, "name": "pets", "supercategory": "none"})
    if used:
        content["annotations"][0]["category_id"] = 0
    write_coco(tmp_path, content)
    assert ("pets" in open_data(tmp_path, "train").classes) == used


@pytest.mark.parametrize(
    ("value", "ignored"), [("0", False), ("1", True), (1.0, True), (None, False)]
)
def test_a_crowd_flag_may_be_text(value, ignored, tmp_path):
    content = coco_content()
    content["annotations"][0]["iscrowd"] = value
    write_coco(tmp_path, content)
    assert open_data(tmp_path, "train").ignore.tolist() == [ignored, *[False] * 4]


def test_a_turned_rectangle_of_cvat_gives_the_upright_box_around_it(tmp_path):
    content = coco_content()
    content["annotations"][0] |= {"bbox": [10, 15, 30, 10], "attributes": {"rotation": 90.0}}
    content["annotations"][2] |= {"bbox": [10, 10, 10, 10], "attributes": {"rotation": 45}}
    write_coco(tmp_path, content)
    data = open_data(tmp_path, "train")
    assert data.boxes[0].tolist() == pytest.approx([20, 5, 30, 35])
    half = 50**0.5  # of the diagonal of the square
    assert data.boxes[2].tolist() == pytest.approx([15 - half, 15 - half, 15 + half, 15 + half])


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_found_in_either_unicode_form_and_percent_coding(form, tmp_path):
    scene = {unicodedata.normalize(form, "écrou"): SCENE["a"], "two words": SCENE["c"]}
    content = coco_content(scene)
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    content["images"][0]["file_name"] = unicodedata.normalize(other, "écrou.png")
    content["images"][1]["file_name"] = "two%20words.png"
    write_coco(tmp_path, content, scene=scene)
    assert_same_scene(scene_of(open_data(tmp_path, "train")), scene)


def test_names_that_differ_in_case_only_stay_apart(tmp_path):
    scene = {"a": SCENE["a"], "A": SCENE["c"]}
    write_coco(tmp_path, coco_content(scene), scene=scene)
    assert_same_scene(scene_of(open_data(tmp_path, "train")), scene)
    content = coco_content(scene)
    content["images"][0]["file_name"] = "a.PNG"  # a.png or A.png?
    write_coco(tmp_path, content, scene=scene)
    assert check(tmp_path, "train").counts() == {"missing image file": 1}


@pytest.mark.parametrize(
    ("file", "images", "subset"),
    [
        ("train.json", "images", "train"),
        ("result.json", "images", "result"),
        ("labels.json", "data", "labels"),
        ("train/_annotations.coco.json", "train", "train"),
        ("valid/labels.json", "valid/data", "valid"),
        ("annotations/via_export_coco.json", "images", "via_export_coco"),
    ],
)
def test_the_json_is_found_where_tools_put_it(file, images, subset, tmp_path):
    write_images(tmp_path / images, SCENE)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(json.dumps(coco_content()))
    (tmp_path / "notes.json").write_text('{"images": 3}')
    assert subsets(tmp_path) == [subset]
    assert_same_scene(scene_of(open_data(tmp_path, subset)), SCENE)


def test_other_annotations_of_coco_are_no_subsets(tmp_path):
    write_coco(tmp_path)
    whole = coco_content()
    for name, missing in {
        "captions_train": "categories",
        "image_info_test": "annotations",
        "dets": "images",
    }.items():
        content = {key: rows for key, rows in whole.items() if key != missing}
        (tmp_path / "annotations" / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "annotations" / "person_keypoints_train.json").write_text(json.dumps(whole))
    assert subsets(tmp_path) == ["train"]
    assert_same_scene(scene_of(open_data(tmp_path, "person_keypoints_train")), SCENE)


@pytest.mark.parametrize("missing", ["images", "boxes"])
def test_an_empty_subset_is_a_fault(missing, tmp_path):
    content = coco_content() | (
        {"images": [], "annotations": []} if missing == "images" else {"annotations": []}
    )
    write_coco(tmp_path, content)
    assert list(check(tmp_path, "train").counts()) == [
        f"subset without {'image' if missing == 'images' else 'box'}"
    ]
