"""Writes docs/results.md: what the field has published, published.csv, beside what was measured, benchmarks/*.csv.

python docs/make_results.py
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fsdet.errors import InputError
from fsdet.report.rows import MEAN, display_name
from fsdet.report.sentences import shots_label
from fsdet.report.statistics import Summary, summary
from fsdet.report.tables import escape

HERE = Path(__file__).parent
FILE, PUBLISHED, WORDS = HERE / "results.md", HERE / "published.csv", HERE / "results.yaml"
MEASURED, CONFIGS = HERE.parent / "benchmarks", HERE.parent / "configs"
SHOTS = ("0", "1", "2", "3", "5", "10", "30")  # columns of published.csv

Row = dict[str, Any]


class Line(NamedTuple):
    """A line of a table."""

    method: str
    backbone: str
    labels: str
    seeds: str
    cells: dict[str, str]  # column -> what it shows
    source: str


def page(measured: Path = MEASURED) -> str:
    """The whole page, Markdown; `measured` is the folder of `<data>.csv`.

    Raises:
        InputError: a data set that no plan in `configs/benchmark` is of.
    """
    words = yaml.safe_load(WORDS.read_text(encoding="utf-8"))
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        published = list(csv.DictReader(file))
    ours = {file.stem: rows_of(file) for file in sorted(measured.glob("*.csv"))}
    parts = [words["top"]]
    for name, protocol in words["protocols"].items():
        theirs = [row for row in published if row["protocol"] == name]
        parts += section(name, protocol, theirs, ours.pop(name, []))
    parts.append(words["measured"])
    for name, rows in ours.items():
        parts += own(name, rows)
    return "\n".join(parts)


def rows_of(file: Path) -> list[Row]:
    """Rows of a `benchmark.csv`, or of an extract: novel among base categories, from one shot on."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [{"protocol": "all"} | row | {"data": file.stem} for row in csv.DictReader(lines)]
    kept = [row for row in rows if row["protocol"] == "all" and int(row["shots"])]
    return [{key: value or None for key, value in row.items()} for row in kept]


def section(name: str, protocol: Row, theirs: list[Row], ours: list[Row]) -> Iterator[str]:
    """A protocol of the field: what it is, its tables, and what would fill the empty lines."""
    yield f"## {protocol['title']}\n\n{protocol['text']}"
    backbone, metric = backbone_of(protocol["plan"]), protocol["metric"]
    labels = protocol.get("labels", "G")
    nothing = Line("fsdet", backbone, labels, "", {}, "not measured: the full data was not at hand")
    tables = {(metric, split): [] for split in protocol["splits"]}
    others: list[Row] = []
    for row in theirs:
        key = row["metric"], row["split"]
        if "mean" in protocol["splits"] and key not in tables:
            others.append(row)
        else:
            tables.setdefault(key, []).append(published_line(row))
    for (of, split), lines in tables.items():
        if of == metric and split in protocol["splits"]:
            rows = [row for row in ours if row["split"] == split]
            ours_is = protocol.get("ours", metric)  # where ours has several by the field's name
            lines += measured_lines(name, backbone, rows, ours_is) or [nothing]
        yield titled(f"{of}, {split}", lines)
    if others:
        yield titled(f"{metric}, set by set", by_set(others))
    yield f"To fill what is empty:\n\n```sh\n{protocol['commands']}```\n"


def published_line(row: Row) -> Line:
    """A row of published.csv, whose columns are shots."""
    cells = {shots: row[shots] for shots in SHOTS if row[shots]}
    keys = ("method", "backbone", "labels", "seeds")
    return Line(*(row[key] for key in keys), cells, row["source"])


def by_set(rows: Sequence[Row]) -> list[Line]:
    """A line for each method and shot count, whose columns are data sets."""
    sets = sorted({row["split"] for row in rows})
    found: dict[str, Line] = {}
    for row in rows:
        line = published_line(row)
        for shots, value in line.cells.items():
            method = f"{line.method}, {shots_label(int(shots))}"
            line = line._replace(method=method, cells=dict.fromkeys(sets, ""))
            found.setdefault(method, line).cells[row["split"]] = value
    return list(found.values())


def measured_lines(data: str, backbone: str, rows: Sequence[Row], metric: str) -> list[Line]:
    """A line for each method, best mean first, whose columns are shots and their mean."""
    table: dict[str, dict[str, Summary]] = {}
    for group in summary(rows) if rows else ():
        table.setdefault(group.method, {})[str(group.shots)] = group
    return [
        Line(
            display_name(method),
            backbone,
            "G",
            str(groups[MEAN].seeds),
            {shots: group.metrics[metric].show() for shots, group in groups.items()},
            f"[{data}.csv](../benchmarks/{data}.csv)",
        )
        for method, groups in sorted(
            table.items(), key=lambda item: -item[1][MEAN].metrics[metric].mean
        )
    ]


def own(data: str, rows: Sequence[Row]) -> Iterator[str]:
    """What was measured on a data set of which the field has no protocol."""
    backbone, splits = backbone_of(data), list(dict.fromkeys(row["split"] for row in rows))
    text = f"`configs/benchmark/{data}.yaml`, splits {', '.join(splits)}."
    if (MEASURED / f"{data}.md").is_file():
        text += f" Paired differences, and costs: [{data}.md](../benchmarks/{data}.md)."
    yield f"### {data}\n\n{text}\n"
    lines = measured_lines(data, backbone, rows, "nAP50")
    yield titled("nAP50, mean over splits" if len(splits) > 1 else "nAP50", lines)
    columns = {f"nAP50, {s}": ([r for r in rows if r["split"] == s], "nAP50") for s in splits}
    columns |= {metric: (rows, metric) for metric in ("nAP", "bAP50", "bAP", "nAP50_voc07")}
    cells: dict[str, dict[str, str]] = {line.method: {} for line in lines}
    for column, (some, metric) in columns.items():
        if all(row.get(metric) is None for row in some):
            continue
        for line in measured_lines(data, backbone, some, metric):
            cells[line.method][column] = line.cells[MEAN]
    yield titled("Mean over shots", [line._replace(cells=cells[line.method]) for line in lines])


def backbone_of(data: str) -> str:
    """The backbone of a data set's plan, and whether it starts from weights.

    Raises:
        InputError: there is no such plan.
    """
    plan = CONFIGS / "benchmark" / f"{data}.yaml"
    if not plan.is_file():
        raise InputError(
            f"benchmarks/{data}.csv: expected its plan, {plan}, which has the backbone"
        )
    config = yaml.safe_load(plan.read_text())["detectors"][0]["config"]
    backbone = yaml.safe_load((CONFIGS.parent / config).read_text())["detector"]["backbone"]
    return f"{backbone['name']}, {'pretrained' if 'weights' in backbone else 'from scratch'}"


def titled(title: str, lines: Sequence[Line]) -> str:
    """A table under its title, with the columns that some line has; shot counts rise."""
    columns = list(dict.fromkeys(column for line in lines for column in line.cells))
    columns.sort(key=lambda column: int(column) if column.isdigit() else 10**9)
    table = [["method", "backbone", "labels", "seeds", *columns, "source"]]
    table.append([":--", ":--", ":-:", ":-:", *["--:"] * len(columns), ":--"])
    for line in lines:
        values = (line.cells.get(column, "") for column in columns)
        table.append([*map(escape, line[:4]), *values, line.source])
    return f"**{title}**\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in table)


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
