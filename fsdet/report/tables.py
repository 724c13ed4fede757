"""The tables of a report: for the terminal, in Markdown, and as values for the page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fsdet.report.sentences import counted, footing
from fsdet.report.statistics import (
    BASELINE,
    MEAN,
    OWN,
    PROTOCOLS,
    Interval,
    Row,
    before,
    differences,
    forgetting,
    known_as,
    spaces,
    summary,
)

NOTHING = "nothing was scored"
_WIDTH, _CELL = 100, 13


class Line(NamedTuple):
    """A line of a grid: a method, or what one method has over another."""

    label: str
    cells: list[Interval]
    difference: bool


class Grid(NamedTuple):
    """One value under one protocol: a line a method, a column a shot count."""

    title: str
    columns: list[str]
    lines: list[Line]
    digits: int  # after the point

    def show(self, cell: Interval, line: Line) -> str:
        """A cell as it is printed."""
        return cell.show(self.digits, "+" if line.difference else "")


def grids(rows: Sequence[Row], baseline: str = BASELINE) -> Iterator[Grid]:
    """nAP50 and nAP of each protocol with the differences, and what the data set's own evaluation says; base AP50
    after registering, and what was lost; seconds."""
    groups, protocols = summary(rows), spaces(rows)
    for value in ("nAP50", "nAP"):
        over = {f"vs {known_as(baseline)}": differences(rows, baseline, value)}
        for protocol, meaning in protocols.items():
            yield from _grid(groups, protocol, value, f"{value}, {meaning}", 1, over)
    for value, said in OWN.items():
        for protocol in protocols:
            title = f"{said}, {PROTOCOLS[protocol]}" if len(protocols) > 1 else said
            yield from _grid(groups, protocol, value, title, 1, {})
    method, first = before(rows)
    known = "" if first.show() == "–" else f" (before: {first.show()}, {known_as(method)})"
    since = {"vs before": forgetting(rows)}
    yield from _grid(groups, "all", "bAP50", f"bAP50 after registering{known}", 1, since)
    timed = "novel" if any(row["protocol"] == "novel" for row in rows) else "all"
    yield from _grid(groups, timed, "adapt_seconds", "seconds to adapt", 3, {})


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
                name = " " * (2 + 2 * line.difference) + line.label
                cells = [grid.show(cell, line) for cell in line.cells[part]]
                parts.append(_aligned(name, label, cells))
                if line.difference:
                    parts.append(_aligned("", label, [c.verdict() for c in line.cells[part]]))
        parts.append("")
    return "\n".join([*parts, footing(rows)]) if parts else NOTHING


def markdown(rows: Sequence[Row], baseline: str = BASELINE) -> str:
    """The tables in GitHub's Markdown; names that hold its characters are escaped."""
    parts = []
    for grid in grids(rows, baseline):
        parts += [f"**{grid.title}**", ""]
        parts.append(" | ".join(["| ", *grid.columns]) + " |")
        parts.append("|:--|" + "--:|" * len(grid.columns))
        for line in grid.lines:
            cells = [grid.show(cell, line) for cell in line.cells]
            label = escape(line.label)
            if line.difference:
                label = f"*{label}*"
                words = [cell.verdict() for cell in line.cells]
                cells = [f"{cell} {word}".strip() for cell, word in zip(cells, words, strict=True)]
            parts.append(" | ".join([f"| {label}", *cells]) + " |")
        parts.append("")
    return "\n".join([*parts, footing(rows)]) if parts else NOTHING


def escape(words: str) -> str:
    """Words that Markdown shows as they are."""
    flat = " ".join(words.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join("\\" + letter if letter in "\\`*_{}[]|#~" else letter for letter in flat)


def _grid(
    groups: Sequence[Mapping[str, Any]],
    protocol: str,
    value: str,
    title: str,
    digits: int,
    against: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Iterator[Grid]:
    """The grid of a value of a `summary`, if it was measured, with lines of differences under their labels."""
    groups = [g for g in groups if g["protocol"] == protocol and g["shots"] != 0]
    groups = [group for group in groups if group[value].mean == group[value].mean]
    counts = sorted({g["shots"] for g in groups} - {MEAN})
    if not counts:
        return
    # The mean of a single shot count is that count's own; nobody asks for the mean of seconds.
    columns = [*counts, MEAN] if len(counts) > 1 and value != "adapt_seconds" else counts
    lines = []
    for method in dict.fromkeys(group["method"] for group in groups):
        cells = {g["shots"]: g[value] for g in groups if g["method"] == method}
        if value == "adapt_seconds":  # of a clock: that seeds differ says nothing
            cells = {shots: cell._replace(half=float("nan")) for shots, cell in cells.items()}
        lines.append(Line(known_as(method), _row(cells, columns), False))
        for label, differing in against.items():
            over = {
                d["shots"]: d["difference"]
                for d in differing
                if (d["method"], d["protocol"]) == (method, protocol)
            }
            if over:
                lines.append(Line(label, _row(over, columns), True))
    names = [c if c == MEAN else counted(c) for c in columns]
    yield Grid(title, names, lines, digits)


def _row(cells: dict[int | str, Interval], columns: Sequence[int | str]) -> list[Interval]:
    nothing = Interval(float("nan"), float("nan"))
    return [cells.get(column, nothing) for column in columns]


def _aligned(label: str, width: int, cells: Sequence[str]) -> str:
    short = label if len(label) < width else label[: width - 2] + "…"
    return (short.ljust(width) + "".join(f" {cell:>{_CELL - 1}}" for cell in cells)).rstrip()
