"""Statistics of `results.json`: means with 95% intervals over seeds, and paired differences."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from fsdet.evaluation.intervals import stratified
from fsdet.report.rows import (
    BASELINE,
    DATASET_METRICS,
    METRICS,
    Measured,
    Measurement,
    Row,
    Shots,
    main_method,
    shot_counts,
    values_by_method,
)


class Interval(NamedTuple):
    """A mean and the half width of its 95% interval; NaN where there are too few values."""

    mean: float  # NaN without any value
    half: float  # NaN with one value or none

    @property
    def is_measured(self) -> bool:
        """Whether there is a mean."""
        return not math.isnan(self.mean)

    def show(self, digits: int = 1, sign: str = "") -> str:
        """`83.1 ± 0.8`; `83.1` without an interval; `–` without a mean.

        Args:
            digits: after the decimal point.
            sign: "+" shows the sign of positive means too.
        """
        if not self.is_measured:
            return "–"
        number = f"{self.mean:{sign}.{digits}f}"
        return number if math.isnan(self.half) else f"{number} ± {self.half:.{digits}f}"

    def verdict(self) -> str:
        """Of a difference: "better", "worse", or "tie" if the interval contains zero; "" without one."""
        if math.isnan(self.half):
            return ""
        if abs(self.mean) <= self.half:
            return "tie"
        return "better" if self.mean > 0 else "worse"


class Summary(NamedTuple):
    """Metrics of a method at a shot count, over seeds."""

    method: str
    protocol: str
    shots: Shots
    seeds: int  # number of (data, split, seed)
    metrics: dict[str, Interval]  # one of each of `METRICS` and `DATASET_METRICS`


class Difference(NamedTuple):
    """A paired difference of a method at a shot count, over seeds."""

    method: str
    protocol: str
    shots: Shots
    seeds: int  # number of pairs
    interval: Interval


_Group = TypeVar("_Group", Summary, Difference)


def summary(rows: Sequence[Row]) -> list[Summary]:
    """Mean and 95% interval over seeds for every (method, protocol, shots), in the order of the rows.

    Over several splits: the mean of the splits' means, with the interval of the seeds within splits.
    After the shot counts of a method, in rising order, comes "mean": each seed's mean over all shot
    counts but 0.

    Raises:
        InputError: a row lacks one of the keys that identify the measurement.
    """
    tables = {metric: values_by_method(rows, metric) for metric in (*METRICS, *DATASET_METRICS)}
    return [
        Summary(
            method,
            protocol,
            shots,
            len(values),
            {metric: _interval(table[method, protocol][shots]) for metric, table in tables.items()},
        )
        for (method, protocol), by_shots in tables[METRICS[0]].items()
        for shots, values in by_shots.items()
    ]


def by_shots(groups: Iterable[_Group], method: str | None, protocol: str) -> dict[Shots, _Group]:
    """The groups of one method and protocol, by shots."""
    return {g.shots: g for g in groups if (g.method, g.protocol) == (method, protocol)}


def paired_differences(
    rows: Sequence[Row], baseline: str = BASELINE, metric: str = "nAP50", confidence: float = 0.95
) -> list[Difference]:
    """Paired difference of each method to the baseline: method minus baseline on the same seed.

    Pairs have the same data, split, shots and seed. A seed that one of the two lacks is left out, and
    so is a shot count without a pair.

    Args:
        metric: one of `METRICS`.
        confidence: of the interval.
    """
    table = values_by_method(rows, metric)
    return [
        difference
        for (method, protocol), values in table.items()
        if method != baseline
        for difference in _differences(
            method, protocol, values, table.get((baseline, protocol), {}), confidence
        )
    ]


def base_changes(rows: Sequence[Row]) -> list[Difference]:
    """Change of base categories' bAP50 by registering novel ones (protocol "all"); below zero: forgotten.

    The reference is the method's own row of 0 shots. Without one it is the baseline's, or the first
    in the rows: all methods started from the same base detector.
    """
    table = _base_ap50(rows)
    references = {
        method: {key[:2]: value for key, value in by_shots.get(0, {}).items()}
        for method, by_shots in table.items()
    }
    first = next(filter(None, references.values()), {})
    changes: list[Difference] = []
    for method, by_shots in table.items():
        reference = references[method] or references.get(BASELINE) or first
        before = {
            shots: {key: reference[key[:2]] for key in values if key[:2] in reference}
            for shots, values in by_shots.items()
        }
        changes += _differences(method, "all", by_shots, before)
    return changes


def base_before_registration(rows: Sequence[Row]) -> tuple[str, Interval]:
    """bAP50 before any novel category was registered, and the method of the rows it comes from.

    The main method's rows of 0 shots, or the first in the rows if it has none.
    """
    table = {method: by_shots.get(0, {}) for method, by_shots in _base_ap50(rows).items()}
    first = next((method for method, values in table.items() if values), "")
    main = main_method(rows) or ""
    method = main if table.get(main) else first
    return method, _interval(table.get(method, {}))


def headline_shots(rows: Sequence[Row], method: str | None, protocol: str) -> int | None:
    """The shot count of the headline: 5, or the middle one; None if nothing was scored."""
    groups = by_shots(summary(rows), method, protocol)
    measured = [shots for shots, group in groups.items() if group.metrics["nAP50"].is_measured]
    counts = [shots for shots in shot_counts(measured) if shots != 0]
    return 5 if 5 in counts else counts[len(counts) // 2] if counts else None


def _base_ap50(rows: Sequence[Row]) -> dict[str, Measured]:
    """bAP50 by method, of the protocol "all"."""
    table = values_by_method(rows, "bAP50")
    return {method: values for (method, protocol), values in table.items() if protocol == "all"}


def _differences(
    method: str, protocol: str, values: Measured, reference: Measured, confidence: float = 0.95
) -> Iterator[Difference]:
    """Values minus reference at every shot count but 0, of the seeds that have both."""
    for shots, by_seed in values.items():
        before = reference.get(shots, {})
        pairs = {seed: by_seed[seed] - before[seed] for seed in by_seed if seed in before}
        pairs = {seed: pair for seed, pair in pairs.items() if not math.isnan(pair)}
        if shots != 0 and pairs:
            interval = _interval(pairs, confidence)
            yield Difference(method, protocol, shots, len(pairs), interval)


def _interval(values: Mapping[Measurement, float], confidence: float = 0.95) -> Interval:
    """Over the seeds of each split; every split has the same weight."""
    splits: dict[tuple[str, str], list[float]] = {}
    for (data, split, _), value in values.items():
        splits.setdefault((data, split), []).append(value)
    return Interval(*stratified(list(splits.values()), confidence))
