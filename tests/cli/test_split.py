"""`fsdet split`: new lists in every format, read back; nothing of the user changes."""

import json
import shutil

import pytest
from helpers.commands import run
from helpers.folders import (
    CLASSES,
    assert_same_scene,
    scene_of,
    voc_xml,
    write_coco,
    write_images,
    write_voc,
    write_yolo,
)

from fsdet.data import open_data
from fsdet.data.open import subsets
from fsdet.data.split_off import split_off

SCENE = {
    f"{n:02}": ((30, 40), [(CLASSES[n % 3], n, 2, n + 9, 12), ("cat", 10, 10, 20, 30)])
    for n in range(12)
}


def beside_coco(root):
    """Roboflow's layout: the JSON in the folder of its images."""
    file = write_coco(root, scene=SCENE)
    shutil.move(root / "images/train", root / "train")
    shutil.move(file, root / "train/_annotations.coco.json")


def beside_voc(root):
    write_images(root / "train", SCENE)
    for name, (size, boxes) in SCENE.items():
        (root / "train" / f"{name}.xml").write_text(voc_xml(size, boxes))


def apart_voc(root):
    """labelImg's layout: two folders, no lists."""
    write_images(root / "images", SCENE)
    (root / "annots").mkdir()
    for name, (size, boxes) in SCENE.items():
        (root / "annots" / f"{name}.xml").write_text(voc_xml(size, boxes))


def plain_yolo(root):
    write_yolo(root, SCENE)
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("\n".join(CLASSES))


LAYOUTS = {
    "coco": lambda root: write_coco(root, scene=SCENE),
    "coco beside": beside_coco,
    "voc": lambda root: write_voc(root, SCENE),
    "voc beside": beside_voc,
    "voc apart": apart_voc,
    "yolo": lambda root: write_yolo(root, SCENE),
    "yolo without data.yaml": plain_yolo,
}


def contents(root):
    return {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FSDET_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_new_subsets_are_those_of_a_training_and_no_file_changes(layout, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    LAYOUTS[layout](root)
    before = contents(root)
    expected = split_off(open_data(root, "train", cache=False), 0.25, seed=1)
    status, out, err = run("split", root, "--seed", 1)
    assert (status, err) == (0, "")
    assert f"data.root={root} data.train=train-without-test data.test=test" in out
    assert "  test: 3 images, 6 boxes" in out
    for name, part in zip(("train-without-test", "test"), expected, strict=True):
        read = open_data(root, name, cache=False)
        assert_same_scene(scene_of(read), scene_of(part))
        assert read.classes == part.classes
    assert_same_scene(scene_of(open_data(root, "train", cache=False)), SCENE)
    after = contents(root)
    assert {file: after[file] for file in before} == before
    new = sorted(str(file.relative_to(root)) for file in after.keys() - before.keys())
    assert sorted(out.split("written: ")[1].splitlines()[0].split(", ")) == new
    assert not any(file.endswith(".png") for file in new)


def test_outlines_and_unknown_keys_of_coco_are_kept(tmp_path):
    file = write_coco(tmp_path, scene=SCENE)
    content = json.loads(file.read_text())
    content["licenses"] = [{"id": 1}]
    for row in content["annotations"]:
        row["segmentation"] = [[1, 2, 3, 4, 5, 6]]
    file.write_text(json.dumps(content))
    assert run("split", tmp_path)[0] == 0
    written = json.loads((tmp_path / "annotations/instances_test.json").read_text())
    assert written["licenses"] == [{"id": 1}] and len(written["annotations"]) == 6
    assert all(row in content["annotations"] for row in written["annotations"])


def test_nothing_is_overwritten(tmp_path):
    root = tmp_path / "data"
    write_coco(root, scene=SCENE)
    assert run("split", root)[0] == 0
    status, _, err = run("split", root)
    assert status == 2 and "has a subset 'test'; give the new one another --name" in err
    assert run("split", root, "--name", "val", "--subset", "train-without-test")[0] == 0
    assert len(subsets(root)) == 5
    other = tmp_path / "other"
    write_yolo(other, SCENE)
    (other / "test.txt").write_text("notes")
    before = contents(other)
    status, _, err = run("split", other)
    assert status == 2 and "test.txt' is there already" in err and contents(other) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--share", "1"], "--share: expected"),
        (["--name", "a/b"], "--name: expected a name"),
        (["--seed", "-1"], "--seed: expected"),
        (["--subset", "trian"], "no subset 'trian'; did you mean 'train'"),
    ],
)
def test_wrong_options_are_named(words, message, tmp_path):
    write_coco(tmp_path, scene=SCENE)
    status, _, err = run("split", tmp_path, *words)
    assert status == 2 and message in err
