"""Matching and confusion against pycocotools' matches, a plain loop, and cases by hand."""

import contextlib
import io

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
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fsdet.errors import InputError
from fsdet.evaluation.coco import CocoTruth, evaluate
from fsdet.evaluation.detections import DetectionArrays
from fsdet.evaluation.matching import (
    Counts,
    best_first,
    by_image,
    confusion,
    lies_on,
    match,
    merged,
)


def by_pycocotools(truth, detections):
    """pycocotools' evaluation, with its matches and its precision at 101 recalls."""
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth, results = COCO(), COCO()
        ground_truth.dataset = truth.as_coco()
        results.dataset = ground_truth.dataset | {
            "annotations": [
                {"id": n, "image_id": int(truth.ranks[i]), "category_id": int(label),
                 "bbox": [*box[:2], *(box[2:] - box[:2])], "score": score, "iscrowd": 0,
                 "area": float((box[2:] - box[:2]).prod())}
                for n, (i, label, score, box) in enumerate(detection_rows(detections), 1)
            ]
        }  # fmt: skip
        ground_truth.createIndex()
        results.createIndex()
        run = COCOeval(ground_truth, results, "bbox")
        run.evaluate()
        run.accumulate()
    return run


def coco_matches(truth, detections):
    matched = np.full(len(detections), -1)
    for image in by_pycocotools(truth, detections).evalImgs:
        if image and image["aRng"] == [0, 1e10]:
            taken = image["dtMatches"][0].astype(int)  # at IoU 0.5; ids count from 1
            matched[np.array(image["dtIds"], int) - 1] = taken - 1
    return matched


@settings(max_examples=150)
@given(truth_and_detections())
def test_matches_equal_pycocotools(case):
    data, detections = case
    truth = CocoTruth(data, data.classes)
    np.testing.assert_array_equal(match(truth, detections), coco_matches(truth, detections))


@pytest.mark.parametrize("seed", range(3))
def test_matches_equal_pycocotools_on_a_crowded_set(seed):
    data, detections = crowded(seed)
    truth = CocoTruth(data, data.classes)
    matched = match(truth, detections)
    np.testing.assert_array_equal(matched, coco_matches(truth, detections))
    assert 100 < (matched >= 0).sum() < 1900
    sure = detections.scores >= 0.6  # a prefix of the greedy order
    np.testing.assert_array_equal(match(truth, detections[sure]), matched[sure])


@pytest.mark.parametrize("evaluator", ["hotcoco", "pycocotools"])
def test_precision_equals_pycocotools_at_101_recalls(evaluator):
    data, detections = crowded(5)
    truth = CocoTruth(data, data.classes)
    scores = evaluate(truth, detections, evaluator=evaluator)
    run = by_pycocotools(truth, detections)
    assert same(scores.precision50, run.eval["precision"][0, :, :, 0, -1].T)
    assert same(scores.precision50.mean(axis=1), scores.ap50)
    assert scores.precision50.shape == (6, 101) and 0.1 < scores.precision50.mean() < 0.9


def test_precision_by_hand():
    """Right, wrong, right of three boxes: precision 1 up to recall 1/3, 2/3 up to 2/3, then none."""
    data = annotated(1, 2, [(0, 1, [n * 20, 0, n * 20 + 10, 10], False) for n in range(3)])
    boxes = np.array([[0, 0, 10, 10], [80, 80, 90, 90], [20, 0, 30, 10]], float)
    detections = DetectionArrays([0, 0, 0], [1, 1, 1], [0.9, 0.8, 0.7], boxes)
    first, second = evaluate(CocoTruth(data, data.classes), detections).precision50
    np.testing.assert_allclose(first, [1.0] * 34 + [2 / 3] * 33 + [0.0] * 34)
    assert np.isnan(second).all()


def overlap(a, b, crowd=False):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (area[0] if crowd else sum(area) - shared)


def confusion_by_loop(truth, detections, score):
    """The rules of `confusion`, one detection at a time."""
    index, labels, scores, boxes = vars(detections).values()
    n = len(truth.classes)
    counts = np.zeros((n + 2, n + 1), int)
    sure = [d for d in range(len(index)) if scores[d] >= score]
    order = sorted(sure, key=lambda d: (-scores[d], d))

    def best(d, rows, crowd=False):
        near = [(overlap(boxes[d], truth.boxes[g], crowd), g) for g in rows]
        near = [pair for pair in near if pair[0] >= 0.5]
        return max(near)[1] if near else None

    taken, rest = {}, []
    for d in order:
        mine = [
            g
            for g in range(len(truth.labels))
            if truth.image_index[g] == index[d] and truth.labels[g] == labels[d]
        ]
        g = best(d, [g for g in mine if not truth.ignore[g] and g not in taken])
        if g is not None:
            taken[g] = labels[d]
        elif best(d, [g for g in mine if truth.ignore[g]], crowd=True) is None:
            rest.append(d)
    for d in rest:
        here = [
            g
            for g in range(len(truth.labels))
            if truth.image_index[g] == index[d] and not truth.ignore[g]
        ]
        g = best(d, [g for g in here if g not in taken])
        if g is not None:
            taken[g] = labels[d]
        else:
            counts[n + 1 if best(d, here) is not None else 0, labels[d]] += 1
    for g in range(len(truth.labels)):
        if not truth.ignore[g]:
            counts[truth.labels[g], taken.get(g, 0)] += 1
    return counts


@settings(max_examples=200)
@given(truth_and_detections(), st.sampled_from([0.0, 0.5, 0.7]))
def test_confusion_equals_a_loop(case, score):
    data, detections = case
    truth = CocoTruth(data, data.classes)
    counts = confusion(truth, detections, score)
    np.testing.assert_array_equal(counts, confusion_by_loop(truth, detections, score))
    boxes = np.bincount(truth.labels[~truth.ignore], minlength=len(truth.classes) + 1)[1:]
    np.testing.assert_array_equal(counts[1:-1].sum(axis=1), boxes)  # every box is in one cell


def test_confusion_equals_a_loop_on_a_crowded_set():
    data, detections = crowded(1)
    truth = CocoTruth(data, data.classes)
    counts = confusion(truth, detections, 0.4)
    np.testing.assert_array_equal(counts, confusion_by_loop(truth, detections, 0.4))
    assert (counts[[0, -1]].sum(axis=1) > 0).all() and counts[1:-1, 0].sum() > 5
    matched = match(truth, detections)
    right = (matched >= 0) & (detections.scores >= 0.4)
    right[right] = ~truth.ignore[matched[right]]
    on_diagonal = np.bincount(detections.labels[right], minlength=7)[1:]
    np.testing.assert_array_equal(np.diag(counts[1:-1, 1:]), on_diagonal)


def test_confusion_by_hand():
    rows = [
        (0, 1, [0, 0, 10, 10], False),  # detected, although a detection of 2 has a higher score
        (0, 2, [20, 0, 30, 10], False),  # taken for 1
        (0, 1, [40, 0, 50, 10], False),  # detected with a score below 0.5: missed
        (0, 3, [60, 0, 70, 10], True),  # to ignore
    ]
    detections = [
        (0, 2, 0.9, [0, 0, 10, 10]),  # on a box that is detected
        (0, 1, 0.8, [0, 0, 10, 10]),
        (0, 1, 0.7, [20, 0, 30, 10]),
        (0, 1, 0.2, [40, 0, 50, 10]),
        (0, 3, 0.9, [60, 0, 70, 10]),  # does not count
        (0, 3, 0.9, [80, 80, 90, 90]),  # on background
    ]
    data = annotated(1, 3, rows)
    counts = confusion(CocoTruth(data, data.classes), detection_arrays(detections))
    expected = [[0, 0, 0, 1], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    np.testing.assert_array_equal(counts, expected)
    together = merged(counts, np.array([1, 1, 2]))
    np.testing.assert_array_equal(together, [[0, 0, 1], [1, 2, 0], [0, 0, 0], [0, 1, 0]])
    nothing = confusion(CocoTruth(data, data.classes), NO_DETECTIONS)
    np.testing.assert_array_equal(nothing[:, 0], [0, 2, 1, 0, 0])
    assert nothing[:, 1:].sum() == 0


@settings(max_examples=60)
@given(truth_and_detections(), st.data())
def test_merging_sums_the_cells_of_each_group(case, draw):
    data, detections = case
    truth = CocoTruth(data, data.classes)
    n = len(data.classes)
    groups = np.array(draw.draw(st.lists(st.integers(1, 3), min_size=n, max_size=n)))
    counts = confusion(truth, detections, 0.0)
    together = merged(counts, groups)
    most = groups.max()
    assert together.shape == (2 + most, 1 + most) and together.sum() == counts.sum()
    for t in range(1, most + 1):
        for p in range(1, most + 1):
            cells = counts[1:-1, 1:][groups == t][:, groups == p]
            assert together[t, p] == cells.sum()
        assert together[0, t] == counts[0, 1:][groups == t].sum()
        assert together[-1, t] == counts[-1, 1:][groups == t].sum()
        assert together[t, 0] == counts[1:-1, 0][groups == t].sum()


def test_lies_on_is_the_box_with_the_largest_overlap():
    rows = [(0, 1, [0, 0, 10, 10], False), (0, 2, [0, 0, 10, 8], False),
            (1, 1, [0, 0, 10, 10], True)]  # fmt: skip
    truth = CocoTruth(annotated(2, 2, rows), ["class2", "class1"])
    boxes = np.array([[0, 0, 10, 8.5], [0, 0, 10, 9.8], [0, 0, 9, 4], [0, 0, 10, 10]])
    detections = DetectionArrays([0, 0, 0, 1], [1] * 4, [0.5] * 4, boxes)
    assert lies_on(truth, detections).tolist() == [1, 0, -1, -1]
    assert lies_on(truth, NO_DETECTIONS).shape == (0,)


@settings(max_examples=100)
@given(truth_and_detections(), st.data())
def test_counts_by_image_equal_a_loop(case, draw):
    data, detections = case
    truth, index = CocoTruth(data, data.classes), detections.image_index
    classes = draw.draw(st.lists(st.integers(1, len(data.classes)), unique=True))
    matched = match(truth, detections)
    chosen = np.isin(detections.labels, classes) & (detections.scores >= 0.5)
    counts = by_image(truth, index[chosen], matched[chosen], classes)
    for image in range(len(data)):
        here = chosen & (index == image)
        taken = {int(g) for g in matched[here] if g >= 0 and not truth.ignore[g]}
        wanted = np.flatnonzero((truth.image_index == image) & ~truth.ignore)
        wanted = {int(g) for g in wanted if truth.labels[g] in classes}
        expected = len(taken), int((matched[here] < 0).sum()), len(wanted - taken)
        assert tuple(int(column[image]) for column in counts) == expected
        assert taken <= wanted


def test_best_first_leaves_out_images_with_nothing_to_count():
    counts = Counts(*np.array([[1, 3, 0, 0, 0, 2], [0, 0, 1, 5, 0, 2], [0, 0, 0, 2, 0, 0]]))
    assert best_first(counts).tolist() == [1, 0, 5, 2, 3]
    np.testing.assert_allclose(counts.f1, [1, 1, 0, 0, np.nan, 2 / 3])


def test_error_names_a_detection_of_an_unknown_label():
    data = annotated(1, 1, [(0, 1, [0, 0, 5, 5], False)])
    truth, detections = (
        CocoTruth(data, data.classes),
        DetectionArrays([0], [2], [0.5], [[0, 0, 1, 1]]),
    )
    for function in (match, confusion):
        with pytest.raises(InputError, match=r"detection 0: expected label in 1\.\.1; got 2"):
            function(truth, detections)
