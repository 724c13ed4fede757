"""VOC's XML without lists, beside the images or in any folder; lists, encodings and boxes of other tools."""

import pytest
from helpers.folders import SCENE, assert_same_scene, scene_of, voc_xml, write_images, write_voc

from fsdet.data import open_data
from fsdet.data.check import check
from fsdet.data.open import subsets
from fsdet.errors import InputError


def write_pair(root, images, annotations, scene=SCENE):
    write_images(root / images, scene)
    (root / annotations).mkdir(parents=True, exist_ok=True)
    for name, (size, boxes) in scene.items():
        # A corner at 0 says that a set counts from 0: no box of the scene is moved here.
        (root / annotations / f"{name}.xml").write_text(voc_xml(size, boxes))


@pytest.mark.parametrize(
    ("images", "annotations", "subset"),
    [
        (".", ".", "train"),
        ("images", "annots", "train"),
        ("images", "annotations/xmls", "train"),
        ("JPEGImages", "Annotations", "train"),
        ("photos/night", "labels/night", "train"),
        ("valid", "valid", "valid"),
        ("test/images", "test/annotations", "test"),
        ("images/val", "annotations/val", "val"),
    ],
)
def test_xml_files_are_found_in_any_pair_of_folders(images, annotations, subset, tmp_path):
    write_pair(tmp_path, images, annotations)
    assert subsets(tmp_path) == [subset]
    assert_same_scene(scene_of(open_data(tmp_path, subset)), SCENE)


def test_subsets_of_one_folder_each_share_their_categories(tmp_path):
    write_pair(tmp_path, "train", "train")
    write_pair(tmp_path, "valid", "valid", {"a": SCENE["a"]})
    assert subsets(tmp_path) == ["train", "valid"]
    data = open_data(tmp_path, "valid")
    assert data.path(0) == tmp_path / "valid" / "a.png" and data.classes == ("ant", "cat", "dog")


def test_an_image_without_a_file_is_left_out_and_named(tmp_path):
    write_pair(tmp_path, ".", ".")
    write_images(tmp_path, {"z": SCENE["b"]})
    assert_same_scene(scene_of(open_data(tmp_path, "train")), SCENE)
    named = [
        w.where
        for w in check(tmp_path, "train").warnings
        if w.rule == "image without annotation file"
    ]
    assert named == ["z.png"]


@pytest.mark.parametrize(
    "lines",
    [
        "a.png\nb.jpg\nc.PNG\n",
        "JPEGImages/a.png Annotations/a.xml\n./JPEGImages/b.png ./Annotations/b.xml\nJPEGImages\\c.png\n",
        "/home/me/voc/JPEGImages/a.png\nb.xml\nC\n",
    ],
)
def test_a_list_may_hold_endings_and_paths(lines, tmp_path):
    write_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text(lines)
    assert_same_scene(scene_of(open_data(tmp_path, "train")), SCENE)


def test_names_that_end_like_a_mark_are_names(tmp_path):
    scene = {"photo 0": SCENE["a"], "photo 1": SCENE["b"], "photo": SCENE["c"]}
    write_voc(tmp_path, scene)
    assert_same_scene(scene_of(open_data(tmp_path, "train")), scene)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("photo 0  1\nphoto 1 -1\nphoto 1\n")
    assert set(scene_of(open_data(tmp_path, "train"))) == {"photo 0", "photo 1"}


def test_a_corner_at_zero_says_that_a_set_counts_from_zero(tmp_path):
    scene = {"a": ((40, 60), [("cat", 10, 8, 20, 18)]), "b": ((40, 60), [("cat", 0, 5, 9, 9)])}
    write_voc(tmp_path, scene, shift=0)
    assert_same_scene(scene_of(open_data(tmp_path, "train")), scene)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gbk", "iso-8859-1", "cp1252"])
def test_xml_is_read_in_the_encoding_that_it_declares(encoding, tmp_path):
    name = "螺丝" if encoding in ("utf-8", "utf-16", "gbk") else "écrou"
    folder = write_voc(tmp_path)
    text = voc_xml(SCENE["a"][0], [(name, 5, 10, 25, 30)])
    (folder / "a.xml").write_bytes(
        f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode(encoding)
    )
    assert scene_of(open_data(tmp_path, "train"))["a"][1] == [(name, 5, 10, 25, 30)]


def test_bytes_that_are_not_utf_8_ask_for_their_encoding(tmp_path):
    folder = write_voc(tmp_path)
    (folder / "a.xml").write_bytes(
        voc_xml(SCENE["a"][0], [("écrou", 5, 10, 25, 30)]).encode("latin-1")
    )
    with pytest.raises(InputError, match="must declare the encoding"):
        open_data(tmp_path, "train")


ROTATED = "<cx>30</cx><cy>20</cy><w>20</w><h>10</h><angle>1.5707963267948966</angle>"
OUTLINE = "<x1>5</x1><y1>6</y1><x2>30</x2><y2>8</y2><x3>9</x3><y3>35</y3>"


@pytest.mark.parametrize(
    ("inside", "box"),
    [
        (f"<type>robndbox</type><robndbox>{ROTATED}</robndbox>", (25, 10, 35, 30)),
        (f"<polygon>{OUTLINE}</polygon>", (5, 6, 30, 35)),
    ],
)
def test_turned_boxes_and_outlines_give_the_box_around_them(inside, box, tmp_path):
    folder = write_voc(tmp_path)
    extra = f"<object><name>cat</name>{inside}</object>"
    (folder / "a.xml").write_text(voc_xml(SCENE["a"][0], [], extra=extra))
    assert scene_of(open_data(tmp_path, "train"))["a"][1][0][1:] == pytest.approx(box)


@pytest.mark.parametrize(
    ("text", "ignored"), [("True", True), ("1", True), ("0", False), ("", False)]
)
def test_the_flag_of_difficult_objects_may_be_a_word(text, ignored, tmp_path):
    folder = write_voc(tmp_path)
    xml = (folder / "a.xml").read_text().replace("<difficult>0", f"<difficult>{text}", 1)
    (folder / "a.xml").write_text(xml)
    assert open_data(tmp_path, "train").ignore.tolist() == [ignored, *[False] * 4]


def test_a_file_of_another_root_is_a_fault_and_a_prefix_is_none(tmp_path):
    folder = write_voc(tmp_path)
    text = (folder / "a.xml").read_text()
    (folder / "a.xml").write_text(
        text.replace("<annotation>", '<v:annotation xmlns:v="x">').replace("</ann", "</v:ann")
    )
    assert_same_scene(scene_of(open_data(tmp_path, "train")), SCENE)
    (folder / "a.xml").write_text(text.replace("annotation>", "boxes>"))
    assert check(tmp_path, "train").counts() == {"annotation file is not VOC's": 1}
