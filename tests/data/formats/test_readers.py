"""Readers: the same scene in COCO, VOC and YOLO is the same data, and real folders load."""

import json

import numpy as np
import pytest
from helpers.folders import (
    CLASSES,
    SCENE,
    coco_content,
    picture,
    voc_xml,
    write_coco,
    write_images,
    write_voc,
    write_yolo,
    yolo_lines,
)
from helpers.paths import DATA
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from fsdet.data import open_data
from fsdet.errors import InputError

REAL = DATA
WRITERS = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FSDET_CACHE", str(tmp_path / "cache"))


def described(data):
    """Image name -> size and boxes by category name: what the formats share."""
    scene = {}
    for i in range(len(data)):
        rows = data.rows(i)
        names = [data.classes[label - 1] for label in data.labels[rows]]
        boxes = [(name, *box) for name, box in zip(names, data.boxes[rows].tolist(), strict=True)]
        scene[data.path(i).stem] = (tuple(data.sizes[i].tolist()), boxes)
    return scene


def same(scene, expected, within=1e-5):
    assert scene.keys() == expected.keys()
    for name, (size, boxes) in expected.items():
        assert scene[name][0] == size
        assert [box[0] for box in scene[name][1]] == [box[0] for box in boxes]
        found, wanted = ([box[1:] for box in rows] for rows in (scene[name][1], boxes))
        np.testing.assert_allclose(np.array(found), np.array(wanted), atol=within)


@pytest.mark.parametrize("kind", WRITERS)
def test_each_format_gives_the_scene_that_was_written(kind, tmp_path):
    WRITERS[kind](tmp_path)
    data = open_data(tmp_path, "train")
    same(described(data), SCENE)
    assert data.classes == CLASSES and data.root == tmp_path and data.layout == kind.upper()
    assert data.category_ids.tolist() == ([3, 6, 9] if kind == "coco" else [1, 2, 3])
    assert data.image_ids.tolist() == ([10, 20, 30] if kind == "coco" else [1, 2, 3])
    assert data.ids.tolist() == [1, 2, 3, 4, 5] and not data.ignore.any()
    np.testing.assert_allclose(data.areas, [400, 2400, 80, 210, 128], rtol=1e-5)
    for i in range(3):
        np.testing.assert_array_equal(data.image(i), picture(data.sizes[i], seed=i))


SIDES = st.integers(8, 90)


@st.composite
def scenes(draw):
    """Up to five images with up to six boxes of whole pixels inside them."""
    scene = {}
    for n in range(draw(st.integers(1, 5))):
        height, width = draw(SIDES), draw(SIDES)
        boxes = []
        for _ in range(draw(st.integers(0, 6))):
            x1, y1 = draw(st.integers(0, width - 2)), draw(st.integers(0, height - 2))
            x2, y2 = draw(st.integers(x1 + 1, width)), draw(st.integers(y1 + 1, height))
            boxes.append((draw(st.sampled_from(CLASSES)), x1, y1, x2, y2))
        scene[f"{n:02}"] = ((height, width), boxes)
    return scene


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scenes())
def test_any_scene_is_the_same_in_all_formats(tmp_path_factory, scene):
    root = tmp_path_factory.mktemp("scene")
    write_yolo(root / "yolo", scene)
    write_voc(root / "voc", scene)
    write_images(root / "coco" / "train", scene)
    (root / "coco" / "annotations").mkdir()
    (root / "coco" / "annotations" / "train.json").write_text(json.dumps(coco_content(scene)))
    for kind in WRITERS:
        same(described(open_data(root / kind, "train", cache=False)), scene)


def test_coco_is_what_pycocotools_reads(tmp_path, capsys):
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


def test_coco_ids_in_any_order(tmp_path):
    content = coco_content()
    for image_id, image in zip((7, 1, 5), content["images"], strict=True):
        for row in content["annotations"]:
            row["image_id"] = image_id if row["image_id"] == image["id"] else row["image_id"]
        image["id"] = image_id
    content["annotations"] = [content["annotations"][n] for n in (2, 0, 3, 1, 4)]
    content["categories"].reverse()
    write_coco(tmp_path, content)
    data = open_data(tmp_path, "train")
    same(described(data), SCENE)
    assert data.image_ids.tolist() == [7, 1, 5] and data.ids.tolist() == [1, 2, 3, 4, 5]
    assert data.classes == CLASSES and data.category_ids.tolist() == [3, 6, 9]


@pytest.mark.parametrize("folder", ["images/train", "train", "images", "."])
def test_coco_images_are_looked_for_where_they_may_be(tmp_path, folder):
    write_images(tmp_path / folder, SCENE)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train.json").write_text(json.dumps(coco_content()))
    data = open_data(tmp_path, "train")
    same(described(data), SCENE)
    assert data.path(0) == tmp_path / folder / "a.png"


def test_roboflow_export_without_its_group_of_categories(tmp_path):
    content = coco_content()
    for category in content["categories"]:
        category["supercategory"] = "animals"
    content["categories"].append({"id": 0, "name": "animals", "supercategory": "none"})
    write_images(tmp_path / "valid", SCENE)
    (tmp_path / "valid" / "_annotations.coco.json").write_text(json.dumps(content))
    data = open_data(tmp_path, "valid")
    same(described(data), SCENE)
    assert data.classes == CLASSES


def test_a_subset_may_be_a_json(tmp_path):
    file = write_coco(tmp_path).rename(tmp_path / "few.json")
    (tmp_path / "images" / "train").rename(tmp_path / "images" / "few")
    for subset in ("few.json", str(file)):
        same(described(open_data(tmp_path, subset)), SCENE)


def test_an_outline_is_passed_over_and_a_name_that_looks_like_one_is_not(tmp_path):
    name = '"segmentation": [1, 2]'
    content = coco_content(classes=(*CLASSES, name))
    content["annotations"][0]["segmentation"] = [[1, 2.5, 3e-2, -4], [5, 6, 7, 8]]
    content["annotations"][1]["segmentation"] = {"counts": [1, 2], "size": [3, 4]}
    write_coco(tmp_path, content)
    data = open_data(tmp_path, "train")
    same(described(data), SCENE)
    assert data.classes[-1] == name


def test_sizes_that_are_not_said_are_those_of_the_images(tmp_path):
    content = coco_content()
    for image in content["images"]:
        del image["width"]
    write_coco(tmp_path / "coco", content)
    folder = write_voc(tmp_path / "voc")
    for file in folder.iterdir():
        text = file.read_text()
        (before, rest) = text.split("<size>")
        file.write_text(before + rest.split("</size>")[1])
    for kind in ("coco", "voc"):
        same(described(open_data(tmp_path / kind, "train")), SCENE)


def test_corners_of_whole_numbers_count_from_one_and_fractions_from_zero(tmp_path):
    folder = write_voc(tmp_path, shift=0)
    counted = described(open_data(tmp_path, "train"))
    assert counted["a"][1][0] == ("cat", 4, 9, 25, 30)
    # Most corners say what all of them are, in files too that only another list names; not a few.
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("t\n")
    write_images(tmp_path / "JPEGImages", {"t": ((40, 40), [])})
    (folder / "t.xml").write_text(voc_xml((40, 40), [("cow", 1.5, 2, 9, 9)], shift=0))
    assert described(open_data(tmp_path, "train"))["a"][1][0] == ("cat", 4, 9, 25, 30)
    fractions = [("cow", 1.5, 2.5, 9.5, 9.5)] * 9
    (folder / "t.xml").write_text(voc_xml((40, 40), fractions, shift=0))
    data = open_data(tmp_path, "train")
    assert described(data)["a"][1][0] == ("cat", 5, 10, 25, 30)
    # ... and lists share their categories.
    assert data.classes == open_data(tmp_path, "test").classes == ("ant", "cat", "cow", "dog")


def test_faults_of_another_list_wait_for_it(tmp_path):
    folder = write_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("gone\n")
    (folder / "gone.xml").write_text("<annotation>")
    same(described(open_data(tmp_path, "train")), SCENE)
    with pytest.raises(InputError, match=r"gone\.xml"):
        open_data(tmp_path, "test")


def test_difficult_objects_are_to_be_ignored(tmp_path):
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
    same(described(open_data(tmp_path, "train")), SCENE)


def test_lists_of_one_category_have_marks_behind_names(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("a  1\nb -1\nc  0\n\n")
    same(described(open_data(tmp_path, "train")), SCENE)


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        (".", "images/train"),
        ("/home/author/data", "images/train"),
        ("../datasets/animals", "images/train"),
        (".", "../images/train"),  # as exported for a data.yaml one level down
        (".", "train.txt"),
        (".", "[images/train, more]"),
    ],
)
def test_yolo_places(tmp_path, path, entry):
    write_yolo(tmp_path)
    (tmp_path / "train.txt").write_text(
        f"./images/train/a.png\nimages/train/b.png\n\n{tmp_path}/images/train/c.png\n"
    )
    (tmp_path / "more").mkdir()
    (tmp_path / "data.yaml").write_text(f"path: {path}\ntrain: {entry}\nnames: [ant, cat, dog]\n")
    same(described(open_data(tmp_path, "train")), SCENE)


@pytest.mark.parametrize("listed", ["{root}/train.txt", "train.txt", "../pets/train.txt"])
@pytest.mark.parametrize("kind", ["dots", "link/.."])
def test_a_yolo_root_may_be_written_in_a_roundabout_way(tmp_path, monkeypatch, kind, listed):
    root = tmp_path / "data" / "pets"
    write_yolo(root)
    (root / "train.txt").write_text("".join(f"images/train/{name}.png\n" for name in SCENE))
    entry = listed.format(root=root)
    (root / "data.yaml").write_text(f"train: {entry}\nnames: [ant, cat, dog]\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(root)  # "link/.." is data/, though as words it is here
    given = {"dots": "data/../data/pets", "link/..": "link/../pets"}[kind]
    same(described(open_data(given, "train")), SCENE)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_yolo_list_may_be_of_any_encoding(tmp_path, mark):
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [ant, cat, dog]\n")
    lines = [f"images/train/{name}.png".encode() for name in SCENE]
    (tmp_path / "train.txt").write_bytes(mark + b"\n".join(lines))
    same(described(open_data(tmp_path, "train")), SCENE)
    (tmp_path / "train.txt").write_bytes(mark + b"\n".join([*lines, b"images/train/caf\xe9.png"]))
    with pytest.raises(InputError, match=r"train\.txt, line 4: missing image file"):
        open_data(tmp_path, "train")


def test_yolo_outlines_become_their_boxes(tmp_path):
    labels = write_yolo(tmp_path)
    (labels / "a.txt").write_text("1 0.25 0.5 0.5 0.25 0.75 0.5 0.5 1.0\n")
    assert described(open_data(tmp_path, "train"))["a"][1] == [("cat", 15, 10, 45, 40)]


def test_yolo_folders_in_folders(tmp_path):
    write_yolo(tmp_path)
    scene = {"d": SCENE["a"]}
    write_images(tmp_path / "images" / "train" / "night", scene)
    (tmp_path / "labels" / "train" / "night").mkdir()
    (tmp_path / "labels" / "train" / "night" / "d.txt").write_text(yolo_lines(*SCENE["a"]))
    same(described(open_data(tmp_path, "train")), SCENE | scene)


def test_boxes_that_touch_the_border_are_clipped(tmp_path):
    content = coco_content()
    content["annotations"][0]["bbox"] = [-0.8, -0.9, 61.5, 20]
    write_coco(tmp_path, content)
    assert open_data(tmp_path, "train").boxes[0].tolist() == pytest.approx([0, 0, 60, 19.1])


def test_the_folder_error_says_what_was_looked_for_and_found(tmp_path):
    root = tmp_path / "pets"
    (root / "pictures").mkdir(parents=True)
    (root / "notes.txt").touch()
    with pytest.raises(InputError) as caught:
        open_data(root, "train")
    for words in (
        "annotations/instances_train.json",
        "train/_annotations.coco.json",
        "ImageSets/Main/train.txt",
        "data.yaml",
        "the folder has notes.txt, pictures/",
    ):
        assert words in str(caught.value)
    with pytest.raises(InputError, match=r"petz: expected the folder.*did you mean 'pets'"):
        open_data(tmp_path / "petz", "train")


@pytest.mark.parametrize("kind", WRITERS)
def test_a_mistyped_subset_gets_the_nearest(kind, tmp_path):
    WRITERS[kind](tmp_path)
    with pytest.raises(InputError, match="no subset 'trian'; did you mean 'train'"):
        open_data(tmp_path, "trian")


def test_shapes_is_generated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = open_data("shapes", "test")
    assert len(data) == 500 and len(data.classes) == 20


# Images, boxes, boxes to be ignored, categories: counted in the files by other means.
FOLDERS = {
    ("fod", "train"): (3132, 3166, 0, 31),
    ("fod", "test"): (981, 981, 0, 31),
    ("voc2012-animals", "train"): (2692, 5164, 0, 19),
    ("voc2012-animals", "test"): (916, 1618, 0, 19),
    ("neu-det", "train"): (1416, 3334, 66, 6),
    ("neu-det", "test"): (354, 792, 13, 6),
    ("bccd", "trainval"): (292, 3943, 0, 3),
    ("bccd", "test"): (72, 945, 0, 3),
    ("coco128", "train2017"): (128, 929, 0, 80),
    ("coco128", "train"): (128, 929, 0, 80),
}


@pytest.mark.parametrize(("folder", "subset"), FOLDERS)
def test_real_folders_load(folder, subset):
    if not (REAL / folder).is_dir():
        pytest.skip(f"no {REAL / folder}: set FSDET_DATA to the folder of real data sets")
    data = open_data(REAL / folder, subset, cache=False)
    counts = (len(data), len(data.boxes), int(data.ignore.sum()), len(data.classes))
    assert counts == FOLDERS[folder, subset]
    for i in (0, len(data) // 2, -1):
        image, target = data[i]
        assert image.shape[:2] == tuple(data.sizes[i]) and len(target["boxes"])


def test_real_coco_and_yolo_labels_agree():
    if not (REAL / "coco128").is_dir():
        pytest.skip(f"no {REAL / 'coco128'}: set FSDET_DATA to the folder of real data sets")
    for coco, yolo in (("train2017", "train"), ("val2017", "val")):
        first, second = (
            described(open_data(REAL / "coco128", subset, cache=False)) for subset in (coco, yolo)
        )
        same(second, first, within=1e-3)


@pytest.mark.parametrize("places", ["2014", "trainval2014", "2017"])
def test_tfas_parts_of_coco_2014_find_their_images(tmp_path, places):
    """trainvalno5k mixes images of train and val; of 2017 it is train2017, and 5k is val2017."""
    years = {"a": "train2014", "b": "val2014", "c": "val2014"}
    content = coco_content()
    for image, name in zip(content["images"], SCENE, strict=True):
        image["file_name"] = f"COCO_{years[name]}_{name}.png"
    for subset, folder in {"trainvalno5k": "train2017", "5k": "val2017"}.items():
        wanted = []
        for name, scene in SCENE.items():
            place = {"2014": years[name], "2017": folder}.get(places, places)
            file = name if places == "2017" else f"COCO_{years[name]}_{name}"
            write_images(tmp_path / place, {file: scene})
            wanted.append(f"{place}/{file}.png")
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"{subset}.json").write_text(json.dumps(content))
        data = open_data(tmp_path, subset)
        assert [data.paths[i] for i in range(3)] == wanted
