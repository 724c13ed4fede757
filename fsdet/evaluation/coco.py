"""COCO's evaluation: twelve metrics, and AP of each category.

Every metric is a fraction, 0..1; NaN without ground truth to measure it by (pycocotools prints -1).
"""

import contextlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import hotcoco
import numpy as np

from fsdet.data.labels import class_indices
from fsdet.errors import InputError, nearest
from fsdet.evaluation.detections import DetectionArrays
from fsdet.evaluation.ground_truth import CocoTruth, mean_of

NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
AREA_ALL, MOST_DETECTIONS, IOU50, IOU75 = 0, -1, 0, 5  # indices in pycocotools' precision array


class MeanAP(NamedTuple):
    """Mean average precision of a set of categories: over IoU .50:.95, at .50, at .75."""

    AP: float
    AP50: float
    AP75: float


@dataclass(frozen=True, eq=False)
class Scores:
    """Metrics of one evaluation; NaN for a category (or an object size) without ground truth."""

    classes: tuple[str, ...]
    numbers: dict[str, float]  # the twelve of `NUMBERS`, over all classes
    ap: np.ndarray  # [N] float64
    ap50: np.ndarray  # [N]
    ap75: np.ndarray  # [N]
    precision50: np.ndarray  # [N, 101] at IoU 0.5 and recalls 0, 0.01, ..., 1; its mean is ap50

    def mean(self, names: Iterable[str]) -> MeanAP:
        """Means over the categories that have ground truth, as pycocotools with `catIds`; NaN if none has.

        Raises:
            InputError: an unknown name.
        """
        indices = class_indices(names, self.classes, "scores")
        return MeanAP(*(mean_of(array[indices]) for array in (self.ap, self.ap50, self.ap75)))


def evaluate(truth: CocoTruth, detections: DetectionArrays, evaluator: str = "hotcoco") -> Scores:
    """COCO's evaluation: IoU .50:.05:.95, the 100 best boxes of an image and category.

    Args:
        evaluator: "hotcoco", or "pycocotools": the reference, with the same numbers, some fifty times slower.

    Raises:
        InputError: an unknown evaluator, or detections that `CocoTruth.validate` refuses. (Without this
            check one evaluator would assert and the other skip them with a warning.)
    """
    if evaluator not in _EVALUATORS:
        raise InputError(f"unknown evaluator '{evaluator}'{nearest(evaluator, _EVALUATORS)}")
    stats, precision = _EVALUATORS[evaluator](truth, truth.coco_results(detections))
    numbers = {name: _nan(value) for name, value in zip(NUMBERS, stats, strict=True)}
    precision = precision[:, :, :, AREA_ALL, MOST_DETECTIONS]  # [T, 101, N]
    absent = precision[0, 0] < 0
    means = precision.mean(axis=1)  # [T, N]
    per_class = (means.mean(axis=0), means[IOU50], means[IOU75], precision[IOU50])  # last [101, N]
    values = (np.where(absent, np.nan, value).T for value in per_class)
    return Scores(truth.classes, numbers, *values)


def _hotcoco(truth: CocoTruth, results: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    run = hotcoco.COCOeval(truth.coco, truth.coco.load_res(results), "bbox")
    run.evaluate()
    run.accumulate()
    run.summary_lines()  # fills `stats` without printing
    assert run.eval is not None
    return np.asarray(run.stats), run.eval["precision"]


def _pycocotools(truth: CocoTruth, results: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = truth.as_coco()
        ground_truth.createIndex()
        if len(results):
            detections = ground_truth.loadRes(results)
        else:  # loadRes reads the type of results from the first
            detections = COCO()
            detections.dataset = {**ground_truth.dataset, "annotations": []}
            detections.createIndex()
        run = COCOeval(ground_truth, detections, "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats, run.eval["precision"]


_EVALUATORS = {"hotcoco": _hotcoco, "pycocotools": _pycocotools}


def _nan(value: float) -> float:
    return float(value) if value > -1 else float("nan")
