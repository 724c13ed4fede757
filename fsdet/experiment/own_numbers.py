"""What the evaluation that belongs to a data set says beside COCO's, for the rows of an experiment."""

from collections.abc import Callable, Sequence
from typing import Any

from fsdet.engine.evaluate import columns
from fsdet.engine.lvis_metrics import lvis_ap
from fsdet.engine.metrics import CocoTruth
from fsdet.postprocess import Found

Names = Sequence[str]
Numbers = Callable[[Names, Names, Names], dict[str, Any]]
"""Numbers in percent, of all categories of a row, its base ones and its novel ones."""


def own_numbers(found: Found, truth: CocoTruth) -> Numbers:
    """Of LVIS `AP_lvis`, `APr`, `APc`, `APf`: its own AP, of rare, common and frequent categories.

    Of other data nothing.
    """
    if not truth.frequency:
        return lambda every, base, novel: {}
    lvis = lvis_ap(truth, *columns(found))

    def of_lvis(every: Names, base: Names, novel: Names) -> dict[str, Any]:
        values = lvis.mean(every)
        return {"AP_lvis": 100 * values.AP} | {
            name: 100 * value for name, value in values._asdict().items() if name != "AP"
        }

    return of_lvis
