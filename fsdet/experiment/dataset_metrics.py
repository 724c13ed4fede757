"""Dataset metrics: numbers of a data set's own evaluation, beside COCO's, for the rows of an experiment."""

from collections.abc import Callable, Sequence
from typing import Any

from fsdet.data.labels import class_indices
from fsdet.evaluation.coco import CocoTruth
from fsdet.evaluation.detections import DetectionArrays
from fsdet.evaluation.ground_truth import mean_of
from fsdet.evaluation.lvis import lvis_ap
from fsdet.evaluation.voc import printed_ap50

Names = Sequence[str]
DatasetMetrics = Callable[[Names, Names, Names], dict[str, Any]]
"""Metrics in percent from the names of all categories of a row, its base ones and its novel ones."""


def dataset_metrics(detections: DetectionArrays, truth: CocoTruth, layout: str) -> DatasetMetrics:
    """Metrics of detections, as the test data set defines its evaluation.

    LVIS: `AP_lvis`, `APr`, `APc`, `APf`: AP of all, rare, common and frequent categories. VOC layout:
    `AP50_voc07`, `bAP50_voc07`, `nAP50_voc07`: 11-point AP50 as in papers on VOC 2007; and `AP50_voc10` and so
    on: area under the curve, as in VOC since 2010. Other data: none.

    Args:
        layout: as in `DetectionData`.
    """
    if truth.frequency:
        return _lvis(detections, truth)
    if layout == "VOC":
        return _voc(detections, truth)
    return lambda reported, base, novel: {}


def _lvis(detections: DetectionArrays, truth: CocoTruth) -> DatasetMetrics:
    scores = lvis_ap(truth, detections)

    def metrics(reported: Names, base: Names, novel: Names) -> dict[str, Any]:
        ap, *by_frequency = (100 * value for value in scores.mean(reported))
        return {"AP_lvis": ap} | dict(zip(("APr", "APc", "APf"), by_frequency, strict=True))

    return metrics


def _voc(detections: DetectionArrays, truth: CocoTruth) -> DatasetMetrics:
    ap50 = {
        year: printed_ap50(truth, detections, points)
        for year, points in (("07", "11"), ("10", "area"))
    }

    def metrics(reported: Names, base: Names, novel: Names) -> dict[str, Any]:
        return {
            f"{prefix}AP50_voc{year}": 100
            * mean_of(ap[class_indices(names, truth.classes, "scores")])
            for year, ap in ap50.items()
            for prefix, names in (("", reported), ("b", base), ("n", novel))
        }

    return metrics
