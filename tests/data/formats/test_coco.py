"""COCO reader: ids, categories, and the folders that hold the images."""

import json

import numpy as np
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
from pycocotools.coco import COCO

from fsdet.data import open_data


def test_coco_equals_pycocotools(tmp_path, capsys):
    rng = np.random.default_rng(0)
    content = coco_content()
    content["annotations"] = []
    for n in range(200):
        image = content["images"][rng.integers(3)]
        x, y = (rng.random(2) * 0.6 * (image["width"], image["height"])).round(2).tolist()
        side = (1 + rng.random(2) * 0.3 * (image["width"], image["height"])).round(2).tolist()
        row = {"id": int(9e11) - n, "image_id": image["id"], "category_id": 3 * (n % 3 + 1)}
        outline = [[x, y, x + 1.5, y, x, y + 2e-1]]
        content["annotations"].append(
            {**row, "segmentation": outline, "bbox": [x, y, *side], "area": n / 7, "iscrowd": n % 2}
        )
    file = write_coco(tmp_path, content)
    data, coco = open_data(tmp_path, "train"), COCO(str(file))
    capsys.readouterr()
    assert dict(zip(data.category_ids.tolist(), data.classes, strict=True)) == {
        key: category["name"] for key, category in coco.cats.items()
    }
    assert data.image_ids.tolist() == coco.getImgIds()
    for i, image_id in enumerate(data.image_ids.tolist()):
        rows = data.rows(i)
        theirs = coco.imgToAnns[image_id]
        assert data.path(i).name == coco.imgs[image_id]["file_name"]
        assert data.ids[rows].tolist() == [row["id"] for row in theirs]
        assert data.category_ids[data.labels[rows] - 1].tolist() == [
            row["category_id"] for row in theirs
        ]
        assert data.areas[rows].tolist() == [row["area"] for row in theirs]
        assert data.ignore[rows].tolist() == [row["iscrowd"] == 1 for row in theirs]
        boxes = data.boxes[rows].copy()
        boxes[:, 2:] -= boxes[:, :2]
        np.testing.assert_allclose(boxes, [row["bbox"] for row in theirs], atol=1e-9)


def test_coco_ids_may_be_in_any_order(tmp_path):
    content = coco_content()
    for image_id, image in zip((7, 1, 5), content["images"], strict=True):
        for row in content["annotations"]:
            row["image_id"] = image_id if row["image_id"] == image["id"] else row["image_id"]
        image["id"] = image_id
    content["annotations"] = [content["annotations"][n] for n in (2, 0, 3, 1, 4)]
    content["categories"].reverse()
    write_coco(tmp_path, content)
    data = open_data(tmp_path, "train")
    assert_same_scene(scene_of(data), SCENE)
    assert data.image_ids.tolist() == [7, 1, 5] and data.ids.tolist() == [1, 2, 3, 4, 5]
    assert data.classes == CLASSES and data.category_ids.tolist() == [3, 6, 9]


@pytest.mark.parametrize("folder", ["images/train", "train", "images", "."])
def test_coco_images_are_found_in_every_usual_folder(tmp_path, folder):
    write_images(tmp_path / folder, SCENE)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train.json").write_text(json.dumps(coco_content()))
    data = open_data(tmp_path, "train")
    assert_same_scene(scene_of(data), SCENE)
    assert data.path(0) == tmp_path / folder / "a.png"


def test_the_group_category_of_a_roboflow_export_is_dropped(tmp_path):
    content = coco_content()
    for category in content["categories"]:
        category["supercategory"] = "animals"
    content["categories"].append({"id": 0, "name": "animals", "supercategory": "none"})
    write_images(tmp_path / "valid", SCENE)
    (tmp_path / "valid" / "_annotations.coco.json").write_text(json.dumps(content))
    data = open_data(tmp_path, "valid")
    assert_same_scene(scene_of(data), SCENE)
    assert data.classes == CLASSES


def test_a_subset_may_be_a_path_to_a_json(tmp_path):
    file = write_coco(tmp_path).rename(tmp_path / "few.json")
    (tmp_path / "images" / "train").rename(tmp_path / "images" / "few")
    for subset in ("few.json", str(file)):
        assert_same_scene(scene_of(open_data(tmp_path, subset)), SCENE)


def test_outlines_are_skipped_but_not_a_name_that_looks_like_one(tmp_path):
    name = '"segmentation": [1, 2]'
    content = coco_content(classes=(*CLASSES, name))
    content["annotations"][0]["segmentation"] = [[1, 2.5, 3e-2, -4], [5, 6, 7, 8]]
    content["annotations"][1]["segmentation"] = {"counts": [1, 2], "size": [3, 4]}
    write_coco(tmp_path, content)
    data = open_data(tmp_path, "train")
    assert_same_scene(scene_of(data), SCENE)
    assert data.classes[-1] == name


@pytest.mark.parametrize("layout", ["2014", "trainval2014", "2017"])
def test_images_of_tfas_coco_subsets_are_found(tmp_path, layout):
    """trainvalno5k mixes images of train and val; of 2017 it is train2017, and 5k is val2017."""
    years = {"a": "train2014", "b": "val2014", "c": "val2014"}
    content = coco_content()
    for image, name in zip(content["images"], SCENE, strict=True):
        image["file_name"] = f"COCO_{years[name]}_{name}.png"
    for subset, folder in {"trainvalno5k": "train2017", "5k": "val2017"}.items():
        expected = []
        for name, scene in SCENE.items():
            parent = {"2014": years[name], "2017": folder}.get(layout, layout)
            file = name if layout == "2017" else f"COCO_{years[name]}_{name}"
            write_images(tmp_path / parent, {file: scene})
            expected.append(f"{parent}/{file}.png")
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"{subset}.json").write_text(json.dumps(content))
        data = open_data(tmp_path, subset)
        assert [data.paths[i] for i in range(3)] == expected


def test_large_ids_are_exact(tmp_path):
    content = coco_content()
    for row in content["annotations"]:
        row["id"] += 900_100_581_904
    write_coco(tmp_path, json.loads(json.dumps(content)))
    assert open_data(tmp_path, "train").ids[0] == 900_100_581_905
