"""Shots: a pure function of data, category, k and seed; nested; and published lists."""

import dataclasses
import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers.paths import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from fsdet.data import open_data
from fsdet.data.dataset import DetectionData
from fsdet.data.formats.write import FORMATS as FOLDERS
from fsdet.data.shapes.dataset import open_shapes
from fsdet.data.shots import shot_list
from fsdet.data.shots.published_lists import image_stems, published
from fsdet.data.shots.shot_list import ShotList
from fsdet.data.shots.write_lists import FORMATS, boxes_listed, write_published
from fsdet.errors import InputError

REAL = Path(os.environ.get("FSDET_DATA", ROOT.parent / "shared" / "data"))


def annotated(names, classes, rows):
    """Data of `rows`: image, category, box, whether to be ignored; annotation ids from 100."""
    order = sorted(range(len(rows)), key=lambda n: rows[n][0])
    corners = np.array([rows[n][2] for n in order], float).reshape(-1, 4)
    return DetectionData(
        root="nowhere",
        classes=classes,
        category_ids=np.arange(1, len(classes) + 1),
        image_ids=np.arange(len(names)),
        sizes=np.full((len(names), 2), 100),
        paths=[f"images/{name}" for name in names],
        starts=np.searchsorted([rows[n][0] for n in order], np.arange(len(names) + 1)),
        boxes=corners,
        labels=[classes.index(rows[n][1]) + 1 for n in order],
        ids=[100 + n for n in order],
        areas=(corners[:, 2:] - corners[:, :2]).prod(axis=1),
        ignore=[rows[n][3] for n in order],
    )


def herd():
    """12 images, 000.jpg and on: a sheep and n % 3 cows in image n, ignored in every fifth."""
    rows = []
    for image in range(12):
        cows = [("cow", [10.0 * n, 5, 10 * n + 8, 30.25], image % 5 == 4) for n in range(image % 3)]
        rows += [(image, *row) for row in [*cows, ("sheep", [50, 50, 90, 80], False)]]
    return annotated([f"{n:03}.jpg" for n in range(12)], ("cow", "dog", "sheep"), rows)


def image_of(data, annotation):
    row = np.flatnonzero(data.ids == annotation)[0]
    return int(np.searchsorted(data.starts, row, side="right")) - 1


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=40),
    st.integers(0, 2**40),
)
def test_shots_are_nested_distinct_and_spread_over_images(boxes, seed):
    rows = [(image, "cow", [n, n, n + 5, n + 5], crowd) for n, (image, crowd) in enumerate(boxes)]
    data = annotated([f"{n}.jpg" for n in range(10)], ("cow",), rows)
    usable = set(data.ids[~data.ignore].tolist())
    images = len({image_of(data, annotation) for annotation in usable})
    previous = []
    for k in range(1, len(usable) + 1):
        drawn = shot_list.sample(data, ["cow"], k, seed)["cow"]
        assert drawn[:-1] == previous and len(set(drawn)) == k and set(drawn) <= usable
        assert len({image_of(data, annotation) for annotation in drawn}) == min(k, images)
        assert all(type(annotation) is int for annotation in drawn)
        previous = drawn
    with pytest.raises(InputError, match=f"'cow' has {len(usable)} boxes.*{len(usable) + 1} shots"):
        shot_list.sample(data, ["cow"], len(usable) + 1, seed)


def test_sampled_shots_equal_recorded_ones():
    """Recorded once: every version, machine and Python must sample equal shots."""
    assert shot_list.sample(herd(), ["cow", "sheep"], 3, 7) == {
        "cow": [101, 122, 119],
        "sheep": [112, 106, 118],
    }


def test_another_process_samples_equal_shots():
    code = (
        "import sys; sys.path[:0] = ['tests', 'tests/data/shots']\n"
        "from test_shots import herd, shot_list\n"
        "print(shot_list.sample(herd(), ['cow', 'sheep'], 4, 11))"
    )
    env = {**os.environ, "PYTHONHASHSEED": "123", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=env, check=True
    )
    assert run.stdout.strip() == str(shot_list.sample(herd(), ["cow", "sheep"], 4, 11))


def test_shots_depend_on_seed_but_not_on_other_categories_or_the_order_of_images():
    data = herd()
    assert (
        len({tuple(shot_list.sample(data, ["sheep"], 3, seed)["sheep"]) for seed in range(20)}) > 15
    )
    both = shot_list.sample(data, ["cow", "sheep"], 4, 0)
    assert shot_list.sample(data, ["sheep"], 4, 0)["sheep"] == both["sheep"]
    backwards = data.subset(np.arange(len(data))[::-1])
    assert shot_list.sample(backwards, ["cow", "sheep"], 4, 0) == both


def test_seeds_sample_all_boxes_about_equally_often():
    data = herd()
    drawn = [shot_list.sample(data, ["sheep"], 3, seed)["sheep"] for seed in range(400)]
    _, counts = np.unique(np.array(drawn), return_counts=True)
    assert len(counts) == 12 and counts.min() > 60 and counts.max() < 145  # 100 expected each


def test_error_names_an_impossible_request():
    with pytest.raises(InputError, match=r"category 'dog' has 0 boxes.*fewer than 1 shots"):
        shot_list.sample(herd(), ["cow", "dog"], 1, 0)
    with pytest.raises(InputError, match="no category 'cov'; did you mean 'cow'"):
        shot_list.sample(herd(), ["cov"], 1, 0)
    with pytest.raises(InputError, match="at least 1"):
        shot_list.sample(herd(), ["cow"], 0, 0)


def test_a_saved_list_is_loaded_and_a_changed_one_refused(tmp_path):
    data, path = herd(), tmp_path / "shots.json"
    drawn = ShotList("herd", "split1", 3, 5, shot_list.sample(data, ["cow", "sheep"], 3, 5))
    shot_list.save(path, drawn)
    assert shot_list.load(path) == shot_list.load(path, data) == drawn
    assert [file.name for file in tmp_path.iterdir()] == ["shots.json"]
    text = path.read_text()
    path.write_text(text.replace('"seed": 5', '"seed": 6'))
    with pytest.raises(InputError, match="sha256 differs"):
        shot_list.load(path)
    path.write_text(text[:60])
    with pytest.raises(InputError, match="cannot be read"):
        shot_list.load(path)
    path.write_text("{}")
    with pytest.raises(InputError, match="has the keys"):
        shot_list.load(path)
    swapped = {"cow": drawn.ids["sheep"]}
    shot_list.save(path, ShotList("herd", "split1", 3, 5, swapped))
    with pytest.raises(InputError, match=f"no annotation {swapped['cow'][0]} of 'cow'"):
        shot_list.load(path, data)


def test_an_interrupted_save_leaves_the_old_list(tmp_path, monkeypatch):
    path, old = tmp_path / "shots.json", ShotList("herd", "split1", 1, 0, {"cow": [101]})
    shot_list.save(path, old)

    def power_cut(*_):
        raise OSError("power cut")

    monkeypatch.setattr("os.replace", power_cut)
    with pytest.raises(OSError, match="power cut"):
        shot_list.save(path, ShotList("herd", "split1", 1, 1, {"cow": [107]}))
    assert shot_list.load(path) == old and list(tmp_path.iterdir()) == [path]


def write(folder, name, *images):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(f"/somewhere/VOC2012/JPEGImages/{i}.jpg\n" for i in images))


def test_a_list_of_images_gives_the_boxes_of_its_category(tmp_path):
    data = herd()
    write(tmp_path, "box_2shot_cow_train.txt", "001", "007", "007")
    drawn = published(tmp_path, data, ["cow"], 2)["cow"]
    assert sorted(image_of(data, annotation) for annotation in drawn) == [1, 7]
    assert {data.classes[data.labels[data.ids == annotation][0] - 1] for annotation in drawn} == {
        "cow"
    }


def test_difficult_boxes_in_voc_lists_are_shots(tmp_path):
    data = herd()  # the cows of images 4 and 9 are difficult: one, and none
    write(tmp_path, "box_1shot_cow_train.txt", "004")
    assert (
        image_of(data, published(tmp_path, replace(data, layout="VOC"), ["cow"], 1)["cow"][0]) == 4
    )
    with pytest.raises(InputError, match="none of the 1 boxes of 'cow'"):  # crowds are never shots
        published(tmp_path, replace(data, layout="COCO"), ["cow"], 1)


def test_of_a_longer_list_k_boxes_are_drawn_by_seed(tmp_path):
    data = herd()  # images 2 and 8 show two cows each
    for folder in (tmp_path, tmp_path / "seed1", tmp_path / "seed2"):
        for k in (1, 3):
            write(folder, f"box_{k}shot_cow_train.txt", "002", "008")
    three = published(tmp_path, data, ["cow"], 3)["cow"]
    assert len(three) == 3 and {image_of(data, annotation) for annotation in three} == {2, 8}
    assert published(tmp_path, data, ["cow"], 3)["cow"] == three
    assert published(tmp_path, data, ["cow"], 1)["cow"] == three[:1]
    seeds = {tuple(published(tmp_path, data, ["cow"], 3, seed)["cow"]) for seed in (0, 1, 2)}
    assert len(seeds) > 1


def test_missing_images_are_logged_and_a_list_without_boxes_is_an_error(tmp_path, caplog):
    data = herd()
    write(tmp_path, "box_2shot_cow_train.txt", "001", "2009_1")
    with caplog.at_level(logging.WARNING, "fsdet"):
        assert len(published(tmp_path, data, ["cow"], 2)["cow"]) == 1
    assert "1 of 2 images are not in" in caplog.text
    write(tmp_path, "box_1shot_cow_train.txt", "004", "2009_1")  # its cow is difficult
    with pytest.raises(InputError, match=r"none of the 1 boxes of 'cow' \(1 of 2 images"):
        published(tmp_path, data, ["cow"], 1)


def test_error_about_a_missing_list_names_the_existing_ones(tmp_path):
    write(tmp_path, "box_1shot_cow_train.txt", "001")
    with pytest.raises(InputError, match=r"no published 2-shot list of 'cow'.*box_1shot_cow"):
        published(tmp_path, herd(), ["cow"], 2)
    (tmp_path / "seed1").mkdir()
    with pytest.raises(InputError, match=r"seed3: no published 1-shot.*of seeds 0, 1$"):
        published(tmp_path, herd(), ["cow"], 1, seed=3)
    with pytest.raises(InputError, match=r"seed1: .*; the folder has no such lists$"):
        published(tmp_path, herd(), ["cow"], 1, seed=1)
    write(tmp_path, "box_1shot_sheep_train.txt", "001")
    with pytest.raises(InputError, match=r"of 'dog'; the folder has lists of other categories"):
        published(tmp_path, herd(), ["dog"], 1)
    with pytest.raises(InputError, match=rf"no such lists; below it: .*{tmp_path.name}"):
        published(tmp_path.parent, herd(), ["cow"], 1)
    with pytest.raises(InputError, match=rf"no folder .*; did you mean '{tmp_path.name}'.*or tfa"):
        published(tmp_path.parent / f"{tmp_path.name}s", herd(), ["cow"], 1)
    write(tmp_path, "box_3shot_cow_train.txt")
    with pytest.raises(InputError, match="the list of 'cow' is empty"):
        published(tmp_path, herd(), ["cow"], 3)


def test_coco_lists_with_names_of_voc_and_images_of_2014(tmp_path):
    names = [f"{n:012}.jpg" for n in (9, 200155, 557660)]
    rows = [(n, name, [n, 0, 40, 40], False) for n in range(3) for name in ("airplane", "tv")]
    data = annotated(names, ("airplane", "tv"), rows)
    lines = "".join(f"/coco/train2014/COCO_train2014_{n:012}.jpg\n" for n in (200155, 557660))
    for name in ("aeroplane", "tvmonitor"):
        (tmp_path / f"full_box_2shot_{name}_trainval.txt").write_text(lines)
    drawn = published(tmp_path, data, ["airplane", "tv"], 2)
    assert {image_of(data, annotation) for annotation in drawn["airplane"]} == {1, 2}
    assert set(drawn["airplane"]).isdisjoint(drawn["tv"])


@pytest.mark.parametrize("which", [0, 1])
def test_coco_json_lists_select_annotations(tmp_path, which):
    data = herd()
    cows = data.ids[(data.labels == 1) & ~data.ignore].tolist()
    wanted = [[annotation for annotation in cows if image_of(data, annotation) == 8][which]]
    rows = [{"id": wanted[0], "image_id": 70}, {"id": 10**9, "image_id": 70}]
    content = {"images": [{"id": 70, "file_name": "008.jpg"}], "annotations": rows}
    file = tmp_path / "full_box_1shot_cow_trainval.json"
    file.write_text(json.dumps(content))
    assert published(tmp_path, data, ["cow"], 1)["cow"] == wanted
    file.write_text(json.dumps(content)[:40])
    with pytest.raises(InputError, match="not a COCO list"):
        published(tmp_path, data, ["cow"], 1)


def test_images_are_indexed_once_for_many_lists(tmp_path, monkeypatch):
    data = herd()
    write(tmp_path, "box_2shot_cow_train.txt", "001", "007")
    stems, drawn = image_stems(data), published(tmp_path, data, ["cow"], 2)
    monkeypatch.setattr("fsdet.data.shots.published_lists.image_stems", None)
    assert published(tmp_path, data, ["cow"], 2, stems=stems) == drawn


def test_published_lists_of_real_photographs():
    data_root, lists = REAL / "voc2012-animals", REAL / "splits" / "vocsplit"
    if not (data_root.is_dir() and lists.is_dir()):
        pytest.skip(f"the photographs and lists are not in {REAL} (set FSDET_DATA)")
    data = open_data(data_root, "train")
    animals = ["cow", "sheep", "horse", "cat", "dog"]
    for seed in (0, 1, 29):
        drawn = published(lists, data, animals, 10, seed)
        for name in animals:
            # The lists are of VOC 2007 and 2012; the photographs are those of 2012.
            assert 3 <= len(drawn[name]) <= 10
            assert set(data.labels[np.isin(data.ids, drawn[name])]) == {
                data.classes.index(name) + 1
            }


def records(lists: Path, root: Path, name: str, k: int, seed: int) -> list[tuple]:
    """File and corners of each instance that TFA's loader reads from a list, before it takes k of more.

    VOC: of every image whose path is on a line all objects of the category, corners from 0, difficult ones
    included. COCO: every annotation of the JSON.
    """
    folder = lists / f"seed{seed}" if seed else lists
    file = folder / f"box_{k}shot_{name}_train.txt"
    if not file.is_file():
        content = COCO(folder / f"full_box_{k}shot_{name}_trainval.json")
        rows = [(content.imgs[row["image_id"]]["file_name"], row) for row in content.anns.values()]
        assert {content.cats[row["category_id"]]["name"] for _, row in rows} == {name}
        assert not any(row.get("ignore") or row["iscrowd"] for _, row in rows)
        corners = [(file, np.array(row["bbox"])) for file, row in rows]
        return [(file, *box[:2], *(box[:2] + box[2:])) for file, box in corners]
    found = []
    for line in np.atleast_1d(np.loadtxt(file, dtype=str)).tolist():
        stem = line.split("/")[-1].split(".jpg")[0]
        for node in ElementTree.parse(root / "Annotations" / f"{stem}.xml").findall("object"):
            if node.findtext("name") == name:
                sides = ("xmin", "ymin", "xmax", "ymax")
                x1, y1, x2, y2 = (float(node.findtext(f"bndbox/{side}")) for side in sides)
                found.append((f"{stem}.jpg", x1 - 1, y1 - 1, x2, y2))
    return found


def boxes_of(data: DetectionData, ids: list[int]) -> list[tuple]:
    rows = np.flatnonzero(np.isin(data.ids, ids))
    files = [Path(data.paths[image]).name for image in data.image_of(rows).tolist()]
    return [(file, *box) for file, box in zip(files, data.boxes[rows].tolist(), strict=True)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Equal generated images as a VOC and a COCO folder; every seventh box is difficult, or a crowd."""
    root = tmp_path_factory.mktemp("folders")
    drawn = open_shapes("train", images=60, size=64)
    names = ("cow", "hot dog", "sheep", "tv")
    drawn = dataclasses.replace(
        drawn,
        classes=names,
        category_ids=[2, 3, 5, 7],
        labels=1 + drawn.labels % len(names),
        boxes=np.rint(drawn.boxes),
        ignore=np.arange(len(drawn.ids)) % 7 == 6,
    )
    for kind, subset in (("voc", "trainval"), ("coco", "train2017")):
        write_annotations, images = FOLDERS[kind.upper()]
        for name, text in write_annotations(drawn, subset):
            (root / kind / name).parent.mkdir(parents=True, exist_ok=True)
            (root / kind / name).write_text(text)
        for i in range(len(drawn)):
            file = root / kind / images.format(subset=subset) / Path(drawn.paths[i]).name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return root


@pytest.mark.parametrize(("kind", "subset"), [("voc", "trainval"), ("coco", "train2017")])
def test_written_lists_are_read_by_tfa_and_read_back(folders, tmp_path, kind, subset):
    data, num_ambiguous = open_data(folders / kind, subset), 0
    for k in (1, 3, 10):
        for seed in (0, 2):
            drawn = shot_list.sample(data, data.classes, k, seed)
            write_published(tmp_path, data, drawn, k, seed, kind)
            back, listed = (
                published(tmp_path, data, data.classes, k, seed),
                boxes_listed(data, drawn),
            )
            for name, ids in drawn.items():
                assert back[name] == ids or (kind == "voc" and listed[name] > k == len(back[name]))
                ours = sorted(boxes_of(data, ids))
                theirs = sorted(records(tmp_path, folders / kind, name, k, seed))
                if kind == "voc":  # lists of images: TFA finds all boxes of the category in them
                    assert len(theirs) == listed[name] and set(ours) <= set(theirs)
                    num_ambiguous += len(theirs) > k
                if kind == "coco" or len(theirs) == k:
                    assert ours == theirs and len(ours) == k
    assert kind == "coco" or 0 < num_ambiguous < 24


def test_lists_that_cannot_be_read_back_are_refused(tmp_path):
    def refused(message, data, ids, kind="voc"):
        with pytest.raises(InputError, match=message):
            write_published(tmp_path / "lists", data, ids, 1, 0, kind)

    names = ("cow", "../cow")
    data = annotated(["a b.jpg"], names, [(0, name, [0, 0, 9, 9], False) for name in names])
    refused("cannot hold the image 'images/a b.jpg'", data, {"cow": [100]})
    for kind in FORMATS:
        refused("category '../cow' cannot be part of a file name", data, {"../cow": [101]}, kind)
        refused("1 of 1 shots are not boxes of 'cow'", data, {"cow": [101]}, kind)
        refused("no category 'cov'; did you mean 'cow'", data, {"cov": [100]}, kind)
    refused("no lists of the kind 'vok'; did you mean 'voc'", data, {"cow": [100]}, "vok")
    assert not (tmp_path / "lists").exists()
