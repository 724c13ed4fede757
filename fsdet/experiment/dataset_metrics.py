"""What the evaluation that belongs to a data set says beside COCO's, for the rows of an experiment."""

from collections.abc import Callable, Sequence
from typing import Any

from fsdet.evaluation.candidates import columns
from fsdet.evaluation.coco import CocoTruth
from fsdet.evaluation.ground_truth import mean_of, positions
from fsdet.evaluation.lvis import lvis_ap
from fsdet.evaluation.voc import printed_ap50
from fsdet.model.postprocess import Found

Names = Sequence[str]
Numbers = Callable[[Names, Names, Names], dict[str, Any]]
"""Numbers in percent, of all categories of a row, its base ones and its novel ones."""


def own_numbers(found: Found, truth: CocoTruth, layout: str) -> Numbers:
    """Numbers of detections by the evaluation of the test data, whose `layout` is as `DetectionData` has it.

    Of LVIS `AP_lvis`, `APr`, `APc`, `APf`: its own AP, of rare, common and frequent categories. Of data in
    VOC's layout `AP50_voc07`, `bAP50_voc07`, `nAP50_voc07`: AP50 as papers on VOC 2007 print it, at eleven
    points; and `AP50_voc10` and so on: under the whole curve, as VOC counts since 2010. Of other data nothing.
    """
    if truth.frequency:
        return _lvis(found, truth)
    if layout == "VOC":
        return _voc(found, truth)
    return lambda every, base, novel: {}


def _lvis(found: Found, truth: CocoTruth) -> Numbers:
    scores = lvis_ap(truth, *columns(found))

    def numbers(every: Names, base: Names, novel: Names) -> dict[str, Any]:
        ap, *by_frequency = (100 * value for value in scores.mean(every))
        return {"AP_lvis": ap} | dict(zip(("APr", "APc", "APf"), by_frequency, strict=True))

    return numbers


def _voc(found: Found, truth: CocoTruth) -> Numbers:
    ap50 = {
        year: printed_ap50(truth, *columns(found), points)
        for year, points in (("07", "11"), ("10", "area"))
    }

    def numbers(every: Names, base: Names, novel: Names) -> dict[str, Any]:
        return {
            f"{prefix}AP50_voc{year}": 100 * mean_of(ap[positions(names, truth.classes, "scores")])
            for year, ap in ap50.items()
            for prefix, names in (("", every), ("b", base), ("n", novel))
        }

    return numbers
