"""The report of a benchmark: every method in one ranked table, a panel a family, the best in words."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from fsdet.report import figures, sections
from fsdet.report.canvas import svg
from fsdet.report.compare import (
    MEAN,
    Interval,
    Row,
    differences,
    known_as,
    spaces,
    summary,
)
from fsdet.report.page import document, save
from fsdet.report.ranking import ranking
from fsdet.report.table import escape as plain
from fsdet.report.words import footing

_NOTE = (
    "nAP50 is average precision at an overlap (IoU) of 0.5 over the novel categories, in percent, where the"
    " detector answers for base and novel categories together. Differences are paired, the same boxes for both."
    " Costs: seconds of meta-training on stored regions, milliseconds to learn a support set of all"
    " categories, millions of parameters, megabytes of what is learned of a support set."
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
        run: the folder; it is made if it is not there.
        rows: as of `results.json` (see `fsdet.report.compare`), with `meta_seconds`, `parameters`,
            `task_megabytes` and `args`.
        families: method -> the panel that it is drawn in, in their order.
        baseline: the method that the others are compared with, and that is in every panel.
        plan_text: the `plan.yaml`.
        facts: what to know to get the numbers again.
        command: what was typed.

    Returns:
        The path of `report.html`.
    """
    table, said, title = ranked(rows, families, baseline), ranking(rows), run.name or "benchmark"
    note = f"{footing(rows)} {_NOTE}"
    made = {
        "Which method": (f"<p>{escape(sentence)}</p>" for sentence in said),
        "Methods": iter([_html(table), f'<p class="note">{escape(note)}</p>']),
        "nAP50 against shots": _curves(rows, families, baseline),
        "Splits": iter([_html(by_split(rows))]),
        "What tuning chose": iter([_html(chosen(rows))]),
        "All numbers": sections.all_numbers(rows),
        "Run it again": sections.again(command, plan_text, facts),
    }
    parts = [f"# {plain(title)}", *(f"- {plain(line)}" for line in said)]
    parts += [_markdown(table), note, _markdown(by_split(rows)), _markdown(chosen(rows))]
    parts += [f"```sh\n{command}\n```"]
    parts += ["\n".join(f"- {key}: {plain(value)}" for key, value in facts.items())]
    return save(run, document(title, sections.top(rows, baseline), made), "\n\n".join(parts) + "\n")


def text(rows: Sequence[Row], families: Mapping[str, str], baseline: str) -> str:
    """The ranked table for a terminal of 100 columns."""
    table = [[line[0], *line[2:-4], line[-3]] for line in ranked(rows, families, baseline)]
    short = [
        [cell.split(" ± ")[0] if 0 < i < len(line) - 3 else cell for i, cell in enumerate(line)]
        for line in table
    ]
    widths = [max(map(len, column)) for column in zip(*short, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in short
    ]
    return "\n".join([lines[0], "─" * len(lines[0]), *lines[1:], "", footing(rows)])


def ranked(rows: Sequence[Row], families: Mapping[str, str], baseline: str) -> list[list[str]]:
    """A line a method, best mean first: family, nAP50 by shots, the difference to the baseline, costs."""
    groups = {(g["method"], g["shots"]): g for g in summary(rows) if g["protocol"] == "all"}
    counts = sorted({shots for _, shots in groups} - {0, MEAN})
    last = MEAN if len(counts) > 1 else counts[0]
    against = {
        d["method"]: d["difference"]
        for d in differences(rows, baseline)
        if (d["protocol"], d["shots"]) == ("all", last)
    }
    columns = [str(c) for c in counts] + ([MEAN] if last == MEAN else [])
    costs = ["meta s", "learn ms", "10⁶ parameters", "MB"]
    table = [["method", "family", *columns, f"vs {known_as(baseline)}", "bAP50", *costs]]
    methods = [m for m in dict.fromkeys(m for m, _ in groups) if (m, last) in groups]
    for method in sorted(methods, key=lambda m: -groups[m, last]["nAP50"].mean):
        mine = [row for row in rows if row["method"] == method and row["shots"]]
        cost = [
            f"{_mean(mine, 'meta_seconds'):.0f}",
            f"{1000 * _mean(mine, 'adapt_seconds'):.0f}",
            f"{_mean(mine, 'parameters') / 1e6:.2f}",
            f"{_mean(mine, 'task_megabytes'):.2f}",
        ]
        over = against.get(method)
        beside = f"{over.show(sign='+')} {over.verdict()}".strip() if over else ""
        values = [
            groups[method, c]["nAP50"].show() for c in (*counts, *([MEAN] if last == MEAN else []))
        ]
        base = groups[method, last]["bAP50"].show()
        table.append([known_as(method), families[method], *values, beside, base, *cost])
    return table


def by_split(rows: Sequence[Row]) -> list[list[str]]:
    """A line a method: nAP50, mean over shots, of every split."""
    places = list(dict.fromkeys((row["data"], row["split"]) for row in rows))
    cells: dict[str, list[Interval]] = {}
    for place in places:
        mine = [row for row in rows if (row["data"], row["split"]) == place]
        for group in summary(mine):
            if (group["protocol"], group["shots"]) == ("all", MEAN):
                cells.setdefault(group["method"], []).append(group["nAP50"])
    head = ["mean nAP50", *(f"{data} {split}" for data, split in places)]
    return [head, *([known_as(m), *(c.show() for c in line)] for m, line in cells.items())]


def chosen(rows: Sequence[Row]) -> list[list[str]]:
    """A line a method and data set: its arguments."""
    found = dict.fromkeys((known_as(r["method"]), r["data"], r["args"]) for r in rows)
    return [["method", "data", "arguments"], *map(list, found)]


def _mean(rows: Sequence[Row], key: str) -> float:
    values = [row[key] for row in rows if row.get(key) is not None]
    return sum(values) / len(values) if values else float("nan")


def _curves(rows: Sequence[Row], families: Mapping[str, str], baseline: str) -> Iterator[str]:
    """nAP50 against shots: a panel a family, the baseline in each."""
    drawn = []
    together = [row for row in rows if row["protocol"] == next(iter(spaces(rows)))]
    for family in dict.fromkeys(families.values()):
        names = {method for method in families if families[method] == family} | {baseline}
        mine = [row for row in together if row["method"] in names]
        for figure in figures.curves(mine).values():
            drawn.append((svg(figure, f"nAP50 against shots, {family}"), family))
    yield from sections.panels(drawn)


def _html(table: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in table[0])
    body = "".join(
        f"<tr><th scope=row>{escape(line[0])}</th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in line[1:])
        + "</tr>"
        for line in table[1:]
    )
    return sections.framed(head, body)


def _markdown(table: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(map(plain, line)) + " |" for line in table]
    return "\n".join([lines[0], "|:--" + "|--:" * (len(table[0]) - 1) + "|", *lines[1:]])
