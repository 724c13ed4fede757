"""Metrics: COCO's against pycocotools, VOC's against cases by hand, a plain loop and two packages."""

import contextlib
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.detection_tables import (
    NO_DETECTIONS,
    annotated,
    crowded,
    detection_arrays,
    detection_rows,
    same,
    truth_and_detections,
)
from helpers.paths import DATA
from helpers.voc_evaluators import by_map_boxes, by_mean_average_precision
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import stats

from fsdet.data import open_data
from fsdet.errors import InputError
from fsdet.evaluation.coco import NUMBERS, CocoTruth, evaluate
from fsdet.evaluation.detections import DetectionArrays
from fsdet.evaluation.intervals import mean_interval, stratified
from fsdet.evaluation.voc import as_printed, printed_ap50, voc_ap50


@settings(max_examples=150)
@given(truth_and_detections())
def test_hotcoco_equals_pycocotools(case):
    data, detections = case
    truth = CocoTruth(data, data.classes)
    fast, reference = (evaluate(truth, detections, evaluator=e) for e in ("hotcoco", "pycocotools"))
    assert list(fast.numbers) == list(NUMBERS)
    assert same(list(fast.numbers.values()), list(reference.numbers.values()))
    for name in ("ap", "ap50", "ap75"):
        assert same(getattr(fast, name), getattr(reference, name))
    assert same(fast.mean(data.classes), [fast.numbers[n] for n in ("AP", "AP50", "AP75")])


@pytest.mark.parametrize("seed", range(3))
def test_hotcoco_equals_pycocotools_on_a_crowded_set(seed):
    data, detections = crowded(seed)
    truth = CocoTruth(data, data.classes)
    fast, reference = (evaluate(truth, detections, evaluator=e) for e in ("hotcoco", "pycocotools"))
    assert same(list(fast.numbers.values()), list(reference.numbers.values()))
    assert same(fast.ap, reference.ap)
    assert 0.02 < fast.numbers["AP"] < 0.9  # neither all right nor all wrong


def by_pycocotools(data, detections, categories=None):
    """The twelve metrics, from the ids of the data set's annotation file."""
    corner_and_size = lambda box: [*box[:2], *(box[2:] - box[:2])]  # noqa: E731
    ground_truth = COCO()
    ground_truth.dataset = {
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
        ground_truth.createIndex()
        results = [
            {
                "image_id": int(data.image_ids[image]),
                "category_id": int(data.category_ids[label - 1]),
                "score": score,
                "bbox": corner_and_size(box),
            }
            for image, label, score, box in detection_rows(detections)
        ]
        run = COCOeval(ground_truth, ground_truth.loadRes(results), "bbox")
        if categories is not None:
            run.params.catIds = categories
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats


def test_metrics_equal_pycocotools_on_the_original_ids_equal_scores_included():
    data, detections = crowded(6)
    scores = evaluate(CocoTruth(data, data.classes), detections)
    assert same(list(scores.numbers.values()), by_pycocotools(data, detections))


def test_mean_over_categories_equals_pycocotools_with_cat_ids():
    data, detections = crowded(3)
    scores = evaluate(CocoTruth(data, data.classes), detections)
    novel = [data.classes[n] for n in (1, 4, 5)]
    assert same(scores.mean(novel), by_pycocotools(data, detections, [2, 5, 6])[:3])


def test_ap_of_selected_categories_equals_their_ap_among_all():
    data, detections = crowded(4)
    all_classes = evaluate(CocoTruth(data, data.classes), detections)
    chosen = [data.classes[4], data.classes[1]]  # not in the order of the data
    detections = detections[np.isin(detections.labels, (5, 2))]
    relabelled = replace(detections, labels=np.where(detections.labels == 5, 1, 2))
    alone = evaluate(CocoTruth(data, chosen), relabelled)
    assert same(alone.ap, all_classes.ap[[4, 1]]) and same(alone.ap50, all_classes.ap50[[4, 1]])


@pytest.mark.parametrize("evaluator", ["hotcoco", "pycocotools"])
def test_ap_is_zero_without_detections_and_nan_without_ground_truth(evaluator):
    data = annotated(2, 3, [(0, 1, [0, 0, 50, 50], False), (1, 2, [0, 0, 50, 50], True)])
    scores = evaluate(CocoTruth(data, data.classes), NO_DETECTIONS, evaluator=evaluator)
    assert (
        scores.ap[0] == 0 and np.isnan(scores.ap[1:]).all()
    )  # class 2 has only a crowd, class 3 no box
    assert scores.numbers["AP"] == 0 and math.isnan(scores.numbers["APl"])
    assert all(map(math.isnan, scores.mean([data.classes[2]])))
    assert all(map(math.isnan, scores.mean([])))


def test_perfect_detections_have_ap_one_and_crowds_may_be_missed():
    rows = [
        (0, 1, [0, 0, 50, 50], False),
        (0, 1, [60, 0, 90, 90], True),
        (1, 1, [5, 5, 9, 9], False),
    ]
    data = annotated(2, 1, rows)
    detections = [
        (0, 1, 0.9, [0, 0, 50, 50]),
        (0, 1, 0.95, [65, 5, 80, 80]),
        (1, 1, 0.8, [5, 5, 9, 9]),
    ]
    scores = evaluate(CocoTruth(data, data.classes), detection_arrays(detections))
    assert scores.mean(data.classes) == pytest.approx((1, 1, 1))


def test_error_names_the_faulty_detection_or_class():
    data = annotated(2, 2, [(0, 1, [0, 0, 50, 50], False)])
    truth = CocoTruth(data, data.classes)
    right = DetectionArrays([1], [1], [1.0], [[0, 0, 5, 5]])
    with pytest.raises(InputError, match=r"detection 0: expected image index in 0\.\.1; got 2"):
        evaluate(truth, replace(right, image_index=[2]))
    with pytest.raises(InputError, match=r"detection 0: expected label in 1\.\.2; got 3"):
        evaluate(truth, replace(right, labels=[3]))
    with pytest.raises(InputError, match=r"detection 0: expected finite numbers; got score nan"):
        evaluate(truth, replace(right, scores=[np.nan]))
    with pytest.raises(
        InputError, match="as many images, labels, scores and boxes; got 1, 1, 1, 2"
    ):
        replace(right, boxes=np.zeros((2, 4)))
    with pytest.raises(InputError, match="did you mean 'pycocotools'"):
        evaluate(truth, right, evaluator="pycoco")
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
    detections = [
        (0, 1, 0.9, [0, 0, 10, 10]),  # right: recall 1/2, precision 1
        (0, 1, 0.8, [0, 0, 10, 9]),  # the same again: wrong
        (0, 1, 0.7, [50, 50, 70, 70]),  # difficult: counts for nothing
        (1, 1, 0.6, [40, 40, 60, 60]),  # wrong
        (1, 1, 0.5, [0, 0, 20, 10]),  # IoU exactly 0.5: right, recall 1, precision 2/4
        (1, 1, 0.4, [0, 0, 20, 9.9]),  # just below
    ]
    detections = detection_arrays(detections)
    truth = CocoTruth(data, data.classes)
    area, eleven = (voc_ap50(truth, detections, points) for points in ("area", "11"))
    assert area[0] == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    assert eleven[0] == pytest.approx((6 * 1 + 5 * 0.5) / 11)  # recalls 0..0.5 and 0.6..1
    assert np.isnan(area[1]) and np.isnan(eleven[1])
    assert voc_ap50(truth, NO_DETECTIONS)[0] == 0
    with pytest.raises(InputError, match="'area' or '11'"):
        voc_ap50(truth, NO_DETECTIONS, points="12")


@pytest.mark.parametrize(("difficult_first", "expected"), [(False, 1.0), (True, 0.0)])
def test_voc_matches_the_first_of_two_boxes_with_equal_overlap(difficult_first, expected):
    rows = [(0, 1, [0, 0, 10, 10], difficult_first), (0, 1, [0, 0, 10, 10], not difficult_first)]
    data = annotated(1, 1, rows)
    detections = DetectionArrays([0], [1], [0.9], [[0, 0, 10, 10]])
    assert voc_ap50(CocoTruth(data, data.classes), detections) == [expected]


def by_loop(data, detections, points):
    """VOC's rules in the development kit, one detection at a time."""
    index, labels, confidence, corners = vars(detections).values()
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
def test_voc_equals_a_loop_over_detections(case, points):
    data, detections = case
    assert same(
        voc_ap50(CocoTruth(data, data.classes), detections, points),
        by_loop(data, detections, points),
    )


@pytest.mark.parametrize("points", ["area", "11"])
def test_voc_equals_a_loop_on_a_crowded_set(points):
    data, detections = crowded(5)
    ap = voc_ap50(CocoTruth(data, data.classes), detections, points)
    assert same(ap, by_loop(data, detections, points)) and 0.1 < np.nanmean(ap) < 0.95


def blood_cells():
    """Boxes of real photographs; detections near them, far from them and of other categories."""
    folder = DATA
    if not (folder / "bccd").is_dir():
        pytest.skip(f"the photographs are not in {folder} (set FSDET_DATA)")
    data, rng = open_data(folder / "bccd", "test"), np.random.default_rng(0)
    rows = rng.integers(0, len(data.ids), 3000)
    boxes = data.boxes[rows].astype(np.float64) + rng.normal(0, 6, (3000, 4))
    boxes = np.hstack([boxes[:, :2], np.maximum(boxes[:, 2:], boxes[:, :2] + 1)])
    labels = np.where(rng.random(3000) < 0.8, data.labels[rows], rng.integers(1, 4, 3000))
    return data, DetectionArrays(data.image_of(rows), labels, np.zeros(3000), boxes)


@pytest.mark.parametrize("case", [lambda: crowded(0), lambda: crowded(1), blood_cells])
def test_voc_equals_two_public_evaluators(case):
    data, detections = case()
    # Neither leaves difficult boxes out, nor keeps equal scores in order.
    data = replace(data, ignore=np.zeros(len(data.ids), bool))
    rng = np.random.default_rng(0)
    detections = replace(detections, scores=rng.permutation(len(detections)) / len(detections))
    truth = CocoTruth(data, data.classes)
    area, eleven = (voc_ap50(truth, detections, points) for points in ("area", "11"))
    assert 0.05 < area.mean() < 0.9 and not same(area, eleven)
    assert np.allclose(area, by_mean_average_precision(data, detections, "area"), atol=1e-6)
    assert np.allclose(eleven, by_mean_average_precision(data, detections, "11"), atol=1e-6)
    assert np.allclose(area, by_map_boxes(data, detections), atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, width=32), *[st.floats(0, 5000, width=32)] * 4)))
def test_as_printed_rounds_as_formatted_text_does(rows):
    printed = as_printed(detection_arrays([(0, 1, score, box) for score, *box in rows]))
    assert printed.scores.tolist() == [float(f"{row[0]:.3f}") for row in rows]
    assert printed.boxes.tolist() == [[float(f"{edge:.1f}") for edge in row[1:]] for row in rows]


@pytest.mark.parametrize("points", ["area", "11"])
def test_printed_ap50_equals_a_loop_over_printed_detections(points):
    data, detections = crowded(7)
    rng = np.random.default_rng(7)
    detections = replace(
        detections, scores=rng.beta(1, 30, len(detections))
    )  # low scores: many become equal
    printed = as_printed(detections)
    truth = CocoTruth(data, data.classes)
    ap = printed_ap50(truth, detections, points)
    assert same(ap, by_loop(data, printed, points))
    assert not same(ap, voc_ap50(truth, detections, points)) and 0.1 < np.nanmean(ap) < 0.95


def test_interval_is_students_t():
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


def test_one_value_has_no_interval_and_no_value_no_mean():
    assert mean_interval([5.0])[0] == 5 and math.isnan(mean_interval([5.0])[1])
    assert mean_interval([5.0, math.nan])[0] == 5 and math.isnan(mean_interval([5, math.nan])[1])
    assert all(map(math.isnan, mean_interval([])))
    assert mean_interval([3.0, 3.0]) == (3, 0)
