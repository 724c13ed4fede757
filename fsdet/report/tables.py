"""Tables of a report: as text for the terminal, in Markdown, and as values for the page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from fsdet.report.rows import (
    BASELINE,
    DATASET_METRICS,
    MEAN,
    PROTOCOLS,
    Row,
    Shots,
    display_name,
    reported_protocols,
    shot_counts,
)
from fsdet.report.sentences import interval_note, shots_label
from fsdet.report.statistics import (
    Difference,
    Interval,
    Summary,
    base_before_registration,
    base_changes,
    by_shots,
    paired_differences,
    summary,
)

NOTHING = "nothing was scored"
MARKS = {"better": "▲", "worse": "▼", "tie": "="}  # of verdicts
_WIDTH, _CELL = 100, 13
_MISSING = Interval(float("nan"), float("nan"))


class Line(NamedTuple):
    """A line of a grid: a method, or its difference to something."""

    label: str
    cells: list[Interval]
    is_difference: bool


class Grid(NamedTuple):
    """One metric under one protocol: a line per method, a column per shot count."""

    title: str
    columns: list[str]
    lines: list[Line]
    digits: int  # after the decimal point

    def show(self, cell: Interval, line: Line) -> str:
        """The text of a cell."""
        return cell.show(self.digits, "+" if line.is_difference else "")


def grids(rows: Sequence[Row], baseline: str = BASELINE) -> Iterator[Grid]:
    """nAP50 and nAP of each protocol with differences to the baseline; metrics of the data set's own
    evaluation; bAP50 after registering with its change; seconds to adapt."""
    summaries, protocols = summary(rows), reported_protocols(rows)
    for metric in ("nAP50", "nAP"):
        versus = {f"vs {display_name(baseline)}": paired_differences(rows, baseline, metric)}
        for protocol, description in protocols.items():
            title = f"{metric}, {description}"
            yield from _grid(summaries, protocol, metric, title, differences=versus)
    for metric, name in DATASET_METRICS.items():
        for protocol in protocols:
            title = f"{name}, {PROTOCOLS[protocol]}" if len(protocols) > 1 else name
            yield from _grid(summaries, protocol, metric, title)
    method, before = base_before_registration(rows)
    note = f" (before: {before.show()}, {display_name(method)})" if before.is_measured else ""
    title, changes = f"bAP50 after registering{note}", {"vs before": base_changes(rows)}
    yield from _grid(summaries, "all", "bAP50", title, differences=changes)
    timed = "novel" if any(row["protocol"] == "novel" for row in rows) else "all"
    yield from _grid(summaries, timed, "adapt_seconds", "seconds to adapt", digits=3)


def text(rows: Sequence[Row], baseline: str = BASELINE) -> str:
    """The tables for a terminal of 100 columns."""
    tables, parts = list(grids(rows, baseline)), []
    label = min(max((len(line.label) for grid in tables for line in grid.lines), default=0), 24) + 6
    for grid in tables:
        most = min((_WIDTH - label) // _CELL, len(grid.columns))
        parts += [grid.title, "─" * (label + most * _CELL)]
        for first in range(0, len(grid.columns), most):
            part = slice(first, first + most)
            parts.append(_aligned("", label, grid.columns[part]))
            for line in grid.lines:
                name = " " * (2 + 2 * line.is_difference) + line.label
                cells = [grid.show(cell, line) for cell in line.cells[part]]
                parts.append(_aligned(name, label, cells))
                if line.is_difference:
                    parts.append(_aligned("", label, [c.verdict() for c in line.cells[part]]))
        parts.append("")
    return "\n".join([*parts, interval_note(rows)]) if parts else NOTHING


def markdown(rows: Sequence[Row], baseline: str = BASELINE) -> str:
    """The tables in GitHub's Markdown; names are escaped."""
    parts = []
    for grid in grids(rows, baseline):
        lines = [["", *grid.columns]]
        for line in grid.lines:
            label, cells = escape(line.label), [grid.show(cell, line) for cell in line.cells]
            if line.is_difference:
                verdicts = [cell.verdict() for cell in line.cells]
                cells = [f"{c} {v}".strip() for c, v in zip(cells, verdicts, strict=True)]
            lines.append([f"*{label}*" if line.is_difference else label, *cells])
        parts += [f"**{grid.title}**", "", markdown_table(lines), ""]
    return "\n".join([*parts, interval_note(rows)]) if parts else NOTHING


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """A table in GitHub's Markdown, the first line its header; cells must be escaped already."""
    rule = "|:--" + "|--:" * (len(lines[0]) - 1) + "|"
    first, *others = ("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join([first, rule, *others])


def escape(text: str) -> str:
    """Text that Markdown shows unchanged, on one line."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join("\\" + letter if letter in "\\`*_{}[]|#~" else letter for letter in flat)


def shot_columns(shots: Iterable[Shots]) -> Sequence[Shots]:
    """The columns of a table: shot counts but 0 in rising order, and their mean if there are several."""
    counts = sorted({*shot_counts(shots)} - {0})
    return [*counts, MEAN] if len(counts) > 1 else counts


def _grid(
    summaries: Sequence[Summary],
    protocol: str,
    metric: str,
    title: str,
    digits: int = 1,
    differences: Mapping[str, Sequence[Difference]] | None = None,
) -> Iterator[Grid]:
    """The grid of a metric, if it was measured.

    Args:
        differences: label -> lines of differences to put under the methods.
    """
    measured = [
        group
        for group in summaries
        if group.protocol == protocol and group.shots != 0 and group.metrics[metric].is_measured
    ]
    columns = shot_columns(group.shots for group in measured)
    if not columns:
        return
    if metric == "adapt_seconds":  # a mean over shots is of no use
        columns = shot_counts(columns)
    lines = []
    for method in dict.fromkeys(group.method for group in measured):
        groups = by_shots(measured, method, protocol)
        cells = {shots: group.metrics[metric] for shots, group in groups.items()}
        if metric == "adapt_seconds":  # how a clock varies over seeds is of no interest
            cells = {shots: cell._replace(half=float("nan")) for shots, cell in cells.items()}
        lines.append(Line(display_name(method), [cells.get(c, _MISSING) for c in columns], False))
        for label, changes in (differences or {}).items():
            cells = {s: d.interval for s, d in by_shots(changes, method, protocol).items()}
            if cells:
                lines.append(Line(label, [cells.get(c, _MISSING) for c in columns], True))
    titles = [MEAN if column == MEAN else shots_label(column) for column in columns]
    yield Grid(title, titles, lines, digits)


def _aligned(label: str, width: int, cells: Sequence[str]) -> str:
    short = label if len(label) < width else label[: width - 2] + "…"
    return (short.ljust(width) + "".join(f" {cell:>{_CELL - 1}}" for cell in cells)).rstrip()
