"""Shots by TFA's rules: against the rules step by step, and properties of every draw."""

import json
import random
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from helpers import tiny
from helpers.folders import write_images
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from fsdet.data import DetectionData, open_data
from fsdet.data.shots.tfa import COCO_SHOTS, VOC_SHOTS, tfa
from fsdet.errors import InputError
from fsdet.experiment.few_shot_data import novel_shots

NAMES = ("bird", "cow", "sofa")


def annotated(images, layout, file_order=()):
    """Data of `images`: for each a list of (category, whether to be ignored), in the file's order."""
    rows = [(image, *box) for image, boxes in enumerate(images) for box in boxes]
    count = len(rows)
    return DetectionData(
        root="nowhere",
        classes=NAMES,
        category_ids=[1, 2, 3],
        image_ids=np.arange(len(images)),
        sizes=np.full((len(images), 2), 500),
        paths=[f"{n:06}.jpg" for n in range(len(images))],
        starts=np.searchsorted([row[0] for row in rows], np.arange(len(images) + 1)),
        boxes=np.column_stack(
            [np.arange(count) % 400, np.zeros(count), [500] * count, [9] * count]
        ),
        labels=[NAMES.index(row[1]) + 1 for row in rows],
        ids=np.arange(count) * 3 + 1,
        areas=np.ones(count),
        ignore=[row[2] for row in rows],
        layout=layout,
        file_order=file_order,
    )


def crowd(count, seed, most=4):
    """Images with up to `most` boxes of each category, a tenth of which are to be ignored."""
    rng = np.random.default_rng(seed)
    return [
        [
            (name, bool(rng.random() < 0.1))
            for name in rng.permutation(NAMES)
            for _ in range(rng.integers(0, most + 1))
        ]
        for _ in range(count)
    ]


def voc_by_steps(data, seed):
    """(shots, category) -> images, an image as often as it was drawn."""
    images_of_name = {name: [] for name in data.classes}
    for image in range(len(data)):
        for name in {data.classes[label - 1] for label in data.labels[data.rows(image)]}:
            images_of_name[name].append(image)
    generator, lists = random.Random(seed), {}
    for name in data.classes:
        chosen, before = [], 0
        for shots in (1, 2, 3, 5, 10):
            lacking, objects = shots - before, 0
            for image in generator.sample(images_of_name[name], lacking):
                chosen.append(image)
                label = data.classes.index(name) + 1
                objects += sum(1 for one in data.labels[data.rows(image)] if one == label)
                if objects >= lacking:
                    break
            lists[shots, name], before = list(chosen), shots
    return lists


def coco_by_steps(content, seed):
    """(shots, category id) -> annotation ids, from a COCO JSON."""
    generator, lists = random.Random(seed), {}
    for category in sorted(kind["id"] for kind in content["categories"]):
        by_image = defaultdict(list)
        for row in content["annotations"]:
            if row["category_id"] == category and not row["iscrowd"]:
                by_image[row["image_id"]].append(row["id"])
        shots, used = [], set()
        for number in (1, 2, 3, 5, 10, 30):
            while len(shots) != number:
                for image in generator.sample(list(by_image), number):
                    if image not in used and len(shots) + len(by_image[image]) <= number:
                        shots += by_image[image]
                        used.add(image)
                    if len(shots) == number:
                        break
            lists[number, category] = list(shots)
    return lists


def images_of(data, ids):
    return data.image_of([int(np.flatnonzero(data.ids == i)[0]) for i in ids])


@pytest.mark.parametrize("seed", [0, 1, 29])
def test_voc_shots_equal_the_rule_step_by_step(seed):
    data = annotated(crowd(60, seed), "VOC")
    expected = voc_by_steps(data, seed)
    for k in VOC_SHOTS:
        drawn = tfa(data, NAMES, k, seed)
        for label, name in enumerate(NAMES, 1):
            images = set(expected[k, name])
            boxes = {
                int(i)
                for image in images
                for i, kind in zip(
                    data.ids[data.rows(image)], data.labels[data.rows(image)], strict=True
                )
                if kind == label
            }
            assert len(drawn[name]) == min(k, len(boxes)) and set(drawn[name]) <= boxes
            most = min(k, len(images))  # a first box of each image before a second of any
            assert len(set(images_of(data, drawn[name]))) == most


def test_difficult_boxes_of_voc_may_be_shots():
    data = annotated([[("bird", True)]] * 12, "VOC")
    assert set(tfa(data, ["bird"], 10, 1)["bird"]) <= set(data.ids.tolist())
    with pytest.raises(InputError, match="'bird' is in 0 images"):
        tfa(replace(data, layout="COCO"), ["bird"], 5, 1)  # crowds


@pytest.mark.parametrize("seed", [1, 9])
def test_coco_shots_equal_the_rule_step_by_step_in_the_order_of_the_file(
    tmp_path, monkeypatch, seed
):
    monkeypatch.setenv("FSDET_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(seed)
    scene = {f"{n:03}": ((40, 40), []) for n in range(90)}
    write_images(tmp_path / "train", scene)
    images = [
        {"id": 1000 - n, "file_name": f"{name}.png", "height": 40, "width": 40}
        for n, name in enumerate(scene)
    ]
    annotations = [
        {"id": 7 * n + 2, "image_id": int(rng.integers(911, 1001)), "bbox": [1, 1, 9, 9]}
        | {"category_id": [5, 2, 9][rng.integers(3)], "iscrowd": int(rng.random() < 0.1)}
        for n in range(400)
    ]
    rng.shuffle(annotations)  # not image by image
    categories = [{"id": n, "name": name} for n, name in zip((9, 2, 5), NAMES, strict=True)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "train.json").write_text(json.dumps(content))
    expected = coco_by_steps(content, seed)
    for _ in range(2):  # read, then from the cache
        data = open_data(tmp_path, "train")
        for k in COCO_SHOTS:
            drawn = tfa(data, NAMES, k, seed)
            assert drawn == {name: expected[k, n] for n, name in zip((9, 2, 5), NAMES, strict=True)}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 2**40))
def test_coco_shots_are_k_nested_boxes_and_all_or_none_of_an_image(layout, seed):
    data = annotated(crowd(70, layout), "COCO")
    before: dict[str, list[int]] = {name: [] for name in NAMES}
    for k in COCO_SHOTS:
        try:
            drawn = tfa(data, NAMES, k, seed)
        except InputError as error:  # the images left may have no such sum of boxes
            assert "boxes together" in str(error)
            reject()
        for label, name in enumerate(NAMES, 1):
            ids = drawn[name]
            assert len(ids) == len(set(ids)) == k and ids[: len(before[name])] == before[name]
            of_image = images_of(data, ids).tolist()
            assert [i for n, i in enumerate(of_image) if i not in of_image[:n]] == list(
                dict.fromkeys(of_image)
            )
            for image in set(of_image):
                rows = data.rows(image)
                usable = (data.labels[rows] == label) & ~data.ignore[rows]
                assert of_image.count(image) == usable.sum()
        before = drawn


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 2**40))
def test_voc_draws_nested_images_up_to_k(layout, seed):
    data = annotated(crowd(50, layout, 1), "VOC")  # one box of a category an image, or none
    expected, before = voc_by_steps(data, seed), {name: set() for name in NAMES}
    for k in VOC_SHOTS:
        drawn = tfa(data, NAMES, k, seed)
        for name, ids in drawn.items():
            assert sorted(images_of(data, ids)) == sorted(set(expected[k, name]))
            assert before[name] <= set(ids) and len(ids) <= k
        before = {name: set(ids) for name, ids in drawn.items()}


def test_shots_depend_on_earlier_categories_but_not_on_the_requested_ones():
    data = annotated(crowd(60, 3), "COCO")
    assert tfa(data, ["sofa", "bird"], 10, 4) == {
        name: tfa(data, NAMES, 10, 4)[name] for name in ("sofa", "bird")
    }
    without = replace(data, labels=np.where(data.labels == 1, 2, data.labels))
    with pytest.raises(InputError, match=r"'bird' is in 0 images; TFA's rule draws 1"):
        tfa(without, ["sofa"], 1, 4)
    assert len({tuple(tfa(data, ["sofa"], 5, seed)["sofa"]) for seed in range(10)}) > 8


def test_drawn_shots_equal_recorded_ones():
    """Recorded once: every version of Python must have an equal random stream."""
    images = [
        [(name, False) for n, name in enumerate(NAMES, 1) for _ in range(image // n % 4)]
        for image in range(80)
    ]
    assert tfa(annotated(images, "VOC"), NAMES, 3, 7) == {
        "bird": [157, 340, 436],
        "cow": [43, 670, 1027],
        "sofa": [640, 268, 94],
    }
    assert tfa(annotated(images, "COCO"), NAMES, 5, 7) == {
        "bird": [157, 37, 100, 652, 655],
        "cow": [658, 235, 787, 883, 670],
        "sofa": [847, 1018, 34, 532, 202],
    }


def test_impossible_draws_are_errors_and_do_not_loop_forever():
    data = annotated(crowd(60, 1), "COCO")
    with pytest.raises(InputError, match="TFA draws 1, 2, 3, 5, 10, 30 shots here; got 4"):
        tfa(data, NAMES, 4, 0)
    with pytest.raises(InputError, match="TFA draws 1, 2, 3, 5, 10 shots here; got 30"):
        tfa(replace(data, layout="VOC"), NAMES, 30, 0)
    with pytest.raises(InputError, match="no category 'cov'; did you mean 'cow'"):
        tfa(data, ["cov"], 1, 0)
    with pytest.raises(InputError, match=r"'bird' is in 20 images; TFA's rule draws 30"):
        tfa(annotated([[("bird", False)]] * 20, "COCO"), ["bird"], 1, 0)
    pairs = annotated([[("bird", False)] * 2] * 50, "COCO")
    with pytest.raises(InputError, match=r"'bird': no images have 1 boxes together, which 1 shots"):
        tfa(pairs, ["bird"], 2, 0)
    odd = [[("bird", False)] * 3] * 50 + [[("bird", False)], [("bird", False)]]
    with pytest.raises(
        InputError, match=r"have 1 boxes together, which 3 .* the 2 of the previous"
    ):
        tfa(annotated(odd, "COCO"), ["bird"], 30, 0)


def test_experiments_use_tfa_shots_by_data_shots():
    config = tiny.config("data.shots=tfa")
    problem = tiny.problem(train=400)
    drawn = novel_shots(problem, config.data, 5, 1)
    assert drawn == tfa(problem.train, problem.split.novel, 5, 1)
    assert drawn != novel_shots(problem, tiny.config().data, 5, 1)
