"""Splits: published ones, splits from a file, and faulty files."""

import pytest

from fsdet.data.shots import splits
from fsdet.data.shots.splits import COCO_CLASSES, COCO_NOVEL, VOC_CLASSES, FewShotSplit
from fsdet.errors import InputError

CLASSES = ("Bolt", "Nut", "Pen", "Wire")


def test_published_splits_have_the_published_sizes_and_cover_all_categories():
    for name in ("voc1", "voc2", "voc3"):
        split = splits.find(name, VOC_CLASSES)
        assert (len(split.base), len(split.novel)) == (15, 5)
        assert set(split.base) | set(split.novel) == set(VOC_CLASSES)
    coco = splits.find("coco", COCO_CLASSES)
    assert (len(coco.base), len(coco.novel)) == (60, 20)
    assert set(coco.base) | set(coco.novel) == set(COCO_CLASSES)


def test_published_novel_categories():
    assert splits.find("voc1", VOC_CLASSES).novel == ("bird", "bus", "cow", "motorbike", "sofa")
    assert splits.find("voc2", VOC_CLASSES).novel == ("aeroplane", "bottle", "cow", "horse", "sofa")
    assert splits.find("voc3", VOC_CLASSES).novel == ("boat", "cat", "motorbike", "sheep", "sofa")


def test_coco_novel_categories_are_the_published_ids():
    # COCO's 80 categories have ids up to 90; these ten are not used.
    unused = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    ids = [n for n in range(1, 91) if n not in unused]
    assert len(ids) == len(COCO_CLASSES) == len(set(COCO_CLASSES))
    novel = {ids[COCO_CLASSES.index(name)] for name in COCO_NOVEL}
    assert novel == {1, 2, 3, 4, 5, 6, 7, 9, 16, 17, 18, 19, 20, 21, 44, 62, 63, 64, 67, 72}


def test_names_of_another_data_set_are_refused():
    with pytest.raises(InputError, match=r"no category 'aeroplane'.*did you mean 'airplane'"):
        splits.find("voc1", COCO_CLASSES)
    with pytest.raises(InputError, match="'airplane'"):
        splits.find("coco", VOC_CLASSES)


def test_missing_categories_are_left_out_only_when_allowed():
    classes = [name for name in VOC_CLASSES if name not in ("bus", "train")]
    with pytest.raises(InputError, match="'train', 'bus'"):
        splits.find("voc1", classes)
    split = splits.find("voc1", classes, allow_missing=True)
    assert split.novel == ("bird", "cow", "motorbike", "sofa")
    assert "train" not in split.base and len(split.base) == 14
    with pytest.raises(InputError, match="no novel categories"):
        splits.find("voc1", ["person", "car"], allow_missing=True)


def test_generated_splits_take_their_novel_categories_from_the_data_set():
    from fsdet.data.shapes import dataset as shapes

    classes = list(dict.fromkeys(n for novel in shapes.SHAPES_SPLITS.values() for n in novel))
    classes += ["other"]
    name, novel = next(iter(shapes.SHAPES_SPLITS.items()))
    split = splits.find(name, classes)
    assert split.novel == tuple(novel)
    assert split.base == tuple(n for n in classes if n not in novel)


def test_split_of_a_file_by_path_and_by_name(tmp_path):
    file = tmp_path / "splits.yaml"
    file.write_text("one:\n  novel: [Pen, Nut]\ntwo:\n  novel: [Pen]\n  base: [Wire]\n")
    expected = FewShotSplit(f"{file}:one", ("Bolt", "Wire"), ("Pen", "Nut"))
    assert splits.find(f"{file}:one", CLASSES) == expected
    assert splits.find("one", CLASSES, root=tmp_path).novel == ("Pen", "Nut")
    assert splits.find("two", CLASSES, root=tmp_path) == FewShotSplit("two", ("Wire",), ("Pen",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one:\n  novel: [Pem]\n", "no category 'Pem'; did you mean 'Pen'"),
        ("won:\n  novel: [Pen]\n", "no split is called 'one'"),
        ("one: [Pen]\n", "the key 'novel'"),
        ("one:\n  novels: [Pen]\n", "the key 'novel'"),
        ("one:\n  novel: [Pen]\n  bass: [Nut]\n", "unknown key 'bass'"),
        ("one:\n  novel: Pen\n", "list of names"),
        ("one:\n  novel: [no]\n", "list of names, in quotes"),
        ("one:\n  novel: []\n", "no novel categories"),
        ("one:\n  novel: [Pen]\n  base: [Pen]\n", "'Pen' twice"),
        ("one:\n  novel: [Bolt, Nut, Pen, Wire]\n", "no base categories"),
        ("- one\n", "expected 'NAME"),
        ("one:\n  novel: [Pen\n", "not YAML .*line 3"),
        ("[" * 3000, "not YAML .expected at most 50 levels"),
        ("one: !!python/object/apply:os.getcwd []\n", "not YAML"),
    ],
)
def test_error_about_a_faulty_file_is_one_line(tmp_path, text, message):
    file = tmp_path / "splits.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        splits.find("one", CLASSES, root=tmp_path)
    assert "\n" not in str(caught.value)


def test_error_about_an_unknown_split_suggests_others(tmp_path):
    with pytest.raises(InputError, match=r"'vok1'.*did you mean 'voc1'"):
        splits.find("vok1", VOC_CLASSES)
    with pytest.raises(InputError, match=r"splits.yaml"):
        splits.find("split9", CLASSES, root=tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        splits.find(f"{tmp_path}/none.yaml:one", CLASSES)


def test_repeated_or_no_novel_categories_are_refused():
    with pytest.raises(InputError, match="'a' twice"):
        FewShotSplit("s", ("a", "b"), ("a",))
    with pytest.raises(InputError, match="'a' twice"):
        FewShotSplit("s", ("b",), ("a", "a"))
    with pytest.raises(InputError, match="no novel"):
        FewShotSplit("s", ("a",), ())
