"""Matching of detections with annotated boxes, and the confusion matrix.

Detections are flat arrays over the test set, as in `fsdet.evaluation.coco`; a match is the row of the
truth that each detection takes, [D] int64, and -1 where it takes none.
"""

from typing import NamedTuple

import numpy as np

from fsdet.boxes import overlaps, pairs
from fsdet.evaluation.ground_truth import CocoTruth, checked

NOTHING = -1


class Counts(NamedTuple):
    """Of each image: boxes found, detections on none, boxes not found."""

    right: np.ndarray  # [I] int64
    wrong: np.ndarray  # [I]
    missed: np.ndarray  # [I]

    @property
    def f1(self) -> np.ndarray:
        """[I] 0..1: 2 right / (2 right + wrong + missed); NaN of an image with nothing to count."""
        total = 2 * self.right + self.wrong + self.missed
        return np.where(total > 0, 2 * self.right / np.maximum(total, 1), np.nan)


def match(
    truth: CocoTruth,
    image_index: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    boxes: np.ndarray,
    iou: float = 0.5,
) -> np.ndarray:
    """COCO's match at one IoU, within images and categories.

    The detections in order of their scores take the free box that each overlaps most; a box to ignore,
    which any number may take, only where there is no other. Those above a score match the same,
    whatever lies below.
    """
    index, labels, scores, boxes = checked(truth, image_index, labels, scores, boxes)
    n = len(truth.classes) + 1
    keys, of = index * n + labels, truth.image_index * n + truth.labels
    return _greedy(keys, scores, boxes, of, truth.boxes, truth.ignore, iou)


def confusion(
    truth: CocoTruth,
    image_index: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    boxes: np.ndarray,
    score: float = 0.5,
    iou: float = 0.5,
) -> np.ndarray:
    """How many boxes of each category were found, taken for another, or missed.

    Of the detections with at least this score those that `match` a box of their category are right.
    The others, in order of their scores, take the box of another category, not found itself, that each
    overlaps most. What is left of boxes is missed; what is left of detections lies on a box that is
    spoken for, or on background. Detections on boxes to ignore count for nothing.

    Returns:
        [2 + N, 1 + N] int64. Row t, column p: boxes of label t taken for p; column 0 missed. Row 0:
        detections on background; row N + 1: detections on boxes that are spoken for.
    """
    index, labels, scores, boxes = checked(truth, image_index, labels, scores, boxes)
    sure = scores >= score
    index, labels, scores, boxes = index[sure], labels[sure], scores[sure], boxes[sure]
    hit = match(truth, index, labels, scores, boxes, iou)
    free = ~truth.ignore
    free[hit[hit != NOTHING]] = False
    left, rest = np.flatnonzero(free), np.flatnonzero(hit == NOTHING)
    mistaken = _greedy(
        index[rest], scores[rest], boxes[rest],
        truth.image_index[left], truth.boxes[left], np.zeros(len(left), bool), iou,
    )  # fmt: skip
    took = mistaken != NOTHING
    hit[rest[took]] = left[mistaken[took]]
    free[hit[hit != NOTHING]] = False
    n = len(truth.classes)
    counts = np.zeros((2 + n, 1 + n), np.int64)
    counted = np.flatnonzero(hit != NOTHING)
    counted = counted[~truth.ignore[hit[counted]]]
    np.add.at(counts, (truth.labels[hit[counted]], labels[counted]), 1)
    np.add.at(counts, (truth.labels[free], 0), 1)
    alone = np.flatnonzero(hit == NOTHING)
    on_a_box = lies_on(truth, index[alone], boxes[alone], iou) != NOTHING
    np.add.at(counts, (np.where(on_a_box, n + 1, 0), labels[alone]), 1)
    return counts


def merged(counts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """A confusion with categories put together: label n + 1 becomes `groups[n]`, [N] of 1..M.

    Returns:
        [2 + M, 1 + M]; on the diagonal of a group are also those taken for another of the group.
    """
    n, most = len(groups), int(groups.max(initial=0))
    rows = np.concatenate([[0], groups, [most + 1]])
    total = np.zeros((2 + most, 1 + most), counts.dtype)
    np.add.at(total, (rows[:, None], rows[None, : n + 1]), counts)
    return total


def lies_on(
    truth: CocoTruth, image_index: np.ndarray, boxes: np.ndarray, iou: float = 0.5
) -> np.ndarray:
    """[D] the row of the truth, of any category, that each box overlaps most, by `iou` or more; else -1.

    Boxes to ignore are left out.
    """
    objects = np.flatnonzero(~truth.ignore)
    box, row = pairs(np.asarray(image_index, np.int64), truth.image_index[objects])
    overlap = overlaps(np.asarray(boxes, np.float64).reshape(-1, 4)[box], truth.boxes[objects[row]])
    order = np.argsort(overlap, kind="stable")
    order = order[overlap[order] >= iou]
    matched = np.full(len(image_index), NOTHING, np.int64)
    matched[box[order]] = objects[row[order]]  # the last that is written, the largest, stays
    return matched


def by_image(
    truth: CocoTruth, image_index: np.ndarray, hit: np.ndarray, classes: np.ndarray
) -> Counts:
    """Right, wrong and missed in every image.

    Args:
        image_index: [D] of the detections to count, those of `classes` above a score.
        hit: [D] what they `match`.
        classes: the labels whose boxes are to be found.
    """
    images, wanted = len(truth.ranks), np.isin(truth.labels, classes) & ~truth.ignore
    took = hit[hit != NOTHING]
    missed = wanted.copy()
    missed[took] = False
    wrong = np.bincount(np.asarray(image_index)[hit == NOTHING], minlength=images)
    right = np.bincount(truth.image_index[took[~truth.ignore[took]]], minlength=images)
    return Counts(right, wrong, np.bincount(truth.image_index[missed], minlength=images))


def best_first(counts: Counts) -> np.ndarray:
    """Images by falling F1; of the same F1 by right ones less errors; those with nothing left out."""
    f1 = counts.f1
    order = np.lexsort((-(counts.right - counts.wrong - counts.missed), -f1))
    return order[~np.isnan(f1[order])]


def _greedy(
    keys: np.ndarray,
    scores: np.ndarray,
    boxes: np.ndarray,
    known_keys: np.ndarray,
    known_boxes: np.ndarray,
    ignore: np.ndarray,
    iou: float,
) -> np.ndarray:
    """Detections [D] take known boxes [G] of their key, best scores first: [D] places, -1 for none."""
    detection, row = pairs(keys, known_keys)
    overlap = overlaps(boxes[detection], known_boxes[row], ignore[row])
    candidates = overlap >= min(iou, 1 - 1e-10)  # pycocotools' own
    detection, row, overlap = detection[candidates], row[candidates], overlap[candidates]
    rank = np.empty(len(keys), np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(keys))
    # Of boxes that overlap equally pycocotools takes the last.
    order = np.lexsort((-row, -overlap, ignore[row], rank[detection]))
    hit, free = np.full(len(keys), NOTHING, np.int64), np.ones(len(known_keys), bool)
    for d, g in zip(detection[order].tolist(), row[order].tolist(), strict=True):
        if hit[d] == NOTHING and (free[g] or ignore[g]):
            hit[d], free[g] = g, False
    return hit
