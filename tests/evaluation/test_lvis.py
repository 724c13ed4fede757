"""LVIS AP: equal to the package lvis; unverified categories do not count."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.detection_tables import NO_DETECTIONS, detection_arrays, detection_rows
from helpers.lvis import federated_data
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdet.data.formats.lvis import ABSENT, PARTIAL
from fsdet.errors import InputError
from fsdet.evaluation.coco import CocoTruth, evaluate
from fsdet.evaluation.detections import DetectionArrays
from fsdet.evaluation.lvis import lvis_ap


@st.composite
def federated_case(draw):
    """Ground truth of three categories in three images, federated pairs, and detections."""
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
    detections = draw(st.lists(st.tuples(images, label, score, corner), max_size=25))
    return rows, sorted(absent), sorted(partial), detections


def by_lvis(data, detections, monkeypatch):
    """AP, APr, APc, APf and each category's AP by the public package, from its own JSON."""
    monkeypatch.setattr(np, "float", float, raising=False)  # its last release is from 2020
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
        for image, label, score, box in detection_rows(detections)
    ]
    run = LVISEval(truth, LVISResults(truth, results), "bbox")
    run.run()
    numbers = [run.get_results()[name] for name in ("AP", "APr", "APc", "APf")]
    precision = run.eval["precision"][:, :, :, 0]
    each = np.where(precision[0, 0] < 0, -1, precision.mean((0, 1)))
    return [math.nan if n == -1 else n for n in (*numbers, *each)]


@settings(max_examples=40, deadline=None)
@given(federated_case())
def test_lvis_ap_equals_the_package_lvis(case):
    rows, absent, partial, detections = case
    if not detections:  # the package cannot evaluate an empty list
        return
    data = federated_data(rows, absent, partial)
    detections = detection_arrays(detections)
    result = lvis_ap(CocoTruth(data, data.classes), detections)
    with pytest.MonkeyPatch.context() as patch:
        expected = by_lvis(data, detections, patch)
    numbers = [*result.mean(data.classes), *result.ap]
    assert np.allclose(numbers, expected, rtol=0, atol=1e-9, equal_nan=True)


def test_the_300_best_detections_of_an_image_count(monkeypatch):
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
    sources = rng.integers(0, 60, 1000)
    detections = DetectionArrays(
        np.array([rows[n][0] for n in sources]),
        np.where(rng.random(1000) < 0.6, [rows[n][1] for n in sources], rng.integers(1, 8, 1000)),
        rng.random(1000).round(3),
        np.array([rows[n][2] for n in sources]) + rng.normal(0, 2, (1000, 4)),
    )
    result = lvis_ap(CocoTruth(data, data.classes), detections)
    numbers = [*result.mean(data.classes), *result.ap]
    assert np.allclose(numbers, by_lvis(data, detections, monkeypatch), atol=1e-9, equal_nan=True)
    assert 0.05 < result.mean(data.classes).AP < 0.9


def test_detections_of_unverified_categories_do_not_count():
    """By hand: one box of a rare category, detected, and false detections of each kind."""
    rows = [(0, 1, [0, 0, 50, 50]), (1, 2, [0, 0, 50, 50])]
    data = federated_data(rows, [(1, 1)], [(1, 2)])
    right, wrong = [0.0, 0, 50, 50], [100.0, 100, 150, 150]
    unseen = [(2, 1, 0.9, wrong), (0, 2, 0.9, wrong), (1, 2, 0.9, wrong)]  # unverified; partial
    detections = [(0, 1, 0.5, right), (1, 2, 0.5, right), *unseen]
    truth = CocoTruth(data, data.classes)
    scores = lvis_ap(truth, detection_arrays(detections))
    assert scores.ap[:2] == pytest.approx(1) and np.isnan(scores.ap[2])
    absent = [
        *detections,
        (1, 1, 0.9, wrong),
    ]  # verified absent: a false positive before the right one
    scores = lvis_ap(truth, detection_arrays(absent))
    assert scores.ap[:2] == pytest.approx([0.5, 1])
    ap = scores.mean(data.classes)
    assert ap[:3] == pytest.approx((0.75, 0.5, 1)) and math.isnan(ap.APf)
    assert scores.mean(["class1"])[:2] == pytest.approx((0.5, 0.5))
    assert lvis_ap(truth, NO_DETECTIONS).mean(data.classes)[:3] == (0, 0, 0)


def test_ground_truth_of_some_categories_has_their_federated_pairs():
    rows = [(0, 1, [0, 0, 50, 50]), (1, 2, [0, 0, 50, 50])]
    data = federated_data(rows, [(1, 1), (0, 2)], [(1, 2)])
    truth = CocoTruth(data, ["class2"])
    assert truth.frequency == "c"
    assert [image[ABSENT] for image in truth.images] == [[1], [], []]
    assert [image[PARTIAL] for image in truth.images] == [[], [1], []]


def test_lvis_ap_needs_category_frequencies():
    data = replace(federated_data([(0, 1, [0, 0, 50, 50])], [], []), federated=None)
    with pytest.raises(InputError, match="frequency of each category"):
        lvis_ap(CocoTruth(data, data.classes), NO_DETECTIONS)


@settings(max_examples=50, deadline=None)
@given(federated_case())
def test_coco_metrics_ignore_federated_pairs(case):
    rows, absent, partial, detections = case
    detections = detection_arrays(detections)
    data = federated_data(rows, absent, partial)
    plain = replace(data, federated=None)
    with_pairs, without = (evaluate(CocoTruth(d, d.classes), detections) for d in (data, plain))
    assert np.array_equal(
        list(with_pairs.numbers.values()), list(without.numbers.values()), equal_nan=True
    )
