"""Rows of `results.json`: their columns, and the names that reports give to methods and protocols.

A row is `{method, data, split, shots, seed, protocol, AP, AP50, bAP50, nAP, nAP50, ...,
adapt_seconds, per_class}`: percent (seconds for `adapt_seconds`), null where nothing was measured.
`protocol` is the label space: "all" categories, or "novel" ones only. A row of 0 shots is the
detector before any novel category was registered. Metrics of a data set's own evaluation
(`nAP50_voc07`, `APr`) may be in rows too.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from fsdet.errors import InputError

Row = Mapping[str, Any]
Shots = int | Literal["mean"]
Measurement = tuple[str, str, int]  # data, split, seed
Measured = dict[Shots, dict[Measurement, float]]

METRICS = ("nAP50", "nAP", "bAP50", "bAP", "AP50", "AP", "adapt_seconds")
DATASET_METRICS = {  # of a data set's own evaluation
    "nAP50_voc07": "nAP50 by the VOC 2007 protocol (11-point interpolation)",
    "nAP50_voc10": "nAP50 by the VOC 2010 protocol (area under the curve)",
    "bAP50_voc07": "bAP50 by the VOC 2007 protocol (11-point interpolation)",
    "AP_lvis": "AP of all categories (LVIS)",
    "APr": "AP of rare categories (LVIS)",
    "APc": "AP of common categories (LVIS)",
    "APf": "AP of frequent categories (LVIS)",
}
BASELINE = "cosine"
PROTOCOLS = {"novel": "novel categories only", "all": "base and novel categories together"}
MEAN: Literal["mean"] = "mean"  # in place of a shot count: the mean over all shot counts but 0
_KEYS = ("method", "data", "split", "shots", "seed", "protocol")
_DISPLAY_NAMES = {"cosine": "TFA (cosine)", "maml": "MAML"}


def values_by_method(rows: Sequence[Row], metric: str) -> dict[tuple[str, str], Measured]:
    """(method, protocol) -> shots -> (data, split, seed) -> value; NaN for null.

    Shot counts rise; "mean" comes last, of the seeds that have every shot count. Of two rows of the
    same measurement the later counts.

    Raises:
        InputError: a row lacks one of the keys that identify the measurement.
    """
    table: dict[tuple[str, str], Measured] = {}
    for index, row in enumerate(rows):
        for key in _KEYS:
            if key not in row:
                raise InputError(f"results, row {index}: expected '{key}' beside {sorted(row)}")
        by_shots = table.setdefault((row["method"], row["protocol"]), {})
        values = by_shots.setdefault(int(row["shots"]), {})
        value = row.get(metric)
        values[row["data"], row["split"], row["seed"]] = math.nan if value is None else float(value)
    return {key: _with_mean(by_shots) for key, by_shots in table.items()}


def _with_mean(by_shots: Measured) -> Measured:
    by_shots = {shots: by_shots[shots] for shots in sorted(shot_counts(by_shots))}
    counts = [values for shots, values in by_shots.items() if shots != 0]
    complete = [key for key in (counts[0] if counts else ()) if all(key in c for c in counts)]
    mean = {key: sum(values[key] for values in counts) / len(counts) for key in complete}
    return by_shots | ({MEAN: mean} if mean else {})


def shot_counts(columns: Iterable[Shots]) -> list[int]:
    """The shot counts among columns that may hold "mean"."""
    return [column for column in columns if column != MEAN]


def reported_protocols(rows: Sequence[Row]) -> dict[str, str]:
    """The protocols that a report shows, and their descriptions.

    Where a head scores all categories at once, leaving out base detections changes no AP of a novel
    category: both protocols have the same nAP50, and only "all" is shown.
    """
    table = values_by_method([row for row in rows if row["shots"]], "nAP50")
    novel_only = [method for method, protocol in table if protocol == "novel"]
    same = all(table[method, "novel"] == table.get((method, "all"), {}) for method in novel_only)
    if not novel_only or not same:
        return PROTOCOLS
    return {"all": f"{PROTOCOLS['all']} (the same with {PROTOCOLS['novel']})"}


def display_name(method: str) -> str:
    """The name of a method in the literature."""
    return _DISPLAY_NAMES.get(method, method)


def main_method(rows: Sequence[Row], baseline: str = BASELINE) -> str | None:
    """The method that a report is about: the first with scores other than the baseline, if any."""
    methods = [row["method"] for row in rows if row["shots"]]
    return next((m for m in methods if m != baseline), methods[0] if methods else None)


def novel_classes(rows: Sequence[Row]) -> set[str]:
    """The novel categories: those in `per_class` of rows of the novel-only protocol."""
    return {n for row in rows if row["protocol"] == "novel" for n in row.get("per_class") or {}}
