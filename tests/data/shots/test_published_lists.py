"""Published lists of CD-FSOD: subsets, and lists of shots with other ids than the data set."""

import json
import logging

import numpy as np
import pytest
from helpers.folders import CLASSES, SCENE, coco_content, write_images
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdet.data import open_data
from fsdet.data.shots.images import choose
from fsdet.data.shots.published_lists import published
from fsdet.errors import InputError

pytestmark = pytest.mark.slow

TEST = {"d": SCENE["a"], "e": SCENE["c"]}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FSDET_CACHE", str(tmp_path / "cache"))


def listed(*rows, classes=CLASSES):
    """A list of shots from rows (image, category, x1, y1, x2, y2), with other ids than the training set."""
    scene = {}
    for name, *box in rows:
        scene.setdefault(name, (SCENE[name][0], []))[1].append(tuple(box))
    content = coco_content(scene, classes)
    for row in content["annotations"]:
        row["id"] += 1000
    return content


@pytest.fixture
def folder(tmp_path):
    """annotations/{train,test,1_shot}.json, train/ and test/, as downloaded."""
    root = tmp_path / "ArTaxOr"
    write_images(root / "train", SCENE)
    write_images(root / "test", TEST)
    (root / "annotations").mkdir()
    one = listed(("c", "ant", 4, 0, 8, 32), ("a", "cat", 5, 10, 25, 30), ("c", "dog", 1, 2, 9, 12))
    for name, content in (
        ("train", coco_content()),
        ("test", coco_content(TEST)),
        ("1_shot", one),
        ("5_shot", coco_content()),
    ):
        (root / "annotations" / f"{name}.json").write_text(json.dumps(content))
    return root


def boxes_of(data, ids):
    rows = [int(np.flatnonzero(data.ids == i)[0]) for i in ids]
    images = data.image_of(rows)
    return [
        (data.path(i).stem, data.classes[data.labels[row] - 1], *data.boxes[row].astype(int))
        for i, row in zip(images, rows, strict=True)
    ]


def test_images_of_subsets_are_found_in_any_folder(folder):
    assert [open_data(folder, "train").paths[i] for i in range(3)] == [
        f"train/{name}.png" for name in SCENE
    ]
    assert [open_data(folder, "test").paths[i] for i in range(2)] == ["test/d.png", "test/e.png"]
    shots = open_data(folder, "1_shot")
    assert [shots.paths[i] for i in range(len(shots))] == ["train/c.png", "train/a.png"]
    assert shots.classes == CLASSES and len(shots.boxes) == 3


def test_listed_boxes_are_matched_by_image_and_corners(folder):
    data = open_data(folder, "train")
    drawn = published(folder / "annotations", data, CLASSES, 1)
    assert {name: boxes_of(data, ids) for name, ids in drawn.items()} == {
        "ant": [("c", "ant", 4, 0, 8, 32)],
        "cat": [("a", "cat", 5, 10, 25, 30)],
        "dog": [("c", "dog", 1, 2, 9, 12)],
    }
    # A detector can also register the boxes from the subset itself.
    subset = open_data(folder, "1_shot")
    assert len(choose(subset, CLASSES, 1, 0)) == 2


def test_short_lists_are_used_and_long_ones_are_cut(folder):
    data = open_data(folder, "train")
    drawn = published(folder / "annotations", data, CLASSES, 5)
    assert {name: len(ids) for name, ids in drawn.items()} == {"ant": 1, "cat": 1, "dog": 3}
    (folder / "annotations" / "2_shot.json").write_text(json.dumps(coco_content()))
    dogs = published(folder / "annotations", data, ["dog"], 2)["dog"]
    assert len(dogs) == 2 and set(dogs) < set(drawn["dog"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-0.49, 0.49), min_size=4, max_size=4), st.integers(0, 3))
def test_rounded_corners_match_the_nearest_box(tmp_path_factory, shift, which):
    root = tmp_path_factory.mktemp("set")
    boxes = [("dog", 10 + n, 10, 40 + n, 30 + n) for n in range(4)]
    scene = {"a": ((64, 64), boxes)}
    write_images(root / "train", scene)
    (root / "annotations").mkdir()
    (root / "annotations" / "train.json").write_text(json.dumps(coco_content(scene)))
    moved = (boxes[which][0], *np.add(boxes[which][1:], shift).tolist())
    one = coco_content({"a": ((64, 64), [moved])})
    (root / "annotations" / "1_shot.json").write_text(json.dumps(one))
    data = open_data(root, "train", cache=False)
    assert published(root / "annotations", data, ["dog"], 1)["dog"] == [which + 1]


def test_listed_boxes_missing_from_the_data_are_logged(folder, caplog):
    data = open_data(folder, "train")
    file = folder / "annotations" / "2_shot.json"
    shots = [("c", "dog", 1, 2, 9, 13), ("c", "dog", 10, 10, 20, 31)]
    file.write_text(json.dumps(listed(*shots)))
    with caplog.at_level(logging.WARNING, "fsdet"):
        drawn = published(folder / "annotations", data, ["dog"], 2)["dog"]
    assert boxes_of(data, drawn) == [("c", "dog", 10, 10, 20, 31)]
    assert "2_shot.json: 1 of 2 boxes are not in" in caplog.text
    file.write_text(json.dumps(listed(shots[0])))
    with pytest.raises(InputError, match=r"none of the 2 boxes of 'dog' \(1 of 1 boxes are not"):
        published(folder / "annotations", data, ["dog"], 2)


def test_unpublished_seeds_and_shot_counts_are_refused(folder):
    data = open_data(folder, "train")
    for k, seed in ((1, 3), (3, 0)):
        with pytest.raises(InputError, match=r"has 1_shot\.json, 5_shot\.json, for seed 0 only"):
            published(folder / "annotations", data, CLASSES, k, seed)


@pytest.mark.parametrize(
    "broken", ["[", "[]", '{"images": []}', '{"images": [], "annotations": [{}]}']
)
def test_error_names_a_damaged_list(folder, broken):
    (folder / "annotations" / "1_shot.json").write_text(broken)
    with pytest.raises(InputError, match=r"1_shot\.json: not a COCO list of shots"):
        published(folder / "annotations", open_data(folder, "train"), CLASSES, 1)
    content = listed(("c", "dog", 1, 2, 9, 12))
    content["annotations"][0]["bbox"] = [1, 2, "wide"]
    (folder / "annotations" / "1_shot.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="not a COCO list of shots"):
        published(folder / "annotations", open_data(folder, "train"), CLASSES, 1)


def test_ids_may_be_text(folder):
    plain = open_data(folder, "train", cache=False)
    file = folder / "annotations" / "train.json"
    content = json.loads(file.read_text())
    for image in content["images"]:
        image["id"] = f"ee8a{image['id']}"
    for row in content["annotations"]:
        row |= {"image_id": f"ee8a{row['image_id']}", "id": f"x{row['id']}"}
    file.write_text(json.dumps(content))
    data = open_data(folder, "train", cache=False)
    assert data.image_ids.tolist() == [1, 2, 3] and data.ids.tolist() == [1, 2, 3, 4, 5]
    assert data.boxes.tolist() == plain.boxes.tolist()
    assert data.starts.tolist() == plain.starts.tolist()
    content["annotations"][1]["image_id"] = "nowhere"
    content["annotations"][3]["id"] = content["annotations"][2]["id"]
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="image_id 'nowhere'"):
        open_data(folder, "train", cache=False)
