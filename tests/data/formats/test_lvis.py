"""LVIS: its annotations as they are, its split by frequency, its own evaluation."""

import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.folders import CLASSES, SCENE, coco_content, write_coco, write_images
from helpers.lvis import federated_data
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdet.data import open_data
from fsdet.data.formats.lvis import ABSENT, PARTIAL, Federated
from fsdet.data.shots import shot_list, splits
from fsdet.errors import InputError
from fsdet.evaluation.coco import CocoTruth, evaluate
from fsdet.evaluation.lvis import lvis_ap

NOTHING = (np.zeros(0, int), np.zeros(0, int), np.zeros(0), np.zeros((0, 4)))

FREQUENCY = {"ant": "r", "cat": "c", "dog": "f"}
PLACES = {"a": "train2017", "b": "val2017", "c": "train2017"}  # LVIS's subsets mix both folders


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FSDET_CACHE", str(tmp_path / "cache"))


def lvis_content(version: str = "v1") -> dict:
    """The scene as LVIS writes it; in image b ants were looked for, in c not every dog has a box."""
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


def known(data):
    """(image name, category) pairs of both lists."""
    lists = data.federated.absent, data.federated.partial
    return [
        {(Path(data.paths[i]).stem, data.classes[label - 1]) for i, label in pairs.tolist()}
        for pairs in lists
    ]


def test_an_lvis_json_is_read_as_it_is(tmp_path):
    write_lvis(tmp_path)
    for _ in range(2):  # read, then from the cache
        data = open_data(tmp_path, "lvis_v1_train")
        assert [data.paths[i] for i in range(3)] == [f"{PLACES[n]}/{n}.png" for n in SCENE]
        assert data.classes == CLASSES and data.layout == "COCO"
        assert data.federated.frequency == "rcf"
        assert known(data) == [{("b", "ant"), ("b", "cat")}, {("c", "dog")}]
        assert len(data.boxes) == 5 and not data.ignore.any()


@pytest.mark.parametrize("url", [True, False])
def test_names_of_2014_in_lvis_of_2019_are_images_of_2017(tmp_path, url):
    content = write_lvis(tmp_path, "v0.5", "lvis_v0.5_train")
    if not url:  # then all images of a subset are in the folder of its name
        for image in content["images"]:
            del image["coco_url"]
        write_images(tmp_path / "train2017", SCENE)
    (tmp_path / "annotations" / "lvis_v0.5_train.json").write_text(json.dumps(content))
    data = open_data(tmp_path, "lvis_v0.5_train")
    folders = PLACES if url else dict.fromkeys(SCENE, "train2017")
    assert [data.paths[i] for i in range(3)] == [f"{folders[n]}/{n}.png" for n in SCENE]


def test_a_missing_image_is_named_as_it_was_looked_for(tmp_path):
    write_lvis(tmp_path)
    (tmp_path / "val2017" / "b.png").unlink()
    with pytest.raises(InputError, match=r"missing image file \(expected val2017/b\.png\)"):
        open_data(tmp_path, "lvis_v1_train")


def test_a_url_that_leads_out_of_the_root_is_refused(tmp_path):
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
def test_the_split_of_other_data_says_what_they_lack(tmp_path, lacking):
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
def test_what_is_known_of_images_goes_with_them(draw, pairs):
    names = "abcdefg"
    whole = Federated(
        "rcf", np.array(sorted(pairs), np.int32).reshape(-1, 2), np.zeros((0, 2), int)
    )
    images = draw.draw(st.lists(st.integers(0, 6), unique=True))
    part = whole.take(np.array(images, int), 7)
    said = {(names[images[i]], label) for i, label in part.absent.tolist()}
    assert said == {(names[i], label) for i, label in pairs if i in images}
    assert part.partial.shape == (0, 2) and part.frequency == "rcf"


def test_faulty_images_take_what_is_known_of_them_along(tmp_path):
    write_lvis(tmp_path)
    (tmp_path / "train2017" / "a.png").unlink()
    data = open_data(tmp_path, "lvis_v1_train", skip_bad=True)
    assert len(data) == 2
    assert known(data) == [{("b", "ant"), ("b", "cat")}, {("c", "dog")}]


def test_a_rare_category_gives_all_the_boxes_that_it_has(tmp_path):
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


@st.composite
def federated_case(draw):
    """Truth of three categories in three images, what is known of the rest, and detections."""
    edge = st.integers(0, 8).map(lambda n: n * 10.0)
    corner = st.tuples(edge, edge, edge, edge).map(
        lambda e: [e[0], e[1], e[0] + e[2] + 10, e[1] + e[3] + 10]
    )
    images, label = st.integers(0, 2), st.integers(1, 3)
    rows = sorted(draw(st.lists(st.tuples(images, label, corner), max_size=9)))
    there = {(image, kind) for image, kind, _ in rows}
    pairs = st.sets(st.tuples(images, label), max_size=6)
    absent, partial = draw(pairs) - there, {pair for pair in draw(pairs) if pair in there}
    score = st.sampled_from([0.1, 0.5, 0.500001, 0.9])
    found = draw(st.lists(st.tuples(images, label, score, corner), max_size=25))
    return rows, sorted(absent), sorted(partial), found


def by_lvis(data, found, monkeypatch):
    """AP, APr, APc, APf and each category's AP by the public package, from its own kind of JSON."""
    monkeypatch.setattr(np, "float", float, raising=False)  # its last release is of 2020
    from lvis import LVIS, LVISEval, LVISResults

    truth = LVIS.__new__(LVIS)
    truth.logger = logging.getLogger("lvis")
    images = [
        {"id": int(n), "height": 200, "width": 200, ABSENT: [], PARTIAL: []} for n in data.image_ids
    ]
    for key, pairs in ((ABSENT, data.federated.absent), (PARTIAL, data.federated.partial)):
        for image, label in pairs.tolist():
            images[image][key].append(label)
    side = lambda box: [*box[:2], *(np.array(box[2:]) - box[:2])]  # noqa: E731
    truth.dataset = {
        "images": images,
        "categories": [
            {"id": n, "name": name, "frequency": letter}
            for n, (name, letter) in enumerate(
                zip(data.classes, data.federated.frequency, strict=True), 1
            )
        ],
        "annotations": [
            {
                "id": int(data.ids[row]),
                "image_id": int(data.image_ids[image]),
                "category_id": int(data.labels[row]),
                "bbox": side(data.boxes[row]),
                "area": float(data.areas[row]),
            }
            for image in range(len(data))
            for row in range(*data.rows(image).indices(len(data.ids)))
        ],
    }
    truth._create_index()
    results = [
        {
            "image_id": int(data.image_ids[image]),
            "category_id": int(label),
            "score": float(score),
            "bbox": side(box),
        }
        for image, label, score, box in zip(*found, strict=True)
    ]
    run = LVISEval(truth, LVISResults(truth, results), "bbox")
    run.run()
    numbers = [run.get_results()[name] for name in ("AP", "APr", "APc", "APf")]
    precision = run.eval["precision"][:, :, :, 0]
    each = np.where(precision[0, 0] < 0, -1, precision.mean((0, 1)))
    return [math.nan if n == -1 else n for n in (*numbers, *each)]


@settings(max_examples=40, deadline=None)
@given(federated_case())
def test_numbers_are_those_of_the_package_lvis(case):
    rows, absent, partial, found = case
    if not found:  # the package asks what the first of them looks like
        return
    data = federated_data(rows, absent, partial)
    columns = [np.array(column) for column in zip(*found, strict=True)]
    mine = lvis_ap(CocoTruth(data, data.classes), *columns)
    with pytest.MonkeyPatch.context() as patch:
        theirs = by_lvis(data, columns, patch)
    numbers = [*mine.mean(data.classes), *mine.ap]
    assert np.allclose(numbers, theirs, rtol=0, atol=1e-9, equal_nan=True)


def test_of_a_crowded_image_the_300_best_are_taken(monkeypatch):
    """More detections than an image may have, of many categories, right ones among the last."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 150, (60, 2))
    rows = sorted(
        (int(image), int(label), [*box, *(box + 20)])
        for image, label, box in zip(
            rng.integers(0, 2, 60), rng.integers(1, 7, 60), corner, strict=True
        )
    )
    absent = [(image, 7) for image in range(2)]
    data = federated_data(rows, absent, [(0, 2)], 2, "rccfffr")
    near = rng.integers(0, 60, 1000)
    found = (
        np.array([rows[n][0] for n in near]),
        np.where(rng.random(1000) < 0.6, [rows[n][1] for n in near], rng.integers(1, 8, 1000)),
        rng.random(1000).round(3),
        np.array([rows[n][2] for n in near]) + rng.normal(0, 2, (1000, 4)),
    )
    mine = lvis_ap(CocoTruth(data, data.classes), *found)
    numbers = [*mine.mean(data.classes), *mine.ap]
    assert np.allclose(numbers, by_lvis(data, found, monkeypatch), atol=1e-9, equal_nan=True)
    assert 0.05 < mine.mean(data.classes).AP < 0.9


def test_what_was_not_looked_for_counts_for_nothing():
    """By hand: one box of a rare category, found; and false ones of each kind."""
    rows = [(0, 1, [0, 0, 50, 50]), (1, 2, [0, 0, 50, 50])]
    data = federated_data(rows, [(1, 1)], [(1, 2)])
    right, wrong = [0.0, 0, 50, 50], [100.0, 100, 150, 150]
    unseen = [(2, 1, 0.9, wrong), (0, 2, 0.9, wrong), (1, 2, 0.9, wrong)]  # not looked for; partial
    found = [(0, 1, 0.5, right), (1, 2, 0.5, right), *unseen]
    truth = CocoTruth(data, data.classes)
    scores = lvis_ap(truth, *map(np.array, zip(*found, strict=True)))
    assert scores.ap[:2] == pytest.approx(1) and np.isnan(scores.ap[2])
    absent = [*found, (1, 1, 0.9, wrong)]  # looked for and not there: wrong, before the right one
    scores = lvis_ap(truth, *map(np.array, zip(*absent, strict=True)))
    assert scores.ap[:2] == pytest.approx([0.5, 1])
    ap = scores.mean(data.classes)
    assert ap[:3] == pytest.approx((0.75, 0.5, 1)) and math.isnan(ap.APf)
    assert scores.mean(["class1"])[:2] == pytest.approx((0.5, 0.5))
    assert lvis_ap(truth, *NOTHING).mean(data.classes)[:3] == (0, 0, 0)


def test_truth_of_some_categories_knows_of_these_alone():
    rows = [(0, 1, [0, 0, 50, 50]), (1, 2, [0, 0, 50, 50])]
    data = federated_data(rows, [(1, 1), (0, 2)], [(1, 2)])
    truth = CocoTruth(data, ["class2"])
    assert truth.frequency == "c"
    assert [image[ABSENT] for image in truth.images] == [[1], [], []]
    assert [image[PARTIAL] for image in truth.images] == [[], [1], []]


def test_other_truth_has_no_lvis_ap():
    data = replace(federated_data([(0, 1, [0, 0, 50, 50])], [], []), federated=None)
    with pytest.raises(InputError, match="how common each category is"):
        lvis_ap(CocoTruth(data, data.classes), *NOTHING)


@settings(max_examples=50, deadline=None)
@given(federated_case())
def test_cocos_numbers_do_not_see_what_lvis_knows(case):
    rows, absent, partial, found = case
    columns = [np.array(column) for column in zip(*found, strict=True)] if found else NOTHING
    data = federated_data(rows, absent, partial)
    plain = replace(data, federated=None)
    one, other = (evaluate(CocoTruth(d, d.classes), *columns) for d in (data, plain))
    assert np.array_equal(list(one.numbers.values()), list(other.numbers.values()), equal_nan=True)
