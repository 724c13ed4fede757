"""LVIS annotations: federated keys, image names, the split by frequency."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.folders import CLASSES, SCENE, coco_content, write_coco, write_images
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdet.data import open_data
from fsdet.data.formats.lvis import Federated
from fsdet.data.shots import shot_list, splits
from fsdet.errors import InputError

FREQUENCY = {"ant": "r", "cat": "c", "dog": "f"}


PLACES = {"a": "train2017", "b": "val2017", "c": "train2017"}  # LVIS's subsets mix both folders


def lvis_content(version: str = "v1") -> dict:
    """The scene as LVIS writes it; image b is verified without ants, in c not every dog has a box."""
    content = coco_content()
    for image, name in zip(content["images"], SCENE, strict=True):
        image["coco_url"] = f"http://images.cocodataset.org/{PLACES[name]}/{image['file_name']}"
        image["neg_category_ids"] = [3, 6] if name == "b" else []
        image["not_exhaustive_category_ids"] = [9] if name == "c" else []
        if version == "v1":
            del image["file_name"]
        else:
            image["file_name"] = f"COCO_{PLACES[name].replace('2017', '2014')}_{name}.png"
    for category in content["categories"]:
        category |= {"frequency": FREQUENCY[category["name"]], "synset": "cat.n.01", "def": ""}
    for row in content["annotations"]:
        del row["iscrowd"]
    return content


def write_lvis(root: Path, version: str = "v1", subset: str = "lvis_v1_train") -> dict:
    """Annotations and images in train2017/ and val2017/; the content."""
    for name in SCENE:
        write_images(root / PLACES[name], {name: SCENE[name]})
    (root / "annotations").mkdir(exist_ok=True)
    content = lvis_content(version)
    (root / "annotations" / f"{subset}.json").write_text(json.dumps(content))
    return content


def federated_pairs(data):
    """(image name, category) pairs of both lists."""
    lists = data.federated.absent, data.federated.partial
    return [
        {(Path(data.paths[i]).stem, data.classes[label - 1]) for i, label in pairs.tolist()}
        for pairs in lists
    ]


def test_an_lvis_json_is_read_without_conversion(tmp_path):
    write_lvis(tmp_path)
    for _ in range(2):  # read, then from the cache
        data = open_data(tmp_path, "lvis_v1_train")
        assert [data.paths[i] for i in range(3)] == [f"{PLACES[n]}/{n}.png" for n in SCENE]
        assert data.classes == CLASSES and data.layout == "COCO"
        assert data.federated.frequency == "rcf"
        assert federated_pairs(data) == [{("b", "ant"), ("b", "cat")}, {("c", "dog")}]
        assert len(data.boxes) == 5 and not data.ignore.any()


@pytest.mark.parametrize("url", [True, False])
def test_lvis_v05_names_of_coco_2014_find_images_of_coco_2017(tmp_path, url):
    content = write_lvis(tmp_path, "v0.5", "lvis_v0.5_train")
    if not url:  # then all images of a subset are in the folder of its name
        for image in content["images"]:
            del image["coco_url"]
        write_images(tmp_path / "train2017", SCENE)
    (tmp_path / "annotations" / "lvis_v0.5_train.json").write_text(json.dumps(content))
    data = open_data(tmp_path, "lvis_v0.5_train")
    folders = PLACES if url else dict.fromkeys(SCENE, "train2017")
    assert [data.paths[i] for i in range(3)] == [f"{folders[n]}/{n}.png" for n in SCENE]


def test_a_missing_image_is_reported_with_its_expected_path(tmp_path):
    write_lvis(tmp_path)
    (tmp_path / "val2017" / "b.png").unlink()
    with pytest.raises(InputError, match=r"missing image file \(expected val2017/b\.png\)"):
        open_data(tmp_path, "lvis_v1_train")


def test_a_url_outside_the_root_is_refused(tmp_path):
    write_images(tmp_path, SCENE)
    content = write_lvis(tmp_path / "root")
    content["images"][0]["coco_url"] = "http://images.cocodataset.org/../a.png"
    (tmp_path / "root" / "annotations" / "lvis_v1_train.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="image outside the data root"):
        open_data(tmp_path / "root", "lvis_v1_train")


def test_rare_categories_are_novel(tmp_path):
    write_lvis(tmp_path)
    data = open_data(tmp_path, "lvis_v1_train")
    split = splits.find("lvis", data.classes, tmp_path, federated=data.federated)
    assert (split.base, split.novel) == (("cat", "dog"), ("ant",))


@pytest.mark.parametrize("lacking", ["frequency", "neg_category_ids", "all"])
def test_the_lvis_split_of_other_data_names_the_missing_keys(tmp_path, lacking):
    content = coco_content() if lacking == "all" else lvis_content("v0.5")
    entry = {"frequency": "categories", "neg_category_ids": "images"}.get(lacking)
    if entry:
        del content[entry][1][lacking]
    for image, name in zip(content["images"], SCENE, strict=True):
        image["file_name"] = f"{name}.png"
    write_coco(tmp_path, content)
    data = open_data(tmp_path, "train")
    assert data.federated is None
    with pytest.raises(InputError, match=r"'lvis'.*frequency \(r, c or f\).*neg_category_ids"):
        splits.find("lvis", data.classes, tmp_path, federated=data.federated)


@settings(max_examples=50, deadline=None)
@given(st.data(), st.sets(st.tuples(st.integers(0, 6), st.integers(1, 3))))
def test_federated_pairs_follow_the_selected_images(draw, pairs):
    names = "abcdefg"
    whole = Federated(
        "rcf", np.array(sorted(pairs), np.int32).reshape(-1, 2), np.zeros((0, 2), int)
    )
    images = draw.draw(st.lists(st.integers(0, 6), unique=True))
    part = whole.take(np.array(images, int), 7)
    selected = {(names[images[i]], label) for i, label in part.absent.tolist()}
    assert selected == {(names[i], label) for i, label in pairs if i in images}
    assert part.partial.shape == (0, 2) and part.frequency == "rcf"


def test_federated_pairs_of_skipped_images_are_dropped(tmp_path):
    write_lvis(tmp_path)
    (tmp_path / "train2017" / "a.png").unlink()
    data = open_data(tmp_path, "lvis_v1_train", skip_bad=True)
    assert len(data) == 2
    assert federated_pairs(data) == [{("b", "ant"), ("b", "cat")}, {("c", "dog")}]


def test_a_rare_category_gives_all_its_boxes_as_shots(tmp_path):
    write_lvis(tmp_path)
    data = open_data(tmp_path, "lvis_v1_train")
    assert {n: len(ids) for n, ids in shot_list.up_to(data, CLASSES, 2, 0).items()} == {
        "ant": 1,
        "cat": 1,
        "dog": 2,
    }
    dogs = ["dog"]
    assert shot_list.up_to(data, dogs, 3, 5) == shot_list.sample(data, dogs, 3, 5)
    with pytest.raises(InputError, match="'ant' has 1 boxes to draw from, fewer than 2 shots"):
        shot_list.sample(data, ["ant"], 2, 0)
