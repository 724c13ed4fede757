"""What the rows of `results.json` say: means with 95% intervals, and paired differences.

A row is `{method, data, split, shots, seed, protocol, AP, AP50, bAP50, nAP, nAP50, ...,
adapt_seconds, per_class}`: percent (seconds for `adapt_seconds`), null for what was not measured.
`protocol` is the label space: "all" categories, or "novel" ones only. A row of 0 shots is the
detector before any novel category was registered. Numbers of a data set's own evaluation
(`nAP50_voc07`, `APr`) may be in rows too.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fsdet.errors import InputError
from fsdet.evaluation.intervals import stratified

Row = Mapping[str, Any]
VALUES = ("nAP50", "nAP", "bAP50", "bAP", "AP50", "AP", "adapt_seconds")
OWN = {  # numbers of a data set's own evaluation
    "nAP50_voc07": "nAP50 as VOC 2007 counts it (11 points)",
    "nAP50_voc10": "nAP50 as VOC counts it since 2010 (area under the curve)",
    "bAP50_voc07": "bAP50 as VOC 2007 counts it (11 points)",
    "AP_lvis": "AP as LVIS counts it",
    "APr": "AP of rare categories (LVIS)",
    "APc": "AP of common categories (LVIS)",
    "APf": "AP of frequent categories (LVIS)",
}
BASELINE = "cosine"
PROTOCOLS = {"novel": "novel categories only", "all": "base and novel categories together"}
MEAN = "mean"  # in the place of a shot count: the mean over all of them
_KNOWN_AS = {"cosine": "TFA (cosine)", "maml": "MAML"}  # where the field has another name
_KEYS = ("method", "data", "split", "shots", "seed", "protocol")

_Seed = tuple[str, str, int]  # data, split, seed: what is measured once
_Table = dict[tuple[str, str], dict[int | str, dict[_Seed, float]]]


class Interval(NamedTuple):
    """A mean and the half width of its 95% interval: NaN of one seed; both NaN of none."""

    mean: float
    half: float

    def show(self, digits: int = 1, sign: str = "") -> str:
        """`83.1 ± 0.8`; without an interval `83.1`; of nothing `–`. `sign="+"` shows it always."""
        if math.isnan(self.mean):
            return "–"
        number = f"{self.mean:{sign}.{digits}f}"
        return number if math.isnan(self.half) else f"{number} ± {self.half:.{digits}f}"

    def verdict(self) -> str:
        """Of a difference: "better", "worse", "tie" (zero is inside), "" without an interval."""
        if math.isnan(self.mean) or math.isnan(self.half):
            return ""
        if abs(self.mean) <= self.half:
            return "tie"
        return "better" if self.mean > 0 else "worse"


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Mean and interval over seeds of every (method, protocol, shots), in the order of the rows.

    Of several splits the mean of their means; the interval is of seeds, the splits are what they are.

    Returns:
        `{method, protocol, shots, seeds, nAP50: Interval, nAP: ..., ...}`, a key for each of
        `VALUES` and `OWN`. `shots` rises; after the numbers comes "mean", of every seed's mean over all shot
        counts but 0. `seeds` counts the (data, split, seed) there are. Of two rows of the same
        measurement the later counts.

    Raises:
        InputError: a row without one of the keys that say what it measured.
    """
    tables = {value: _by_seed(rows, value) for value in (*VALUES, *OWN)}
    return [
        {"method": method, "protocol": protocol, "shots": shots, "seeds": len(seeds)}
        | {value: _interval(table[method, protocol][shots]) for value, table in tables.items()}
        for (method, protocol), by_shots in tables[VALUES[0]].items()
        for shots, seeds in by_shots.items()
    ]


def differences(
    rows: Sequence[Row],
    baseline: str = BASELINE,
    value: str = "nAP50",
    confidence: float = 0.95,
) -> list[dict[str, Any]]:
    """What each other method has over the baseline, paired by (data, split, shots, seed).

    Returns:
        `{method, baseline, protocol, shots, seeds, difference: Interval, verdict}`. `shots` is a
        number, or "mean", as in `summary`; what one of the two lacks is left out, and `seeds`
        counts the pairs. `verdict` is "better", "worse" or "tie" (the interval holds zero), "" of
        fewer than two pairs. Empty without the baseline.
    """
    table, found = _by_seed(rows, value), []
    for (method, protocol), by_shots in table.items():
        against = table.get((baseline, protocol), {})
        for shots in by_shots:
            theirs = against.get(shots, {})
            pairs = {
                seed: mine - theirs[seed]
                for seed, mine in by_shots[shots].items()
                if seed in theirs
            }
            pairs = {seed: over for seed, over in pairs.items() if not math.isnan(over)}
            if shots == 0 or method == baseline or not pairs:
                continue
            difference = _interval(pairs, confidence)
            said = {"method": method, "baseline": baseline, "protocol": protocol, "shots": shots}
            said |= {"seeds": len(pairs), "difference": difference, "verdict": difference.verdict()}
            found.append(said)
    return found


def forgetting(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What base categories have gained (or, below zero, lost) in bAP50 since before new ones were learned.

    Before is the method's own row of 0 shots, or where a method has none the baseline's, else the first that
    there is: it started from the same base detector.

    Returns:
        `{method, protocol, shots, difference: Interval}` of protocol "all", as `differences`.
    """
    table, found = _by_seed(rows, "bAP50"), []
    first = {
        method: {seed[:2]: value for seed, value in by.get(0, {}).items()}
        for (method, protocol), by in table.items()
        if protocol == "all"
    }
    for (method, protocol), by_shots in table.items():
        known = first.get(method) or first.get(BASELINE) or next(filter(None, first.values()), {})
        for shots, seeds in by_shots.items():
            lost = {s: v - known[s[:2]] for s, v in seeds.items() if s[:2] in known}
            lost = {seed: value for seed, value in lost.items() if not math.isnan(value)}
            if protocol == "all" and shots != 0 and lost:
                said = {"method": method, "protocol": protocol, "shots": shots}
                found.append(said | {"difference": _interval(lost)})
    return found


def spaces(rows: Sequence[Row]) -> dict[str, str]:
    """The protocols that have something of their own to say, and what they mean.

    Dropping what was taken for a base category changes no novel category's AP: where a head answers for
    all categories at once, both label spaces have the same nAP50, and it is shown once.
    """
    table = _by_seed(rows, "nAP50")
    alone = [method for method, protocol in table if protocol == "novel"]
    same = all(_scored(table[m, "novel"]) == _scored(table.get((m, "all"), {})) for m in alone)
    if not alone or not same:
        return PROTOCOLS
    return {"all": f"{PROTOCOLS['all']} (the same with {PROTOCOLS['novel']})"}


def _scored(
    by_shots: Mapping[int | str, dict[_Seed, float]],
) -> dict[int | str, dict[_Seed, float]]:
    return {shots: seeds for shots, seeds in by_shots.items() if shots != 0}


def known_as(method: str) -> str:
    """A method's name as the field says it."""
    return _KNOWN_AS.get(method, method)


def subject(rows: Sequence[Row], baseline: str = BASELINE) -> str | None:
    """The method that a report is about: the first that is scored and not the baseline, if any."""
    methods = [row["method"] for row in rows if row["shots"]]
    return next((m for m in methods if m != baseline), methods[0] if methods else None)


def headline_shots(rows: Sequence[Row], method: str | None, protocol: str) -> int | None:
    """The shot count that is told in words: 5, or the middle one; None if nothing was scored."""
    groups = (g for g in summary(rows) if (g["method"], g["protocol"]) == (method, protocol))
    counts = [g["shots"] for g in groups if g["shots"] not in (0, MEAN) and g["nAP50"].mean >= 0]
    if not counts:
        return None
    return 5 if 5 in counts else counts[len(counts) // 2]


def novel_names(rows: Sequence[Row]) -> set[str]:
    """The novel categories: those that rows of the novel-only label space name in `per_class`."""
    return {n for row in rows if row["protocol"] == "novel" for n in row.get("per_class") or {}}


def before(rows: Sequence[Row]) -> tuple[str, Interval]:
    """Whose rows of 0 shots, the subject's or else the first there are, and base AP50 in them."""
    table = {
        method: by.get(0, {})
        for (method, protocol), by in _by_seed(rows, "bAP50").items()
        if protocol == "all"
    }
    first = next((method for method, seeds in table.items() if seeds), "")
    mine = subject(rows) or ""
    method = mine if table.get(mine) else first
    return method, _interval(table.get(method, {}))


def _interval(seeds: Mapping[_Seed, float], confidence: float = 0.95) -> Interval:
    """Over the seeds of each split; splits count alike."""
    splits: dict[tuple[str, str], list[float]] = {}
    for (data, split, _), value in seeds.items():
        splits.setdefault((data, split), []).append(value)
    return Interval(*stratified(list(splits.values()), confidence))


def _by_seed(rows: Sequence[Row], value: str) -> _Table:
    """(method, protocol) -> shots -> (data, split, seed) -> value; NaN for null."""
    table: _Table = {}
    for number, row in enumerate(rows):
        for key in _KEYS:
            if key not in row:
                raise InputError(f"results, row {number}: expected '{key}' beside {sorted(row)}")
        by_shots = table.setdefault((row["method"], row["protocol"]), {})
        seeds = by_shots.setdefault(int(row["shots"]), {})
        measured = row.get(value)
        seeds[row["data"], row["split"], row["seed"]] = (
            math.nan if measured is None else float(measured)
        )
    return {key: _with_mean(dict(sorted(by_shots.items()))) for key, by_shots in table.items()}


def _with_mean(
    by_shots: dict[int | str, dict[_Seed, float]],
) -> dict[int | str, dict[_Seed, float]]:
    """With every seed's mean over the shot counts, where it has them all."""
    counts = [seeds for shots, seeds in by_shots.items() if shots != 0]
    whole = [seed for seed in (counts[0] if counts else ()) if all(seed in c for c in counts)]
    mean = {seed: sum(c[seed] for c in counts) / len(counts) for seed in whole}
    return by_shots | ({MEAN: mean} if mean else {})
