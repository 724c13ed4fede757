"""Metrics: COCO's numbers against pycocotools, VOC's against hand-worked cases and a plain loop."""

import contextlib
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.detection_tables import NOTHING, annotated, crowded, same, truth_and_detections
from helpers.paths import DATA
from helpers.voc_evaluators import by_map_boxes, by_mean_average_precision
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import stats

from fsdet.data import open_data
from fsdet.errors import InputError
from fsdet.evaluation.coco import NUMBERS, CocoTruth, evaluate, voc_ap50
from fsdet.evaluation.intervals import mean_interval, stratified
from fsdet.evaluation.voc import as_printed, printed_ap50


@settings(max_examples=150)
@given(truth_and_detections())
def test_both_evaluators_say_the_same_to_the_last_digit(case):
    data, found = case
    truth = CocoTruth(data, data.classes)
    fast, reference = (evaluate(truth, *found, evaluator=e) for e in ("hotcoco", "pycocotools"))
    assert list(fast.numbers) == list(NUMBERS)
    assert same(list(fast.numbers.values()), list(reference.numbers.values()))
    for name in ("ap", "ap50", "ap75"):
        assert same(getattr(fast, name), getattr(reference, name))
    assert same(fast.mean(data.classes), [fast.numbers[n] for n in ("AP", "AP50", "AP75")])


@pytest.mark.parametrize("seed", range(3))
def test_both_evaluators_say_the_same_of_a_crowded_set(seed):
    data, found = crowded(seed)
    truth = CocoTruth(data, data.classes)
    fast, reference = (evaluate(truth, *found, evaluator=e) for e in ("hotcoco", "pycocotools"))
    assert same(list(fast.numbers.values()), list(reference.numbers.values()))
    assert same(fast.ap, reference.ap)
    assert 0.02 < fast.numbers["AP"] < 0.9  # neither all right nor all wrong


def by_pycocotools(data, found, categories=None):
    """The twelve numbers from the data's own ids, as its annotation file would give them."""
    corner_and_size = lambda box: [*box[:2], *(box[2:] - box[:2])]  # noqa: E731
    known = COCO()
    known.dataset = {
        "info": {},
        "images": [{"id": int(n)} for n in data.image_ids],
        "categories": [{"id": int(n)} for n in data.category_ids],
        "annotations": [
            {
                "id": int(data.ids[row]) + 1,
                "image_id": int(data.image_ids[image]),
                "category_id": int(data.category_ids[data.labels[row] - 1]),
                "bbox": corner_and_size(data.boxes[row]),
                "area": data.areas[row],
                "iscrowd": int(data.ignore[row]),
            }
            for image in range(len(data))
            for row in range(*data.rows(image).indices(len(data.ids)))
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        known.createIndex()
        results = [
            {
                "image_id": int(data.image_ids[image]),
                "category_id": int(data.category_ids[label - 1]),
                "score": score,
                "bbox": corner_and_size(box),
            }
            for image, label, score, box in zip(*found, strict=True)
        ]
        run = COCOeval(known, known.loadRes(results), "bbox")
        if categories is not None:
            run.params.catIds = categories
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats


def test_numbers_are_those_of_the_data_sets_own_ids_score_ties_included():
    data, found = crowded(6)
    scores = evaluate(CocoTruth(data, data.classes), *found)
    assert same(list(scores.numbers.values()), by_pycocotools(data, found))


def test_means_over_categories_are_pycocotools_with_those_categories():
    data, found = crowded(3)
    scores = evaluate(CocoTruth(data, data.classes), *found)
    novel = [data.classes[n] for n in (1, 4, 5)]
    assert same(scores.mean(novel), by_pycocotools(data, found, [2, 5, 6])[:3])


def test_truth_of_some_categories_is_that_of_the_data_set_without_the_others():
    data, (index, labels, confidence, corners) = crowded(4)
    every = evaluate(CocoTruth(data, data.classes), index, labels, confidence, corners)
    chosen = [data.classes[4], data.classes[1]]  # and in another order
    mine = np.isin(labels, (5, 2))
    relabelled = np.where(labels[mine] == 5, 1, 2)
    alone = evaluate(
        CocoTruth(data, chosen), index[mine], relabelled, confidence[mine], corners[mine]
    )
    assert same(alone.ap, every.ap[[4, 1]]) and same(alone.ap50, every.ap50[[4, 1]])


@pytest.mark.parametrize("evaluator", ["hotcoco", "pycocotools"])
def test_no_detection_is_zero_and_no_truth_is_nan(evaluator):
    data = annotated(2, 3, [(0, 1, [0, 0, 50, 50], False), (1, 2, [0, 0, 50, 50], True)])
    scores = evaluate(CocoTruth(data, data.classes), *NOTHING, evaluator=evaluator)
    assert scores.ap[0] == 0 and np.isnan(scores.ap[1:]).all()  # only a crowd; nothing at all
    assert scores.numbers["AP"] == 0 and math.isnan(scores.numbers["APl"])
    assert all(map(math.isnan, scores.mean([data.classes[2]])))
    assert all(map(math.isnan, scores.mean([])))


def test_perfect_detections_score_one_and_a_crowd_need_not_be_found():
    rows = [
        (0, 1, [0, 0, 50, 50], False),
        (0, 1, [60, 0, 90, 90], True),
        (1, 1, [5, 5, 9, 9], False),
    ]
    data = annotated(2, 1, rows)
    found = [(0, 1, 0.9, [0, 0, 50, 50]), (0, 1, 0.95, [65, 5, 80, 80]), (1, 1, 0.8, [5, 5, 9, 9])]
    scores = evaluate(CocoTruth(data, data.classes), *map(np.array, zip(*found, strict=True)))
    assert scores.mean(data.classes) == pytest.approx((1, 1, 1))


def test_wrong_detections_are_named():
    data = annotated(2, 2, [(0, 1, [0, 0, 50, 50], False)])
    truth = CocoTruth(data, data.classes)
    box = np.array([[0.0, 0, 5, 5]])
    one = np.array([1])
    with pytest.raises(InputError, match=r"detection 0: image index 2 is outside 0\.\.1"):
        evaluate(truth, one + 1, one, one, box)
    with pytest.raises(InputError, match=r"detection 0: label 3 is outside 1\.\.2"):
        evaluate(truth, one, one + 2, one, box)
    with pytest.raises(InputError, match="not finite"):
        evaluate(truth, one, one, one * np.nan, box)
    with pytest.raises(InputError, match="as many"):
        evaluate(truth, one, one, one, np.zeros((2, 4)))
    with pytest.raises(InputError, match="did you mean 'pycocotools'"):
        evaluate(truth, one, one, one, box, evaluator="pycoco")
    with pytest.raises(InputError, match="no category"):
        CocoTruth(data, ["nowhere"])
    with pytest.raises(InputError, match="must differ"):
        CocoTruth(data, [data.classes[0]] * 2)


def test_voc_by_hand():
    """Two boxes and a difficult one; right, twice the same, on the difficult one, wrong, right."""
    rows = [
        (0, 1, [0, 0, 10, 10], False),
        (0, 1, [50, 50, 70, 70], True),
        (1, 1, [0, 0, 20, 20], False),
    ]
    data = annotated(2, 2, rows)
    found = [
        (0, 1, 0.9, [0, 0, 10, 10]),  # right: recall 1/2, precision 1
        (0, 1, 0.8, [0, 0, 10, 9]),  # the same again: wrong
        (0, 1, 0.7, [50, 50, 70, 70]),  # difficult: counts for nothing
        (1, 1, 0.6, [40, 40, 60, 60]),  # wrong
        (1, 1, 0.5, [0, 0, 20, 10]),  # IoU exactly 0.5: right, recall 1, precision 2/4
        (1, 1, 0.4, [0, 0, 20, 9.9]),  # just below
    ]
    columns = [np.array(column) for column in zip(*found, strict=True)]
    truth = CocoTruth(data, data.classes)
    area, eleven = (voc_ap50(truth, *columns, points=points) for points in ("area", "11"))
    assert area[0] == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    assert eleven[0] == pytest.approx((6 * 1 + 5 * 0.5) / 11)  # recalls 0..0.5 and 0.6..1
    assert np.isnan(area[1]) and np.isnan(eleven[1])
    assert voc_ap50(truth, *NOTHING)[0] == 0
    with pytest.raises(InputError, match="'area' or '11'"):
        voc_ap50(truth, *NOTHING, points="12")


@pytest.mark.parametrize(("difficult_first", "expected"), [(False, 1.0), (True, 0.0)])
def test_voc_takes_the_first_of_two_boxes_that_overlap_equally(difficult_first, expected):
    rows = [(0, 1, [0, 0, 10, 10], difficult_first), (0, 1, [0, 0, 10, 10], not difficult_first)]
    data = annotated(1, 1, rows)
    found = (np.array([0]), np.array([1]), np.array([0.9]), np.array([[0, 0, 10, 10]]))
    assert voc_ap50(CocoTruth(data, data.classes), *found) == [expected]


def by_loop(data, found, points):
    """VOC's rules one detection at a time, as the development kit words them."""
    index, labels, confidence, corners = found
    result = []
    for label in range(1, len(data.classes) + 1):
        taken, right, wrong = set(), [], []
        for d in sorted(np.flatnonzero(labels == label), key=lambda d: (-confidence[d], d)):
            best, most = None, -1.0
            for row in range(data.starts[index[d]], data.starts[index[d] + 1]):
                if data.labels[row] != label:
                    continue
                a, b = corners[d], data.boxes[row]
                width = min(a[2], b[2]) - max(a[0], b[0])
                height = min(a[3], b[3]) - max(a[1], b[1])
                shared = width * height if width > 0 and height > 0 else 0.0
                sides = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
                if shared / (sides - shared) > most:
                    best, most = row, shared / (sides - shared)
            if most >= 0.5 and data.ignore[best]:
                continue
            right.append(most >= 0.5 and best not in taken)
            wrong.append(not right[-1])
            if right[-1]:
                taken.add(best)
        positives = sum((data.labels == label) & ~data.ignore)
        if not positives:
            result.append(math.nan)
            continue
        recall = np.cumsum(right) / positives
        precision = np.cumsum(right) / np.maximum(np.cumsum(right) + np.cumsum(wrong), 1)
        if points == "11":
            thresholds = np.arange(0.0, 1.1, 0.1)
            best = [max(precision[recall >= t], default=0) for t in thresholds]
            result.append(sum(best) / 11)
        else:
            steps = np.flatnonzero(np.diff(np.concatenate([[0], recall])))
            result.append(sum(max(precision[n:]) / positives for n in steps))
    return result


@settings(max_examples=150)
@given(truth_and_detections(), st.sampled_from(["area", "11"]))
def test_voc_is_what_a_loop_over_the_detections_finds(case, points):
    data, found = case
    assert same(
        voc_ap50(CocoTruth(data, data.classes), *found, points), by_loop(data, found, points)
    )


@pytest.mark.parametrize("points", ["area", "11"])
def test_voc_of_a_crowded_set_is_what_a_loop_finds(points):
    data, found = crowded(5)
    ap = voc_ap50(CocoTruth(data, data.classes), *found, points)
    assert same(ap, by_loop(data, found, points)) and 0.1 < np.nanmean(ap) < 0.95


def blood_cells():
    """Real photographs' boxes, and detections near them, far from them and of other categories."""
    folder = DATA
    if not (folder / "bccd").is_dir():
        pytest.skip(f"the photographs are not in {folder} (set FSDET_DATA)")
    data, rng = open_data(folder / "bccd", "test"), np.random.default_rng(0)
    rows = rng.integers(0, len(data.ids), 3000)
    boxes = data.boxes[rows].astype(np.float64) + rng.normal(0, 6, (3000, 4))
    boxes = np.hstack([boxes[:, :2], np.maximum(boxes[:, 2:], boxes[:, :2] + 1)])
    labels = np.where(rng.random(3000) < 0.8, data.labels[rows], rng.integers(1, 4, 3000))
    return data, (data.image_of(rows), labels, np.zeros(3000), boxes)


@pytest.mark.parametrize("case", [lambda: crowded(0), lambda: crowded(1), blood_cells])
def test_voc_is_what_two_public_evaluators_say(case):
    data, found = case()
    # Neither leaves difficult boxes out, nor keeps equal scores in order.
    data = replace(data, ignore=np.zeros(len(data.ids), bool))
    rng = np.random.default_rng(0)
    found = (*found[:2], rng.permutation(len(found[2])) / len(found[2]), found[3])
    truth = CocoTruth(data, data.classes)
    area, eleven = (voc_ap50(truth, *found, points) for points in ("area", "11"))
    assert 0.05 < area.mean() < 0.9 and not same(area, eleven)
    assert np.allclose(area, by_mean_average_precision(data, found, "area"), atol=1e-6)
    assert np.allclose(eleven, by_mean_average_precision(data, found, "11"), atol=1e-6)
    assert np.allclose(area, by_map_boxes(data, found), atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1, width=32)), st.lists(st.floats(0, 5000, width=32)))
def test_detections_are_rounded_as_they_are_printed(scores, edges):
    boxes = np.array(edges[: len(edges) // 4 * 4]).reshape(-1, 4)
    rounded, corners = as_printed(np.array(scores, np.float32), boxes.astype(np.float32))
    assert rounded.tolist() == [float(f"{score:.3f}") for score in scores]
    assert corners.tolist() == [[float(f"{edge:.1f}") for edge in box] for box in boxes.tolist()]


@pytest.mark.parametrize("points", ["area", "11"])
def test_what_papers_print_is_the_loop_over_what_was_printed(points):
    data, (index, labels, _, corners) = crowded(7)
    rng = np.random.default_rng(7)
    found = index, labels, rng.beta(1, 30, len(index)), corners  # low scores: many become equal
    printed = index, labels, *as_printed(found[2], corners)
    truth = CocoTruth(data, data.classes)
    ap = printed_ap50(truth, *found, points)
    assert same(ap, by_loop(data, printed, points))
    assert not same(ap, voc_ap50(truth, *found, points)) and 0.1 < np.nanmean(ap) < 0.95


def test_interval_is_students():
    values = [52.0, 55.0, 49.5, 53.0, 51.0]
    mean, half = mean_interval(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert mean_interval([1.0, 2.0])[1] == pytest.approx(12.7062047 * math.sqrt(0.5 / 2))


def test_interval_over_splits_is_welchs():
    a, b = [10.0, 30.0, 50.0, 20.0], [8.0, 9.0, 7.0, 8.5, 6.0]
    welch = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.99)
    mean, half = stratified([a, [-value for value in b]], 0.99)
    assert (2 * (mean - half), 2 * (mean + half)) == pytest.approx((welch.low, welch.high))
    assert stratified([[1.0, 2.0, 3.0]]) == mean_interval([1.0, 2.0, 3.0])
    mean, half = stratified([[7.0, 7.2, 6.8], [1.0, 1.2, 0.8], [1.0, 0.9, math.nan]])
    assert mean == pytest.approx((7 + 1 + 0.95) / 3) and half < 0.3  # splits differ, seeds do not
    mean, half = stratified([[1.0, 2.0], [4.5]])
    assert mean == 3 and math.isnan(half)


def test_one_value_has_no_interval_and_none_no_mean():
    assert mean_interval([5.0])[0] == 5 and math.isnan(mean_interval([5.0])[1])
    assert mean_interval([5.0, math.nan])[0] == 5 and math.isnan(mean_interval([5, math.nan])[1])
    assert all(map(math.isnan, mean_interval([])))
    assert mean_interval([3.0, 3.0]) == (3, 0)
