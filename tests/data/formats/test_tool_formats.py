"""Folders of labelling tools: shapes become boxes, faults are named, nothing leaves the root."""

import json
import math

import numpy as np
import pytest
from helpers.folders import SCENE, assert_same_scene, picture, scene_of, write_images
from helpers.tool_folders import (
    OPENIMAGES_HEADER,
    TENSORFLOW_HEADER,
    cvat_image,
    cvat_xml,
    labelme_content,
    openimages_row,
    rect,
    via_entries,
    write_cvat,
    write_labelme,
    write_openimages,
    write_rows,
    write_tensorflow_csv,
)

from fsdet.data import open_data
from fsdet.data.check import check
from fsdet.data.open import subsets
from fsdet.errors import InputError

ONE = {"a": SCENE["a"]}  # an image of 60 x 40


def boxes_of(root):
    return open_data(root, "train", cache=False).boxes


def labelme(root, *shapes, **more):
    write_images(root, ONE)
    content = labelme_content("a", (40, 60), []) | {"shapes": list(shapes)} | more
    (root / "a.json").write_text(json.dumps(content))


def shape(kind, *points, label="cat", **more):
    return {"label": label, "shape_type": kind, "points": [list(p) for p in points]} | more


def cvat(root, shapes, name="a.png"):
    write_images(root / "images", ONE)
    (root / "annotations.xml").write_text(cvat_xml(cvat_image(name, (40, 60), shapes)))


def faults_of(root):
    return [(fault.where, fault.rule, fault.detail) for fault in check(root, "train").faults]


def test_shapes_of_labelme_become_the_boxes_around_them(tmp_path):
    labelme(
        tmp_path,
        shape("polygon", (5, 6), (20, 8), (7, 30)),
        shape("circle", (20, 20), (23, 24)),
        shape("linestrip", (1, 2), (9, 4), (5, 20)),
        shape(None, (2, 3), (4, 9), (8, 5)),
        shape("rectangle", (2, 3), (9, 8), difficult=True),
        shape("point", (3, 3)),
    )
    expected = [[5, 6, 20, 30], [15, 15, 25, 25], [1, 2, 9, 20], [2, 3, 8, 9], [2, 3, 9, 8]]
    data = open_data(tmp_path, "train")
    np.testing.assert_allclose(data.boxes, expected)
    assert data.ignore.tolist() == [False] * 4 + [True]
    (warning,) = [w for w in check(tmp_path, "train").warnings if "without a box" in w.rule]
    assert (warning.where, warning.detail) == ("a.json", "1 x point")


def test_folders_of_labelme_with_the_names_of_subsets_are_subsets(tmp_path):
    for name in ("train", "test"):
        write_images(tmp_path / name, ONE)
        write_labelme(tmp_path / name, ONE)
    (tmp_path / "test/a.json").write_text(json.dumps(labelme_content("a", (40, 60), [])))
    assert subsets(tmp_path) == ["test", "train"]
    data = open_data(tmp_path, "train", cache=False)
    assert data.paths[0] == "train/a.png"
    assert_same_scene(scene_of(data), ONE)


@pytest.mark.parametrize(
    ("bad", "detail"),
    [
        (shape("polygon", (1, 2)), "expected two or more points x, y; got 1 x and 1 y"),
        (
            shape("polygon", (1, 2), (math.nan, 5)),
            "expected points [[x, y], ...] of numbers; got 1",
        ),
        (shape("cube", (1, 2), (3, 5)), "got 'cube'"),
        (shape("polygon", (1, 2), (3, 5), label=" "), "expected a label; got ' '"),
        ({"label": "cat", "points": "x"}, "got x"),
        (7, "expected a label; got None"),
    ],
)
def test_a_faulty_shape_of_labelme_is_named_and_its_image_left_out(bad, detail, tmp_path):
    labelme(tmp_path, shape("rectangle", (2, 3), (9, 8)), bad)
    ((where, rule, text),) = faults_of(tmp_path)
    assert (where, rule) == ("a.json, shape 2", "annotation is incomplete") and detail in text
    write_images(tmp_path, {"b": SCENE["c"]})
    (tmp_path / "b.json").write_text(json.dumps(labelme_content("b", *SCENE["c"])))
    assert list(scene_of(open_data(tmp_path, "train", skip_bad=True))) == ["b"]


def test_files_that_cannot_be_used_are_named(tmp_path):
    labelme(tmp_path, shape("rectangle", (2, 3), (9, 8)))
    (tmp_path / "b.json").write_text('{"shapes": [')
    (tmp_path / "c.json").write_text(json.dumps(labelme_content("nowhere", (4, 6), [])))
    found = {where: rule for where, rule, _ in faults_of(tmp_path)}
    assert found == {"b.json": "annotation file cannot be read", "c.json": "missing image file"}


def test_an_image_of_another_size_than_annotated_is_a_fault(tmp_path):
    labelme(tmp_path, shape("rectangle", (2, 3), (9, 8)), imageHeight=80)
    ((where, rule, detail),) = faults_of(tmp_path)
    assert (where, rule) == ("a.png", "image size differs from its annotations")
    assert "expected 60 x 80 pixels as in a.json; the file has 60 x 40" in detail


def test_links_out_of_the_root_are_refused(tmp_path):
    root = tmp_path / "root"
    labelme(root, shape("rectangle", (2, 3), (9, 8)))
    (root / "a.png").rename(tmp_path / "a.png")
    (root / "a.png").symlink_to(tmp_path / "a.png")
    assert [rule for _, rule, _ in faults_of(root)] == ["image outside the data root"]


def test_shapes_of_cvat_become_the_boxes_around_them(tmp_path):
    shapes = """
    <tag label="day"/>
    <box label="cat" xtl="20" ytl="10" xbr="40" ybr="20" rotation="90.0"/>
    <polygon label="cat" points="5.0,6.0;20,8;7,30"/>
    <polyline label="dog" points="1,2;9,4;5,20"/>
    <ellipse label="dog" cx="20" cy="20" rx="6" ry="4" rotation="90"/>
    <mask label="dog" rle="1" left="3" top="4" width="10" height="20"/>
    <points label="cat" points="1,2"/>
    <points label="cat" points="1,2"/>"""
    cvat(tmp_path, shapes)
    expected = [[25, 5, 35, 25], [5, 6, 20, 30], [1, 2, 9, 20], [16, 14, 24, 26], [3, 4, 13, 24]]
    np.testing.assert_allclose(boxes_of(tmp_path), expected)
    (warning,) = [w for w in check(tmp_path, "train").warnings if "without a box" in w.rule]
    assert (warning.where, warning.detail) == ("annotations.xml", "2 x points")


@pytest.mark.parametrize(
    ("bad", "detail"),
    [
        (
            '<box label="cat" xtl="1" ytl="2" xbr="x" ybr="4"/>',
            "expected numbers xtl, ytl, xbr, ybr",
        ),
        ('<box label="cat" xtl="1"/>', "got 1, None, None, None"),
        ('<box xtl="1" ytl="2" xbr="3" ybr="4"/>', "expected a label at <box>"),
        ('<polygon label="cat" points="1,2;3"/>', "expected two or more points"),
        ('<blob label="cat"/>', "got <blob>"),
    ],
)
def test_a_faulty_shape_of_cvat_is_named(bad, detail, tmp_path):
    cvat(tmp_path, f'<box label="cat" xtl="1" ytl="2" xbr="9" ybr="9"/>{bad}')
    ((where, rule, text),) = faults_of(tmp_path)[:1]
    assert where == "annotations.xml, image 'a.png', shape 2" and detail in text
    assert rule == "annotation is incomplete"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("<annotations><image", "not valid XML"),
        ("<annotations><track/></annotations>", "CVAT for images 1.1"),
        ("<!DOCTYPE x [<!ENTITY e 'e'>]><annotations/>", "document type"),
    ],
)
def test_a_file_that_is_not_cvats_for_images_is_named(text, detail, tmp_path):
    write_images(tmp_path / "images", ONE)
    (tmp_path / "annotations.xml").write_text(text)
    (where, rule, found) = faults_of(tmp_path)[0]
    assert (where, rule) == ("annotations.xml", "annotation file cannot be read")
    assert detail in found


def test_files_of_cvat_are_subsets_by_their_names_and_share_their_categories(tmp_path):
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
        write_images(tmp_path / name / "images", ONE)
    write_cvat(tmp_path / "train", ONE)
    write_cvat(tmp_path / "val", {"a": ((40, 60), [("owl", 1, 2, 9, 12)])})
    (tmp_path / "val/annotations.xml").rename(tmp_path / "my-val.xml")
    assert subsets(tmp_path) == ["train", "val"]
    assert open_data(tmp_path, "train", cache=False).classes == ("cat", "dog", "owl")
    assert open_data(tmp_path, "val", cache=False).paths[0] == "val/images/a.png"
    (tmp_path / "val").rename(tmp_path / "other")
    with pytest.raises(InputError, match=r"missing image file.*and only one of the name"):
        (tmp_path / "train").rename(tmp_path / "more")
        open_data(tmp_path, "val", cache=False)


def test_pixels_are_those_of_the_image(tmp_path):
    cvat(tmp_path, '<box label="cat" xtl="1" ytl="2" xbr="9" ybr="9"/>', name="C:\\far\\a.png")
    np.testing.assert_array_equal(open_data(tmp_path, "train").image(0), picture((40, 60)))


def via(root, *regions):
    write_images(root / "images", ONE)
    entries = via_entries({"a": ((40, 60), [])})
    (entry,) = entries.values()
    entry["regions"] = [
        {"shape_attributes": shape, "region_attributes": attributes}
        for shape, attributes in regions
    ]
    (root / "via_region_data.json").write_text(json.dumps(entries))


def test_shapes_of_via_become_the_boxes_around_them(tmp_path):
    points = {"all_points_x": [5, 20, 7], "all_points_y": [6, 8, 30]}
    turned = {"name": "ellipse", "cx": 20, "cy": 20, "rx": 6, "ry": 4, "theta": math.pi / 2}
    via(
        tmp_path,
        ({"name": "polygon", **points}, {"colour": "red", "Class": "cat"}),
        ({"name": "polyline", **points}, {"colour": "red", "Class": {"dog": True, "cat": False}}),
        ({"name": "circle", "cx": 20, "cy": 20, "r": 5}, {"colour": "red", "Class": "cat"}),
        (turned, {"Class": "cat"}),
        ({"name": "point", "cx": 1, "cy": 2}, {"Class": "cat"}),
    )
    data = open_data(tmp_path, "train")
    expected = [[5, 6, 20, 30], [5, 6, 20, 30], [15, 15, 25, 25], [16, 14, 24, 26]]
    np.testing.assert_allclose(data.boxes, expected)
    assert [data.classes[label - 1] for label in data.labels] == ["cat", "dog", "cat", "cat"]
    assert [w.detail for w in check(tmp_path, "train").warnings if "shapes" in w.rule] == [
        "1 x point"
    ]


def test_regions_of_via_without_attributes_are_one_category_and_that_is_told(tmp_path):
    via(tmp_path, (rect(1, 2, 9, 12), {}), (rect(3, 3, 9, 12), {}))
    assert open_data(tmp_path, "train").classes == ("object",)
    assert "regions without a category" in {w.rule for w in check(tmp_path, "train").warnings}


def test_regions_of_via_1_are_read(tmp_path):
    via(tmp_path, (rect(1, 2, 9, 12), {"name": "cat"}))
    file = tmp_path / "via_region_data.json"
    content = json.loads(file.read_text())
    (entry,) = content.values()
    entry["regions"] = {"0": entry["regions"][0]}
    file.write_text(json.dumps(content))
    assert boxes_of(tmp_path).tolist() == [[1, 2, 9, 12]]


@pytest.mark.parametrize(
    ("shape", "attributes", "detail"),
    [
        (
            {"name": "rect", "x": 1, "y": "b"},
            {"label": "cat"},
            "expected numbers x, y, width, height",
        ),
        ({"name": "star"}, {"label": "cat"}, "expected a rect"),
        (rect(1, 2, 3, 4), {"label": ""}, "expected one category as attribute 'label'; got ''"),
        (rect(1, 2, 3, 4), {"label": {"cat": True, "dog": True}}, "expected one category"),
        ([], {"label": "cat"}, "expected a rect"),
    ],
)
def test_a_faulty_region_of_via_is_named(shape, attributes, detail, tmp_path):
    via(tmp_path, (rect(1, 2, 9, 12), {"label": "cat"}), (shape, attributes))
    where, rule, text = faults_of(tmp_path)[0]
    assert where == "via_region_data.json, image 'a.png', region 2" and detail in text
    assert rule == "annotation is incomplete"


def test_via_with_several_attributes_asks_for_the_category(tmp_path):
    via(tmp_path, (rect(1, 2, 9, 12), {"colour": "red", "size": "big"}))
    _, rule, text = faults_of(tmp_path)[0]
    assert rule == "annotation file cannot be read" and text.endswith("got colour, size")


def test_lists_of_tensorflow_are_subsets_by_their_names(tmp_path):
    write_images(tmp_path / "images", SCENE)
    for subset, name in (("train", "a"), ("test", "c")):
        write_tensorflow_csv(tmp_path, {name: SCENE[name]})
        (tmp_path / "labels.csv").rename(tmp_path / f"{subset}_labels.csv")
    assert subsets(tmp_path) == ["test", "train"]
    data = open_data(tmp_path, "test", cache=False)
    assert_same_scene(scene_of(data), {"c": SCENE["c"]})
    assert data.classes == ("ant", "cat", "dog")


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        (
            ["a.png", 60, 40, "cat", 1, 2, "x", 4],
            "expected numbers xmin, ymin, xmax, ymax; got 1, 2, x",
        ),
        (["a.png", 60, 40, "", 1, 2, 3, 4], "expected a class"),
        (["a.png", 60, 40, "cat", 1], "expected numbers"),
        (["b.png", 60, 40, "cat", 1, 2, 3, 4], "expected an image 'b.png'"),
    ],
)
def test_a_faulty_line_of_tensorflow_is_named(row, detail, tmp_path):
    write_images(tmp_path, ONE)
    rows = [["a.png", 60, 40, "cat", 1, 2, 9, 12], row]
    write_rows(tmp_path / "labels.csv", TENSORFLOW_HEADER, rows)
    ((where, _, text),) = faults_of(tmp_path)[:1]
    assert where == "labels.csv, line 3" and detail in text


def test_groups_of_openimages_are_ignored_and_images_elsewhere_are_told(tmp_path):
    write_openimages(tmp_path, {"a": SCENE["a"]})
    write_images(tmp_path / "train", ONE)
    rows = [openimages_row("a", (40, 60), "cat", 6, 4, 30, 20, group=1)]
    rows += [openimages_row(name, (40, 60), "owl", 6, 4, 30, 20) for name in ("x", "y")]
    rows += [openimages_row("a", (40, 60), "fox", 6, 4, 30, 20)]
    write_rows(tmp_path / "annotations-bbox.csv", OPENIMAGES_HEADER, rows)
    data = open_data(tmp_path, "train", cache=False)
    np.testing.assert_allclose(data.boxes, [[6, 4, 30, 20]] * 2)
    assert data.ignore.tolist() == [True, False] and data.classes == ("/m/fox", "cat")
    warnings = {w.rule: w.detail for w in check(tmp_path, "train").warnings}
    assert "2 of 3 images are not in the folder" in warnings["images that are not here"]
    assert "'/m/fox' has none" in warnings["labels without a name"]
