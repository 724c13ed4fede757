"""`fsdet convert`: every format into every other, read back equally."""

import os

import numpy as np
import pytest
import yaml
from helpers.commands import run
from helpers.folders import (
    CLASSES,
    FORMATS,
    SCENE,
    assert_same_scene,
    coco_content,
    scene_of,
    write_coco,
    write_images,
)

from fsdet.data import open_data
from fsdet.data.formats.convert import write_folder

TARGETS = ("coco", "voc", "yolo")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FSDET_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_becomes_every_other(name, to, tmp_path):
    FORMATS[name].write(tmp_path / "in", SCENE)
    words = ["convert", tmp_path / "in", "train", "--to", to, "--out", tmp_path / "out"]
    assert run(*words) == (
        0,
        f"{tmp_path / 'out'}: {to.upper()}\n  train: 3 images, 5 boxes\n",
        "",
    )
    data = open_data(tmp_path / "out", "train", cache=False)
    assert data.layout == to.upper() and data.classes == CLASSES
    assert_same_scene(scene_of(data), SCENE, atol=1e-4)
    source = open_data(tmp_path / "in", "train", cache=False)
    for i in range(3):
        assert source.path(i).read_bytes() == data.path(i).read_bytes()
        assert not data.path(i).samefile(source.path(i))


def test_links_take_no_space(tmp_path):
    write_coco(tmp_path / "in")
    words = ["convert", tmp_path / "in", "train", "--to", "voc", "--out", tmp_path / "out"]
    assert run(*words, "--link")[0] == 0
    data = open_data(tmp_path / "out", "train", cache=False)
    assert all(data.path(i).samefile(tmp_path / "in/images/train" / name) for i, name in NAMES)


NAMES = list(enumerate(("a.png", "b.png", "c.png")))


@pytest.mark.parametrize("to", TARGETS)
def test_subsets_with_other_categories_and_equal_names_stay_apart(to, tmp_path):
    train = {"a": ((30, 40), [("dog", 1, 2, 9, 12), ("cat", 3, 3, 8, 9)])}
    test = {"a": ((50, 20), [("dog", 5, 6, 19, 40), ("ant", 3, 3, 8, 9)])}
    write_coco(tmp_path / "in", coco_content(train, ("dog", "cat")), "train", train)
    write_coco(tmp_path / "in", coco_content(test, ("ant", "dog")), "test", test)
    words = [tmp_path / "in", "train", "test", "--to", to, "--out", tmp_path / "out"]
    assert run("convert", *words)[0] == 0
    for subset, scene in (("train", train), ("test", test)):
        data = open_data(tmp_path / "out", subset, cache=False)
        (read,) = scene_of(data).values()
        assert_same_scene({"a": read}, scene, atol=1e-4)
        np.testing.assert_array_equal(
            data.image(0), open_data(tmp_path / "in", subset, cache=False).image(0)
        )
    if to == "yolo":
        content = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
        assert content["val"] == "images/test" and list(content["names"].values()) == [
            "dog",
            "cat",
            "ant",
        ]


def test_equal_names_in_folders_of_one_subset_are_told_apart(tmp_path):
    scene = {"x": ((30, 40), [("cat", 1, 2, 9, 12)])}
    content = coco_content({**scene, "y": scene["x"]})
    for entry, name in zip(content["images"], ("one/x.png", "two/X.png"), strict=True):
        entry["file_name"] = name
        write_images(tmp_path / "in/images/train" / name[:3], scene)
    os.rename(tmp_path / "in/images/train/two/x.png", tmp_path / "in/images/train/two/X.png")
    write_coco(tmp_path / "in", content, scene={})
    assert (
        run("convert", tmp_path / "in", "train", "--to", "voc", "--out", tmp_path / "out")[0] == 0
    )
    assert sorted(scene_of(open_data(tmp_path / "out", "train"))) == ["images_train_two_X", "x"]


def test_what_a_format_cannot_hold_is_named(tmp_path):
    content = coco_content()
    content["annotations"][0]["iscrowd"] = 1
    content["annotations"][1]["bbox"] = [0.3, 0.2, 0.1, 39.4]
    content["annotations"][4]["category_id"] = 9  # no ant is left
    write_coco(tmp_path / "in", content)
    words = ["convert", tmp_path / "in", "train", "--out"]
    assert (
        "; 1 boxes to be ignored are ordinary ones"
        in run(*words, tmp_path / "y", "--to", "yolo")[1]
    )
    out = run(*words, tmp_path / "v", "--to", "voc")[1]
    assert "rounded to whole pixels" in out and "not in it: ant" in out
    data = open_data(tmp_path / "v", "train")
    assert data.ignore.tolist() == [True, False, False, False, False]
    assert data.boxes[1].tolist() == [0, 0, 1, 40]  # narrower than a pixel, and still there
    assert run(*words, tmp_path / "c", "--to", "coco")[1].endswith("5 boxes\n")


def test_generated_images_are_written(tmp_path):
    data = open_data("shapes", "test").subset([0, 1])
    write_folder({"test": data}, "COCO", tmp_path / "out")
    read = open_data(tmp_path / "out", "test", cache=False)
    np.testing.assert_allclose(read.boxes, data.boxes, atol=0.01)
    assert np.abs(read.image(1).astype(int) - data.image(1)).mean() < 4


def test_a_folder_with_files_is_refused(tmp_path):
    write_coco(tmp_path / "in")
    words = ["convert", tmp_path / "in", "train", "--to", "coco", "--out", tmp_path / "in"]
    status, _, err = run(*words)
    assert status == 2 and "expected a new or empty folder" in err
    status, _, err = run(*words[:3], "train", *words[3:5], "--out", tmp_path / "out")
    assert status == 2 and "got 'train' twice" in err and not (tmp_path / "out").exists()
