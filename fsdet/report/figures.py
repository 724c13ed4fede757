"""The curves and bars of a report; every function returns matplotlib figures."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from fsdet.evaluation.intervals import mean_interval
from fsdet.report.statistics import MEAN, Row, known_as, spaces, summary
from fsdet.report.svg import (
    DASHES,
    FAINT,
    INK,
    MARKERS,
    SERIES,
    End,
    name_ends,
    one_line,
    panel,
    style,
)

BASE, NOVEL = SERIES[0], SERIES[1]
_POINTS = 200  # of a loss curve: as many as a picture shows
_MOST_BARS = 60


def curves(rows: Sequence[Row], value: str = "nAP50") -> dict[str, Figure]:
    """A value against shots: a figure a protocol, a line a method, bands of 95%.

    Returns:
        protocol -> figure, of the protocols that were measured.
    """
    groups = [g for g in summary(rows) if g["shots"] not in (0, MEAN) and g[value].mean >= 0]
    methods = list(dict.fromkeys(group["method"] for group in groups))
    figures = {}
    measured = {group["protocol"] for group in groups}
    for protocol in filter(measured.__contains__, spaces(rows)):
        with style():
            figures[protocol], axes = panel(right=0.73)
            ends: list[End] = []
            for number, method in enumerate(methods):
                mine = [g for g in groups if (g["method"], g["protocol"]) == (method, protocol)]
                if not mine:
                    continue
                shots = [g["shots"] for g in mine]
                mean, half = np.array([g[value] for g in mine]).T
                colour = SERIES[number % len(SERIES)]
                marker = MARKERS[number % len(MARKERS)]
                axes.plot(shots, mean, color=colour, marker=marker, markersize=5, linewidth=1.8)
                axes.fill_between(shots, mean - half, mean + half, color=colour, alpha=0.18, lw=0)
                ends.append(End(float(mean[-1]), known_as(method), colour))
            ticks = sorted({g["shots"] for g in groups})
            axes.set_xscale("log")
            axes.set_xlim(ticks[0] / 1.12, ticks[-1] * 1.12)
            axes.xaxis.set_major_locator(FixedLocator(ticks))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xticklabels([str(tick) for tick in ticks])
            axes.set_xlabel("shots (annotated boxes of each novel category)")
            axes.set_title(value)
            name_ends(axes, ends)
    return figures


def precision_recall(precision: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """Precision against recall: a small figure a category, the best first; grey is the mean of all.

    Args:
        precision: category -> [S, 101] of S seeds, 0..1 at recalls 0, 0.01, ..., 1; NaN is left out.
    """
    means = {name: np.mean(lines, axis=0) for name, lines in precision.items()}
    known = [name for name, line in means.items() if np.isfinite(line).all()]
    recall, figures = np.linspace(0, 100, 101), {}
    for name in sorted(known, key=lambda name: -means[name].mean()):
        with style(**{"axes.grid.axis": "both"}):
            figure = Figure(figsize=(2.3, 2.0))
            axes = figure.add_axes((0.2, 0.22, 0.74, 0.74))
            axes.plot(recall, 100 * np.mean([means[n] for n in known], 0), color=FAINT, lw=1)
            mean, half = 100 * np.array([mean_interval(at) for at in precision[name].T]).T
            low, high = (np.clip(mean + sign * np.nan_to_num(half), 0, 100) for sign in (-1, 1))
            axes.fill_between(recall, low, high, color=NOVEL, alpha=0.2, lw=0)
            axes.plot(recall, mean, color=NOVEL, linewidth=1.8)
            axes.set(xlim=(0, 101), ylim=(0, 103), xticks=(0, 50, 100), yticks=(0, 50, 100))
            axes.set_xlabel("recall, %", labelpad=1)
            axes.set_ylabel("precision, %", labelpad=-4)
            figures[name] = figure
    return figures


def losses(records: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Loss curves: a figure a stage, each loss as it was (thin) and smoothed (thick).

    Args:
        records: `{step, stage, name: value, ...}` in the order of training.
    """
    stages: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for record in records:
        names = stages.setdefault(str(record["stage"]), {})
        for name, value in record.items():
            if name not in ("step", "stage") and value is not None and math.isfinite(value):
                names.setdefault(name, []).append((record["step"], value))
    # A loss keeps its colour from stage to stage; the total comes first.
    order = sorted(dict.fromkeys(n for names in stages.values() for n in names), key="loss".__ne__)
    figures = {}
    for stage, names in stages.items():
        with style():
            figures[stage], axes = panel(right=0.68)
            ends: list[End] = []
            low = high = 0.0
            for name, points in names.items():
                steps, raw = np.array(points, dtype=float).T
                smooth = smoothed(raw, max(len(raw) // 25, 1))
                keep = np.unique(np.linspace(0, len(raw) - 1, _POINTS).astype(int))
                colour = SERIES[order.index(name) % len(SERIES)]
                dash = DASHES[order.index(name) % len(DASHES)]
                axes.plot(steps[keep], raw[keep], color=colour, alpha=0.28, linewidth=0.7)
                axes.plot(steps[keep], smooth[keep], color=colour, linestyle=dash, linewidth=1.8)
                known = "total" if name == "loss" else name.removeprefix("loss_")
                ends.append(End(float(smooth[-1]), known, colour))
                low, high = min(low, float(raw.min())), max(high, float(smooth.max()))
            # The first steps of some losses are a hundred times the rest: what is smoothed decides.
            axes.set_ylim(low, high * 1.12 if high > low else low + 1)
            axes.set_xlabel("step")
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.set_title("loss")
            name_ends(axes, ends)
    return figures


def bars(
    rows: Sequence[Row], method: str, shots: int, novel: Collection[str], protocol: str = "all"
) -> Figure | None:
    """AP50 of every category, mean and 95% interval over seeds: novel ones first, best first.

    Best of all methods together, so that two methods' figures can be read side by side. Of more
    than 60 categories the novel and the worst base ones are drawn.

    Returns:
        The figure, or None if no row of this method, shots and protocol says `per_class`.
    """
    scored = _per_class([row for row in rows if row["method"] == method], shots, protocol)
    if not scored:
        return None
    overall = _per_class(rows, shots, protocol)
    ranked = sorted(scored, key=lambda name: (name not in novel, -overall[name][0]))
    first = min(sum(name in novel for name in ranked), _MOST_BARS - 1)
    shown = ranked[:first] + ranked[first:][-(_MOST_BARS - first) :]
    with style(**{"axes.grid.axis": "x", "axes.spines.bottom": False}):
        height = 0.75 + 0.235 * len(shown)
        figure = Figure(figsize=(4.6, height))
        axes = figure.add_axes((0.37, 0.4 / height, 0.55, 1 - 0.75 / height))
        mean, half = np.array([scored[name] for name in shown]).T
        colours = [NOVEL if name in novel else BASE for name in shown]
        axes.barh(range(len(shown)), mean, color=colours, height=0.68)
        whiskers = {"ecolor": INK, "elinewidth": 1, "capsize": 0}
        axes.errorbar(mean, range(len(shown)), xerr=np.nan_to_num(half), fmt="none", **whiskers)
        for place, value in enumerate(mean):
            axes.text(104, place, f"{value:.0f}", va="center", color=FAINT, fontsize=9)
        names = [("★ " if name in novel else "") + one_line(name, 18) for name in shown]
        axes.set_yticks(range(len(shown)), names)
        for label, colour in zip(axes.get_yticklabels(), colours, strict=True):
            label.set_color(colour)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_title("AP50")
    return figure


def _per_class(rows: Sequence[Row], shots: int, protocol: str) -> dict[str, tuple[float, float]]:
    """Category -> mean and half width of AP50 over all rows of this protocol and shot count."""
    measured: dict[str, list[float]] = {}
    for row in rows:
        if (row["shots"], row["protocol"]) == (shots, protocol):
            for name, value in (row.get("per_class") or {}).items():
                if value is not None and math.isfinite(value):
                    measured.setdefault(name, []).append(value)
    return {name: mean_interval(values) for name, values in measured.items()}


def smoothed(values: np.ndarray, reach: int) -> np.ndarray:
    """[T] -> [T]: the mean of up to `reach` values before and after each."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    first, last = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    return (total[last] - total[first]) / (last - first)
