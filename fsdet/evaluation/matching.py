"""Matching of detections with annotated boxes, and the confusion matrix.

A match is [D] int64: the row of the ground truth that each detection is assigned to, or `NOTHING`.
"""

from typing import NamedTuple

import numpy as np

from fsdet.boxes import overlaps, pairs
from fsdet.evaluation.detections import DetectionArrays
from fsdet.evaluation.ground_truth import CocoTruth

NOTHING = -1


class Counts(NamedTuple):
    """Detected boxes, false positives and missed boxes of each image."""

    right: np.ndarray  # [I] int64
    wrong: np.ndarray  # [I]
    missed: np.ndarray  # [I]

    @property
    def f1(self) -> np.ndarray:
        """[I] 0..1: 2 right / (2 right + wrong + missed); NaN for an image with nothing to count."""
        total = 2 * self.right + self.wrong + self.missed
        return np.where(total > 0, 2 * self.right / np.maximum(total, 1), np.nan)


def match(truth: CocoTruth, detections: DetectionArrays, iou: float = 0.5) -> np.ndarray:
    """COCO's match at one IoU, within images and categories.

    In order of their scores, detections take the free box that they overlap most. A box to ignore can be
    taken by any number of detections, but only by those that match no other box. Detections with lower scores
    do not change the match of those with higher scores.

    Returns:
        [D] int64, row of the ground truth or `NOTHING`.

    Raises:
        InputError: detections that `CocoTruth.validate` refuses.
    """
    truth.validate(detections)
    keys = truth.keys(detections.image_index, detections.labels)
    truth_keys = truth.keys(truth.image_index, truth.labels)
    return _greedy(
        keys, detections.scores, detections.boxes, truth_keys, truth.boxes, truth.ignore, iou
    )


def confusion(
    truth: CocoTruth, detections: DetectionArrays, score: float = 0.5, iou: float = 0.5
) -> np.ndarray:
    """Count the boxes of each category that were detected, taken for another category, or missed.

    Detections with at least this score that `match` a box of their category are right. The others, in order
    of their scores, take the box of another category that they overlap most, if no detection has it yet. A
    box without a detection is missed; a detection without a box is on a box that has one already, or on
    background. Detections on boxes to ignore do not count.

    Returns:
        [2 + N, 1 + N] int64. Row t, column p: boxes of label t taken for p; column 0: missed. Row 0:
        detections on background; row N + 1: detections on boxes that have one already.

    Raises:
        InputError: detections that `CocoTruth.validate` refuses.
    """
    truth.validate(detections)
    detections = detections[detections.scores >= score]
    matched = match(truth, detections, iou)
    free = ~truth.ignore
    free[matched[matched != NOTHING]] = False
    free_rows, unmatched = np.flatnonzero(free), np.flatnonzero(matched == NOTHING)
    others = detections[unmatched]
    mistaken = _greedy(
        others.image_index, others.scores, others.boxes,
        truth.image_index[free_rows], truth.boxes[free_rows], np.zeros(len(free_rows), bool), iou,
    )  # fmt: skip
    took = mistaken != NOTHING
    matched[unmatched[took]] = free_rows[mistaken[took]]
    free[matched[matched != NOTHING]] = False
    n = len(truth.classes)
    counts = np.zeros((2 + n, 1 + n), np.int64)
    counted = np.flatnonzero(matched != NOTHING)
    counted = counted[~truth.ignore[matched[counted]]]
    np.add.at(counts, (truth.labels[matched[counted]], detections.labels[counted]), 1)
    np.add.at(counts, (truth.labels[free], 0), 1)
    unmatched = np.flatnonzero(matched == NOTHING)
    on_a_box = lies_on(truth, detections[unmatched], iou) != NOTHING
    np.add.at(counts, (np.where(on_a_box, n + 1, 0), detections.labels[unmatched]), 1)
    return counts


def merged(counts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Merge categories of a confusion matrix: label n + 1 becomes `groups[n]`, [N] of 1..M.

    Returns:
        [2 + M, 1 + M]; the diagonal also counts boxes taken for another category of their group.
    """
    n, most = len(groups), int(groups.max(initial=0))
    rows = np.concatenate([[0], groups, [most + 1]])
    total = np.zeros((2 + most, 1 + most), counts.dtype)
    np.add.at(total, (rows[:, None], rows[None, : n + 1]), counts)
    return total


def lies_on(truth: CocoTruth, detections: DetectionArrays, iou: float = 0.5) -> np.ndarray:
    """The box of any category that each detection overlaps most, by `iou` or more.

    Returns:
        [D] int64, row of the ground truth or `NOTHING`; never a box to ignore.
    """
    objects = np.flatnonzero(~truth.ignore)
    detection, row = pairs(detections.image_index, truth.image_index[objects])
    overlap = overlaps(detections.boxes[detection], truth.boxes[objects[row]])
    order = np.argsort(overlap, kind="stable")
    order = order[overlap[order] >= iou]
    matched = np.full(len(detections), NOTHING, np.int64)
    matched[detection[order]] = objects[row[order]]  # the last write, of the largest overlap, stays
    return matched


def by_image(
    truth: CocoTruth, image_index: np.ndarray, matched: np.ndarray, labels: np.ndarray
) -> Counts:
    """Count right and wrong detections and missed boxes of every image.

    Args:
        image_index: [D] of the detections to count: those of `labels` above a score.
        matched: [D], their `match`.
        labels: the categories whose boxes should be detected.
    """
    images, missed = len(truth.ranks), np.isin(truth.labels, labels) & ~truth.ignore
    rows = matched[matched != NOTHING]
    missed[rows] = False
    return Counts(
        right=np.bincount(truth.image_index[rows[~truth.ignore[rows]]], minlength=images),
        wrong=np.bincount(image_index[matched == NOTHING], minlength=images),
        missed=np.bincount(truth.image_index[missed], minlength=images),
    )


def best_first(counts: Counts) -> np.ndarray:
    """Indices of images by falling F1, equal ones by right - wrong - missed; without those whose F1 is NaN."""
    f1 = counts.f1
    order = np.lexsort((-(counts.right - counts.wrong - counts.missed), -f1))
    return order[~np.isnan(f1[order])]


def _greedy(
    keys: np.ndarray,
    scores: np.ndarray,
    boxes: np.ndarray,
    truth_keys: np.ndarray,
    truth_boxes: np.ndarray,
    ignore: np.ndarray,
    iou: float,
) -> np.ndarray:
    """Assign detections [D] to boxes [G] of equal key, highest scores first: [D] row, or `NOTHING`."""
    detection, row = pairs(keys, truth_keys)
    overlap = overlaps(boxes[detection], truth_boxes[row], ignore[row])
    candidates = overlap >= min(iou, 1 - 1e-10)  # as in pycocotools
    detection, row, overlap = detection[candidates], row[candidates], overlap[candidates]
    rank = np.empty(len(keys), np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(keys))
    # Of boxes that overlap equally pycocotools takes the last.
    order = np.lexsort((-row, -overlap, ignore[row], rank[detection]))
    matched, free = np.full(len(keys), NOTHING, np.int64), np.ones(len(truth_keys), bool)
    for d, g in zip(detection[order].tolist(), row[order].tolist(), strict=True):
        if matched[d] == NOTHING and (free[g] or ignore[g]):
            matched[d], free[g] = g, False
    return matched
