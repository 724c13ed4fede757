"""VOC's average precision at IoU 0.5: under the whole curve, or at VOC 2007's eleven points."""

import numpy as np

from fsdet.boxes import overlaps, pairs
from fsdet.errors import InputError
from fsdet.evaluation.ground_truth import CocoTruth, checked


def voc_ap50(
    truth: CocoTruth,
    image_index: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    boxes: np.ndarray,
    points: str = "area",
) -> np.ndarray:
    """VOC's average precision at IoU 0.5 for each category: [N], NaN where there is no truth.

    A detection goes to the box it overlaps most, found before or not; the first one there is right,
    later ones are wrong, and one on a box to ignore ("difficult") counts for nothing. `points` is
    "area" (under the whole curve, VOC 2010 and later) or "11" (VOC 2007). Equal scores keep their
    order; scores and boxes are taken as they are: `printed_ap50` rounds as published evaluators do.
    """
    if points not in _AREAS:
        raise InputError(f"points must be 'area' or '11': got '{points}'")
    index, labels, scores, boxes = checked(truth, image_index, labels, scores, boxes)
    order = np.argsort(-scores, kind="stable")
    index, labels, boxes = index[order], labels[order], boxes[order]
    hit = _best_boxes(truth, index, labels, boxes)  # [D] row of the truth, -1 for none
    first = np.zeros(len(hit), bool)
    first[np.unique(hit, return_index=True)[1]] = True
    ignored = (hit >= 0) & truth.ignore[hit] if len(truth.ignore) else np.zeros(len(hit), bool)
    right = (hit >= 0) & first & ~ignored
    result = np.full(len(truth.classes), np.nan)
    for n in range(1, len(result) + 1):
        positives = int(((truth.labels == n) & ~truth.ignore).sum())
        if positives:
            counted = right[(labels == n) & ~ignored]
            true_positives = np.cumsum(counted)
            recall, precision = (
                true_positives / positives,
                true_positives / np.arange(1, len(counted) + 1),
            )
            result[n - 1] = _AREAS[points](recall, precision)
    return result


def printed_ap50(
    truth: CocoTruth,
    image_index: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    boxes: np.ndarray,
    points: str = "11",
) -> np.ndarray:
    """AP50 as papers on VOC print it: [N], of detections `as_printed`; of 2007's test at eleven points.

    Two things remain. An overlap of exactly 0.5 is enough here, as for VOC's own kit, and is not for
    the evaluators of detectron2 and TFA; and equal scores keep their order, which theirs need not.
    """
    return voc_ap50(truth, image_index, labels, *as_printed(scores, boxes), points)


def as_printed(scores: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores to three decimals and corners to a tenth of a pixel.

    The evaluators of detectron2 and TFA print detections so, and match what they read back. It makes
    scores equal that were not.
    """
    return np.round(np.asarray(scores, np.float64), 3), np.round(np.asarray(boxes, np.float64), 1)


def _best_boxes(
    truth: CocoTruth, index: np.ndarray, labels: np.ndarray, boxes: np.ndarray
) -> np.ndarray:
    """For each detection the row of the truth that it overlaps most by 0.5 or more, else -1."""
    classes = len(truth.classes) + 1
    keys = truth.image_index * classes + truth.labels  # truth by image and category
    detection, row = pairs(index * classes + labels, keys)
    overlap = overlaps(boxes[detection], truth.boxes[row])
    best = np.lexsort((row, -overlap, detection))  # the earlier box of two that overlap equally
    best = best[np.diff(detection[best], prepend=-1) > 0]
    best = best[overlap[best] >= 0.5]
    hit = np.full(len(index), -1, np.int64)
    hit[detection[best]] = row[best]
    return hit


def _area_under(recall: np.ndarray, precision: np.ndarray) -> float:
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def _eleven_points(recall: np.ndarray, precision: np.ndarray) -> float:
    # The thresholds of the published evaluators, rounding included: the fourth is
    # 0.30000000000000004, which a recall of 3 / 10 does not reach.
    reached = [precision[recall >= point] for point in np.arange(0.0, 1.1, 0.1)]
    return float(np.mean([part.max(initial=0.0) for part in reached]))


_AREAS = {"area": _area_under, "11": _eleven_points}
