"""Figures of a report: curves over shots, precision and recall, losses, and bars per category."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from fsdet.evaluation.intervals import mean_interval
from fsdet.report.drawing import NOVEL as NOVEL_MARK
from fsdet.report.rows import MEAN, Row, display_name, reported_protocols, shot_counts
from fsdet.report.statistics import by_shots, summary
from fsdet.report.svg import (
    DASHES,
    FAINT,
    INK,
    MARKERS,
    SERIES,
    LineEnd,
    name_line_ends,
    panel,
    shorten,
    style,
)

BASE, NOVEL = SERIES[0], SERIES[1]
_POINTS = 200  # drawn of a loss curve
_MOST_BARS = 60


def shot_curves(rows: Sequence[Row], metric: str = "nAP50") -> dict[str, Figure]:
    """A metric against shots: a figure per protocol, a line per method, bands of 95% intervals.

    Returns:
        protocol -> figure, of the protocols that were measured.
    """
    groups = [
        group
        for group in summary(rows)
        if group.shots not in (0, MEAN) and group.metrics[metric].is_measured
    ]
    methods = list(dict.fromkeys(group.method for group in groups))
    ticks = sorted({*shot_counts(group.shots for group in groups)})
    figures = {}
    for protocol in reported_protocols(rows):
        if all(group.protocol != protocol for group in groups):
            continue
        with style():
            figures[protocol], axes = panel(right=0.73)
            ends: list[LineEnd] = []
            for index, method in enumerate(methods):
                curve = by_shots(groups, method, protocol)
                if not curve:
                    continue
                shots = shot_counts(curve)
                mean, half = np.array([group.metrics[metric] for group in curve.values()]).T
                colour = SERIES[index % len(SERIES)]
                marker = MARKERS[index % len(MARKERS)]
                axes.plot(shots, mean, color=colour, marker=marker, markersize=5, linewidth=1.8)
                axes.fill_between(shots, mean - half, mean + half, color=colour, alpha=0.18, lw=0)
                ends.append(LineEnd(float(mean[-1]), display_name(method), colour))
            _label_shots(axes, ticks)
            axes.set_title(metric)
            name_line_ends(axes, ends)
    return figures


def _label_shots(axes: Axes, ticks: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(ticks[0] / 1.12, ticks[-1] * 1.12)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(tick) for tick in ticks])
    axes.set_xlabel("shots (annotated boxes of each novel category)")


def precision_recall(precision: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """Precision against recall: a small figure per category, highest AP50 first; in grey the mean of all.

    Args:
        precision: category -> [S, 101] of S seeds, 0..1 at recalls 0, 0.01, ..., 1. A category with
            NaN has no figure.
    """
    means = {name: np.mean(curves, axis=0) for name, curves in precision.items()}
    measured = [name for name, mean in means.items() if np.isfinite(mean).all()]
    recall, figures = np.linspace(0, 100, 101), {}
    for name in sorted(measured, key=lambda name: -means[name].mean()):
        with style(**{"axes.grid.axis": "both"}):
            figure = Figure(figsize=(2.3, 2.0))
            axes = figure.add_axes((0.2, 0.22, 0.74, 0.74))
            axes.plot(recall, 100 * np.mean([means[n] for n in measured], 0), color=FAINT, lw=1)
            mean, half = 100 * np.array([mean_interval(column) for column in precision[name].T]).T
            low, high = (np.clip(mean + sign * np.nan_to_num(half), 0, 100) for sign in (-1, 1))
            axes.fill_between(recall, low, high, color=NOVEL, alpha=0.2, lw=0)
            axes.plot(recall, mean, color=NOVEL, linewidth=1.8)
            axes.set(xlim=(0, 101), ylim=(0, 103), xticks=(0, 50, 100), yticks=(0, 50, 100))
            axes.set_xlabel("recall, %", labelpad=1)
            axes.set_ylabel("precision, %", labelpad=-4)
            figures[name] = figure
    return figures


def loss_curves(records: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Loss curves: a figure per stage; each loss raw (thin) and smoothed (thick).

    Args:
        records: `{step, stage, name: value, ...}` in the order of training.
    """
    stages: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for record in records:
        losses = stages.setdefault(str(record["stage"]), {})
        for name, value in record.items():
            if name not in ("step", "stage") and value is not None and math.isfinite(value):
                losses.setdefault(name, []).append((record["step"], value))
    # A loss keeps its colour from stage to stage; the total comes first.
    names = dict.fromkeys(name for losses in stages.values() for name in losses)
    order = sorted(names, key="loss".__ne__)
    return {stage: _loss_figure(losses, order) for stage, losses in stages.items()}


def _loss_figure(losses: Mapping[str, list[tuple[float, float]]], order: Sequence[str]) -> Figure:
    """The losses of one stage; `order` of all losses gives colours and dashes."""
    with style():
        figure, axes = panel(right=0.68)
        ends: list[LineEnd] = []
        low = high = 0.0
        for name, points in losses.items():
            steps, raw = np.array(points, dtype=float).T
            smooth = smoothed(raw, max(len(raw) // 25, 1))
            keep = np.unique(np.linspace(0, len(raw) - 1, _POINTS).astype(int))
            colour = SERIES[order.index(name) % len(SERIES)]
            dash = DASHES[order.index(name) % len(DASHES)]
            axes.plot(steps[keep], raw[keep], color=colour, alpha=0.28, linewidth=0.7)
            axes.plot(steps[keep], smooth[keep], color=colour, linestyle=dash, linewidth=1.8)
            label = "total" if name == "loss" else name.removeprefix("loss_")
            ends.append(LineEnd(float(smooth[-1]), label, colour))
            low, high = min(low, float(raw.min())), max(high, float(smooth.max()))
        # The first steps of some losses are a hundred times the rest: the smoothed ones set the range.
        axes.set_ylim(low, high * 1.12 if high > low else low + 1)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_title("loss")
        name_line_ends(axes, ends)
    return figure


def category_bars(
    rows: Sequence[Row], method: str, shots: int, novel: Collection[str], protocol: str = "all"
) -> Figure | None:
    """AP50 of every category, mean and 95% interval over seeds: novel ones first, highest first.

    Sorted by the mean over all methods, so that figures of two methods have the same order. Of more
    than 60 categories the novel and the lowest base ones are drawn.

    Returns:
        The figure, or None if no row of this method, shots and protocol has `per_class`.
    """
    means = _per_class([row for row in rows if row["method"] == method], shots, protocol)
    if not means:
        return None
    overall = _per_class(rows, shots, protocol)
    ranked = sorted(means, key=lambda name: (name not in novel, -overall[name][0]))
    num_novel = min(sum(name in novel for name in ranked), _MOST_BARS - 1)
    shown = ranked[:num_novel] + ranked[num_novel:][-(_MOST_BARS - num_novel) :]
    with style(**{"axes.grid.axis": "x", "axes.spines.bottom": False}):
        height = 0.75 + 0.235 * len(shown)
        figure = Figure(figsize=(4.6, height))
        axes = figure.add_axes((0.37, 0.4 / height, 0.55, 1 - 0.75 / height))
        mean, half = np.array([means[name] for name in shown]).T
        colours = [NOVEL if name in novel else BASE for name in shown]
        axes.barh(range(len(shown)), mean, color=colours, height=0.68)
        error = np.nan_to_num(half)
        axes.errorbar(
            mean, range(len(shown)), xerr=error, fmt="none", ecolor=INK, elinewidth=1, capsize=0
        )
        for index, value in enumerate(mean):
            axes.text(104, index, f"{value:.0f}", va="center", color=FAINT, fontsize=9)
        names = [NOVEL_MARK * (name in novel) + shorten(name, 18) for name in shown]
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
    """Moving average [T] -> [T]: each value with up to `reach` values before and after it."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    first, last = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    return (total[last] - total[first]) / (last - first)
