"""Report of a benchmark: the ranking of methods, ranked tables, costs and charts per family."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fsdet.report import figures
from fsdet.report.page import render, reproduction_markdown, save
from fsdet.report.rows import MEAN, Row, Shots, display_name, reported_protocols
from fsdet.report.run_page import all_numbers
from fsdet.report.sentences import interval_note, ranking
from fsdet.report.statistics import Interval, base_changes, paired_differences, summary
from fsdet.report.svg import Chart, svg
from fsdet.report.tables import MARKS, escape, markdown_table, shot_columns

_NOTE = (
    "nAP50 is average precision at IoU 0.5 over the novel categories, in percent, where the detector"
    " scores base and novel categories together. Differences are paired: both methods get the same"
    " shots. ▲ better or ▼ worse: the 95% interval excludes zero; = a tie: it contains zero. Costs:"
    " seconds of meta-training from cached region features, milliseconds to adapt to a support set of"
    " all categories, millions of parameters, megabytes of the adapted task."
)


def write(
    run: Path,
    rows: Sequence[Row],
    families: Mapping[str, str],
    baseline: str,
    plan_text: str,
    facts: Mapping[str, str],
    command: str,
) -> Path:
    """Write `report.html` and `report.md` of a benchmark into its folder, each whole or not at all.

    Args:
        run: the folder; created if missing.
        rows: as in `results.json`, see `fsdet.report.rows`, with `meta_seconds`, `parameters`,
            `task_megabytes` and `args`.
        families: method -> its family, in the order of the charts.
        baseline: the method to compare the others with; it is in every chart.
        plan_text: the `plan.yaml`.
        facts: versions and hardware, to reproduce the numbers.
        command: the command line.

    Returns:
        The path of `report.html`.
    """
    title, sentences = run.name or "benchmark", ranking(rows)
    note = f"{interval_note(rows)} {_NOTE}"
    splits = dict.fromkeys(_split_name(row["data"], row["split"]) for row in rows)
    tables = {
        "Methods": ranked(rows, baseline),
        f"Against {display_name(baseline)}": against_baseline(rows, baseline),
        "Splits": by_split(rows),
        "Costs": costs(rows, families),
    }
    if len(splits) == 1:  # the first table has the same numbers
        del tables["Splits"]
    page = render(
        "benchmark.html.jinja",
        title=title,
        subtitle=f"{', '.join(splits)} · {len(families)} methods",
        sentences=sentences,
        shot_charts=_charts(rows, families, baseline),
        tables=tables,
        note=note,
        **all_numbers(rows),
        command=command,
        config_name="plan.yaml",
        config_text=plan_text,
        facts=facts,
    )
    parts = [f"# {escape(title)}", "\n".join(f"- {escape(line)}" for line in sentences), note]
    for name, table in tables.items():
        escaped = [list(map(escape, line)) for line in table]
        parts.append(f"**{escape(name)}**\n\n{markdown_table(escaped)}")
    parts += [reproduction_markdown(command, facts)]
    return save(run, page, "\n\n".join(parts) + "\n")


def text(rows: Sequence[Row], baseline: str) -> str:
    """The ranked table for a terminal of 100 columns."""
    table = ranked(rows, baseline)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    ]
    return "\n".join([lines[0], "─" * len(lines[0]), *lines[1:], "", interval_note(rows)])


def ranked(rows: Sequence[Row], baseline: str) -> list[list[str]]:
    """A line per method, highest mean first: nAP50 by shots and its mean, the paired difference to the
    baseline, bAP50 and its change by registering novel categories."""
    metrics = {(g.method, g.shots): g.metrics for g in summary(rows) if g.protocol == "all"}
    differences = _differences(rows, baseline)
    changes = {(change.method, change.shots): change.interval for change in base_changes(rows)}
    columns = shot_columns(shots for _, shots in metrics)
    last = columns[-1]  # ranks the methods
    versus = f"vs {display_name(baseline)}"
    table = [["method", *map(str, columns), versus, "bAP50", "vs before"]]
    methods = [m for m in dict.fromkeys(m for m, _ in metrics) if (m, last) in metrics]
    for method in sorted(methods, key=lambda m: -metrics[m, last]["nAP50"].mean):
        key = method, last
        values = [f"{metrics[method, count]['nAP50'].mean:.1f}" for count in columns[:-1]]
        values.append(metrics[key]["nAP50"].show())
        values.append(_with_mark(differences[key]) if key in differences else "")
        values.append(metrics[key]["bAP50"].show())
        values.append(changes[key].show(sign="+") if key in changes else "")
        table.append([display_name(method), *values])
    return table


def against_baseline(rows: Sequence[Row], baseline: str) -> list[list[str]]:
    """A line per method: its paired difference to the baseline at every shot count."""
    differences = _differences(rows, baseline)
    columns = shot_columns(shots for _, shots in differences)
    methods = dict.fromkeys(method for method, _ in differences)
    best = sorted(methods, key=lambda m: -differences[m, columns[-1]].mean)
    lines = [[display_name(m), *(_with_mark(differences[m, c]) for c in columns)] for m in best]
    return [["nAP50, paired", *map(str, columns)], *lines]


def costs(rows: Sequence[Row], families: Mapping[str, str]) -> list[list[str]]:
    """A line per method: time, parameters and memory, and the arguments that tuning chose per data set."""
    columns = ["method", "family", "meta-training s", "learning ms", "10⁶ parameters", "task MB"]
    table = [[*columns, "arguments"]]
    for method in dict.fromkeys(row["method"] for row in rows):
        scored = [row for row in rows if row["method"] == method and row["shots"]]
        line = [
            f"{_mean(scored, 'meta_seconds'):.0f}",
            f"{1000 * _mean(scored, 'adapt_seconds'):.0f}",
            f"{_mean(scored, 'parameters') / 1e6:.2f}",
            f"{_mean(scored, 'task_megabytes'):.2f}",
            "; ".join(dict.fromkeys(row["args"] for row in scored)),
        ]
        table.append([display_name(method), families[method], *line])
    return table


def by_split(rows: Sequence[Row]) -> list[list[str]]:
    """A line per method: nAP50 of every split, mean over shots."""
    splits = list(dict.fromkeys((row["data"], row["split"]) for row in rows))
    cells: dict[str, list[Interval]] = {}
    for split in splits:
        for group in summary([row for row in rows if (row["data"], row["split"]) == split]):
            if (group.protocol, group.shots) == ("all", MEAN):
                cells.setdefault(group.method, []).append(group.metrics["nAP50"])
    best = sorted(cells, key=lambda m: -sum(cell.mean for cell in cells[m]))
    lines = [[display_name(m), *(cell.show() for cell in cells[m])] for m in best]
    return [["mean nAP50", *(_split_name(*split) for split in splits)], *lines]


def _differences(rows: Sequence[Row], baseline: str) -> dict[tuple[str, Shots], Interval]:
    """(method, shots) -> paired difference to the baseline, of the protocol "all"."""
    return {
        (difference.method, difference.shots): difference.interval
        for difference in paired_differences(rows, baseline)
        if difference.protocol == "all"
    }


def _with_mark(difference: Interval) -> str:
    return f"{difference.show(sign='+')} {MARKS.get(difference.verdict(), '')}".strip()


def _split_name(data: str, split: str) -> str:
    """Data set and split, without the folders of the data set."""
    return f"{Path(data).name} {split}"


def _mean(rows: Sequence[Row], key: str) -> float:
    values = [row[key] for row in rows if row.get(key) is not None]
    return sum(values) / len(values) if values else float("nan")


def _charts(rows: Sequence[Row], families: Mapping[str, str], baseline: str) -> list[Chart]:
    """nAP50 against shots: a chart per family, the baseline in each."""
    charts = []
    protocol = next(iter(reported_protocols(rows)))
    for family in dict.fromkeys(families.values()):
        names = {method for method in families if families[method] == family} | {baseline}
        members = [r for r in rows if r["protocol"] == protocol and r["method"] in names]
        members.sort(key=lambda row: row["method"] != baseline)  # the same colour in every chart
        for figure in figures.shot_curves(members).values():
            charts.append(Chart(family, svg(figure, f"nAP50 against shots, {family}")))
    return charts
