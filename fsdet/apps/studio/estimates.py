"""Estimates of how well a category is found in photographs left out of teaching, and thresholds from them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fsdet.api.results import Detection
from fsdet.apps.studio.boxes import SAME, iou
from fsdet.apps.studio.project import Box

MIN_SCORE = 0.05  # detections below are dropped
DEFAULT_THRESHOLD = 0.5  # of a category without complete photographs to choose one from
PRIOR_BOXES = 2  # weight of the default threshold, in boxes, against the one chosen from few shots
LeftOut = tuple[Sequence[str], Sequence[Detection], Sequence[Box]]
"""Of a photograph left out: the categories taught without it, what they found in it, and its boxes."""


class Estimate(NamedTuple):
    """A category in the photographs left out, at the threshold chosen from them."""

    threshold: float = DEFAULT_THRESHOLD
    boxes: int = 0
    right: int = 0  # boxes found
    wrong: int = 0  # detections without a box


def estimates(names: Iterable[str], left_out: Iterable[LeftOut]) -> dict[str, Estimate]:
    """The estimate of each category.

    With n boxes the threshold moves from the default towards the one with the best F1 by n / (n + PRIOR_BOXES).
    """
    matches: dict[str, list[tuple[float, bool]]] = {name: [] for name in names}
    num_boxes = dict.fromkeys(matches, 0)
    for taught, detections, boxes in left_out:
        for name in taught:
            true = [box for box in boxes if box.category == name]
            num_boxes[name] += len(true)
            matches[name] += hits([d for d in detections if d.name == name], true)
    return {name: _estimate(matches[name], n) for name, n in num_boxes.items()}


def _estimate(matches: list[tuple[float, bool]], num_boxes: int) -> Estimate:
    best = best_threshold(matches, num_boxes)
    weighted = num_boxes * best + PRIOR_BOXES * DEFAULT_THRESHOLD
    threshold = weighted / (num_boxes + PRIOR_BOXES)
    above = [hit for score, hit in matches if score >= threshold]
    return Estimate(threshold, num_boxes, sum(above), len(above) - sum(above))


def hits(detections: Iterable[Detection], truth: Iterable[Box]) -> list[tuple[float, bool]]:
    """Scores of one category's detections in a photograph, best first, and whether each is a new match."""
    unmatched = [box.corners for box in truth]
    matches = []
    for detection in detections:
        overlaps = [iou(detection.box, corners) for corners in unmatched]
        hit = max(overlaps, default=0.0) >= SAME
        if hit:
            del unmatched[int(np.argmax(overlaps))]
        matches.append((detection.score, hit))
    return matches


def best_threshold(matches: Iterable[tuple[float, bool]], num_boxes: int) -> float:
    """The threshold with the best F1: halfway between the last score above it and the next score.

    Args:
        matches: score, and whether it is a match, of every detection of a category.
        num_boxes: ground truth boxes of the category.

    Returns:
        `MIN_SCORE`..0.95; the default threshold if no detection is a match.
    """
    ordered = sorted(matches, reverse=True)
    num_hits = np.cumsum([hit for _, hit in ordered])
    if not len(num_hits) or not num_hits[-1]:
        return DEFAULT_THRESHOLD
    scores = np.array([score for score, _ in ordered])
    f1 = 2 * num_hits / (np.arange(1, len(num_hits) + 1) + num_boxes)
    f1[:-1][scores[:-1] == scores[1:]] = 0  # no threshold separates equal scores
    last = int(np.argmax(f1))
    below = scores[last + 1] if last + 1 < len(scores) else MIN_SCORE
    return float(np.clip((scores[last] + below) / 2, MIN_SCORE, 0.95))
