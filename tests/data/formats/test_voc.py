"""VOC reader: corners, lists, and faults with their places."""

import pytest
from helpers.folders import SCENE, assert_same_scene, scene_of, voc_xml, write_images, write_voc

from fsdet.data import open_data
from fsdet.data.check import check
from fsdet.errors import InputError


def test_whole_corners_count_from_one_and_fractions_from_zero(tmp_path):
    folder = write_voc(
        tmp_path, {"a": ((40, 60), [("cat", 5, 10, 25, 30), ("dog", 1, 1, 9, 9)])}, shift=0
    )
    scene = scene_of(open_data(tmp_path, "train"))
    assert scene["a"][1][0] == ("cat", 4, 9, 25, 30)
    # The majority of all corners decides, in files of other lists too; a few fractions do not.
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("t\n")
    write_images(tmp_path / "JPEGImages", {"t": ((40, 40), [])})
    (folder / "t.xml").write_text(voc_xml((40, 40), [("cow", 1.5, 2, 9, 9)], shift=0))
    assert scene_of(open_data(tmp_path, "train"))["a"][1][0] == ("cat", 4, 9, 25, 30)
    fractions = [("cow", 1.5, 2.5, 9.5, 9.5)] * 9  # most corners now
    (folder / "t.xml").write_text(voc_xml((40, 40), fractions, shift=0))
    data = open_data(tmp_path, "train")
    assert scene_of(data)["a"][1][0] == ("cat", 5, 10, 25, 30)
    # Lists share their categories.
    assert data.classes == open_data(tmp_path, "test").classes == ("cat", "cow", "dog")


def test_faults_of_another_list_are_reported_only_there(tmp_path):
    folder = write_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("gone\n")
    (folder / "gone.xml").write_text("<annotation>")
    assert_same_scene(scene_of(open_data(tmp_path, "train")), SCENE)
    with pytest.raises(InputError, match=r"gone\.xml"):
        open_data(tmp_path, "test")


def test_difficult_objects_are_ignored(tmp_path):
    folder = write_voc(tmp_path)
    text = (folder / "c.xml").read_text()
    (folder / "c.xml").write_text(text.replace("<difficult>0", "<difficult>1", 1))
    data = open_data(tmp_path, "train")
    assert data.ignore.tolist() == [False, False, True, False, False]


def test_parts_of_an_object_are_not_objects(tmp_path):
    folder = write_voc(tmp_path)
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax>"
    part += "<ymax>4</ymax></bndbox></part></object>"
    text = (folder / "a.xml").read_text()
    (folder / "a.xml").write_text(text.replace("</object>", part, 1))
    assert_same_scene(scene_of(open_data(tmp_path, "train")), SCENE)


def test_marks_of_one_category_lists_are_dropped(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("a  1\nb -1\nc  0\n\n")
    assert_same_scene(scene_of(open_data(tmp_path, "train")), SCENE)


@pytest.mark.parametrize(
    ("text", "rule", "detail"),
    [
        ("<annotation><object>", "not valid XML", "line 1, column 20"),
        ("", "not valid XML", "no element found"),
        (
            "<!DOCTYPE a [<!ENTITY b 'c'>]><annotation>&b;</annotation>",
            "cannot be read",
            "entities",
        ),
        (None, "cannot be read", "No such file"),
    ],
)
def test_an_unusable_xml_file_is_reported_and_can_be_skipped(text, rule, detail, tmp_path, caplog):
    folder = write_voc(tmp_path)
    (folder / "a.xml").unlink() if text is None else (folder / "a.xml").write_text(text)
    with pytest.raises(InputError) as caught:
        open_data(tmp_path, "train")
    for part in ("Annotations/a.xml", rule, detail, "1 fault"):
        assert part in str(caught.value)
    data = open_data(tmp_path, "train", skip_bad=True)
    assert [data.path(i).stem for i in range(len(data))] == ["b", "c"]
    assert data.image_ids.tolist() == [2, 3]
    assert len(check(tmp_path, "train").faults) == 1


def test_xml_entities_are_not_expanded(tmp_path):
    folder = write_voc(tmp_path)
    layers = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE a [<!ENTITY l0 "ha">{layers}]><annotation>&l11;</annotation>'
    (folder / "a.xml").write_text(bomb, encoding="utf-16")
    with pytest.raises(InputError, match="entities is refused"):
        open_data(tmp_path, "train")


VOC_FAULTS = {
    "outside": ([("cat", 50, 10, 80, 20)], "box outside its image", "50, 10, 80, 20"),
    "no area": ([("cat", 5, 10, 5, 20)], "box without area", "5, 10, 5, 20"),
    "NaN": ([("cat", float("nan"), 10, 20, 20)], "box is not finite", "nan, 10, 20, 20"),
    "no name": ([("", 5, 10, 20, 20)], "annotation is incomplete", "name ''"),
    "a word": ([("cat", 5, 10, "x", 20)], "annotation is incomplete", "xmax x"),
}


@pytest.mark.parametrize("kind", VOC_FAULTS)
def test_a_voc_fault_is_reported_and_can_be_skipped(kind, tmp_path):
    boxes, rule, detail = VOC_FAULTS[kind]
    folder = write_voc(tmp_path)
    size, right = SCENE["a"]
    (folder / "a.xml").write_text(voc_xml(size, [right[0], *boxes, right[1]]))
    with pytest.raises(InputError) as caught:
        open_data(tmp_path, "train")
    for part in ("Annotations/a.xml, object 2", rule, detail):
        assert part in str(caught.value)
    data = open_data(tmp_path, "train", skip_bad=True)
    # Faulty objects keep their number; one of unknown place must not become background.
    assert data.ids.tolist() == ([1, 2, 3, 4, 5, 6] if kind == "outside" else [4, 5, 6])
    assert data.ids[data.ignore].tolist() == ([2] if kind == "outside" else [])
    assert check(tmp_path, "train").counts() == {rule: 1}


def test_a_missing_voc_image_is_reported_and_can_be_skipped(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "JPEGImages" / "a.png").unlink()
    with pytest.raises(
        InputError, match=r"Annotations/a\.xml: missing image file \(expected JPEGImages/a"
    ):
        open_data(tmp_path, "train")
    assert len(open_data(tmp_path, "train", skip_bad=True)) == 2


@pytest.mark.parametrize("link", ["JPEGImages", "JPEGImages/a.png", "Annotations/a.xml"])
def test_voc_files_outside_the_root_are_refused(link, tmp_path):
    write_voc(tmp_path / "root")
    (tmp_path / "root" / link).rename(tmp_path / "elsewhere")
    (tmp_path / "root" / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="points outside the data root"):
        open_data(tmp_path / "root", "train")
