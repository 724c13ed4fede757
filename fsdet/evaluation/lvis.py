"""LVIS's own average precision, in all and by how common a category is.

An image of LVIS is annotated for some of the categories. Detections of the others count for nothing
in it, nor do those that match no box where not every object has one; and of an image's detections
the 300 best are taken, all categories together. See Gupta et al., 2019.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import hotcoco
import numpy as np

from fsdet.errors import InputError
from fsdet.evaluation.ground_truth import CocoTruth, checked, mean_of, positions, xywh

MOST_DETECTIONS = 300  # of an image


class LvisAP(NamedTuple):
    """Average precision over IoU .50:.95: of all categories, the rare, common and frequent ones."""

    AP: float
    APr: float
    APc: float
    APf: float


@dataclass(frozen=True, eq=False)
class LvisScores:
    """What one evaluation found; NaN for a category without truth."""

    classes: tuple[str, ...]
    frequency: str  # [N] "r", "c" or "f"
    ap: np.ndarray  # [N] float64

    def mean(self, names: Iterable[str]) -> LvisAP:
        """Over these categories, those without truth left out; NaN where none of a kind has truth.

        An unknown name is an `InputError`.
        """
        columns = positions(names, self.classes, "scores")
        of_kind = {kind: [c for c in columns if self.frequency[c] == kind] for kind in "rcf"}
        return LvisAP(*(mean_of(self.ap[some]) for some in (columns, *of_kind.values())))


def lvis_ap(
    truth: CocoTruth,
    image_index: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    boxes: np.ndarray,
) -> LvisScores:
    """LVIS's evaluation of detections, in the form that `fsdet.evaluation.coco.evaluate` takes.

    Every number is that of the package `lvis`. Truth that is not of data annotated as LVIS is, and
    detections that `evaluate` refuses, are an `InputError`.
    """
    if not truth.frequency:
        raise InputError(
            "expected truth that says how common each category is and where it was looked for, as"
            " LVIS does; got truth of another kind: use fsdet.evaluation.coco.evaluate"
        )
    index, labels, scores, boxes = checked(truth, image_index, labels, scores, boxes)
    results = np.column_stack((truth.ranks[index], xywh(boxes), scores, labels))
    detections = hotcoco.LVISResults(truth.coco, results, MOST_DETECTIONS)
    run = hotcoco.LVISEval(truth.coco, detections, "bbox")
    run.evaluate()
    run.accumulate()
    assert run.eval is not None
    precision = run.eval["precision"][:, :, :, 0, 0]  # [T, 101, N], of all sizes
    ap = np.where(precision[0, 0] < 0, np.nan, precision.mean(axis=(0, 1)))
    return LvisScores(truth.classes, truth.frequency, ap)
