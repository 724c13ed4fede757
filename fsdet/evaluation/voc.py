"""VOC's average precision at IoU 0.5: area under the curve, or VOC 2007's mean over eleven recalls."""

from dataclasses import replace

import numpy as np

from fsdet.boxes import overlaps, pairs
from fsdet.errors import InputError
from fsdet.evaluation.detections import DetectionArrays
from fsdet.evaluation.ground_truth import CocoTruth


def voc_ap50(truth: CocoTruth, detections: DetectionArrays, points: str = "area") -> np.ndarray:
    """VOC's average precision at IoU 0.5 of each category.

    Each detection, in order of its score, is assigned to the box of its category that it overlaps most. The
    first one on a box is a true positive, later ones are false positives, and one on a box to ignore
    ("difficult") does not count. Equal scores keep their order. `printed_ap50` also rounds scores and boxes,
    as published evaluators do.

    Args:
        points: "area" (under the whole curve, VOC 2010 and later) or "11" (VOC 2007).

    Returns:
        [N] 0..1; NaN for a category without ground truth.

    Raises:
        InputError: other `points`, or detections that `CocoTruth.validate` refuses.
    """
    if points not in _AREAS:
        raise InputError(f"points must be 'area' or '11': got '{points}'")
    truth.validate(detections)
    detections = detections[np.argsort(-detections.scores, kind="stable")]
    matched = _best_boxes(truth, detections)
    first = np.zeros(len(detections), bool)
    first[np.unique(matched, return_index=True)[1]] = True
    ignored = np.isin(matched, np.flatnonzero(truth.ignore))
    right = (matched >= 0) & first & ~ignored
    ap = np.full(len(truth.classes), np.nan)
    for label in range(1, len(ap) + 1):
        positives = int(((truth.labels == label) & ~truth.ignore).sum())
        if positives:
            true_positives = np.cumsum(right[(detections.labels == label) & ~ignored])
            precision = true_positives / np.arange(1, len(true_positives) + 1)
            ap[label - 1] = _AREAS[points](true_positives / positives, precision)
    return ap


def printed_ap50(truth: CocoTruth, detections: DetectionArrays, points: str = "11") -> np.ndarray:
    """AP50 as papers on VOC print it: `voc_ap50` of detections `as_printed`; eleven points for VOC 2007.

    Two differences from the evaluators of detectron2 and TFA remain. An overlap of exactly 0.5 is a match, as in
    VOC's own kit; theirs require more. Detections of equal score keep their order; theirs may be in any.
    """
    return voc_ap50(truth, as_printed(detections), points)


def as_printed(detections: DetectionArrays) -> DetectionArrays:
    """Round scores to three decimals and corners to a tenth of a pixel.

    The evaluators of detectron2 and TFA print detections with these decimals and match the printed values.
    Different scores may become equal.
    """
    scores, boxes = np.round(detections.scores, 3), np.round(detections.boxes, 1)
    return replace(detections, scores=scores, boxes=boxes)


def _best_boxes(truth: CocoTruth, detections: DetectionArrays) -> np.ndarray:
    """[D] row of the ground truth that each detection overlaps most, by 0.5 or more; else -1."""
    detection, row = pairs(
        truth.keys(detections.image_index, detections.labels),
        truth.keys(truth.image_index, truth.labels),
    )
    overlap = overlaps(detections.boxes[detection], truth.boxes[row])
    best = np.lexsort((row, -overlap, detection))  # the earlier box of two that overlap equally
    best = best[np.diff(detection[best], prepend=-1) > 0]
    best = best[overlap[best] >= 0.5]
    matched = np.full(len(detections), -1, np.int64)
    matched[detection[best]] = row[best]
    return matched


def _area_under(recall: np.ndarray, precision: np.ndarray) -> float:
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def _eleven_points(recall: np.ndarray, precision: np.ndarray) -> float:
    # The thresholds of the published evaluators, rounding included: the fourth is
    # 0.30000000000000004, which a recall of 3 / 10 does not reach.
    reached = [precision[recall >= point] for point in np.arange(0.0, 1.1, 0.1)]
    return float(np.mean([part.max(initial=0.0) for part in reached]))


_AREAS = {"area": _area_under, "11": _eleven_points}
