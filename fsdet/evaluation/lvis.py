"""LVIS's average precision, over all categories and by their frequency.

An image of LVIS is annotated for some of the categories. Detections of the other categories do not
count in it, nor do unmatched detections of a category whose objects are annotated incompletely. Of
each image the 300 detections with the highest scores count, all categories together. See Gupta et
al., 2019.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import hotcoco
import numpy as np

from fsdet.data.labels import class_indices
from fsdet.errors import InputError
from fsdet.evaluation.detections import DetectionArrays
from fsdet.evaluation.ground_truth import CocoTruth, mean_of

MOST_DETECTIONS = 300  # of an image


class LvisAP(NamedTuple):
    """Average precision over IoU .50:.95: of all categories, the rare, common and frequent ones."""

    AP: float
    APr: float
    APc: float
    APf: float


@dataclass(frozen=True, eq=False)
class LvisScores:
    """AP of each category, 0..1; NaN for a category without ground truth."""

    classes: tuple[str, ...]
    frequency: str  # [N] "r", "c" or "f"
    ap: np.ndarray  # [N] float64

    def mean(self, names: Iterable[str]) -> LvisAP:
        """Means over the categories that have ground truth; NaN if none has.

        Raises:
            InputError: an unknown name.
        """
        indices = class_indices(names, self.classes, "scores")
        by_frequency = ([n for n in indices if self.frequency[n] == letter] for letter in "rcf")
        return LvisAP(*(mean_of(self.ap[group]) for group in (indices, *by_frequency)))


def lvis_ap(truth: CocoTruth, detections: DetectionArrays) -> LvisScores:
    """LVIS's evaluation; every number equals that of the package `lvis`.

    Raises:
        InputError: ground truth that is not annotated as LVIS is, or detections that
            `CocoTruth.validate` refuses.
    """
    if not truth.frequency:
        raise InputError(
            "expected ground truth annotated as LVIS is, with the frequency of each category and the"
            " categories that each image was annotated for; got ground truth without them: use"
            " fsdet.evaluation.coco.evaluate"
        )
    results = hotcoco.LVISResults(truth.coco, truth.coco_results(detections), MOST_DETECTIONS)
    run = hotcoco.LVISEval(truth.coco, results, "bbox")
    run.evaluate()
    run.accumulate()
    assert run.eval is not None
    precision = run.eval["precision"][:, :, :, 0, 0]  # [T, 101, N], of all sizes
    ap = np.where(precision[0, 0] < 0, np.nan, precision.mean(axis=(0, 1)))
    return LvisScores(truth.classes, truth.frequency, ap)
