"""The report of a benchmark: every method in one ranked table, a panel a family, the best in words."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from fsdet.report import figures, sections
from fsdet.report.page import again, document, save
from fsdet.report.sentences import footing, ranking
from fsdet.report.statistics import (
    MEAN,
    Interval,
    Row,
    differences,
    forgetting,
    known_as,
    spaces,
    summary,
)
from fsdet.report.svg import svg
from fsdet.report.tables import escape as plain

_NOTE = (
    "nAP50 is average precision at an overlap (IoU) of 0.5 over the novel categories, in percent, where the"
    " detector answers for base and novel categories together. Differences are paired, the same boxes for"
    " both: ▲ better or ▼ worse where the 95% interval excludes zero, = a tie where it does not. Costs:"
    " seconds of meta-training on stored regions, milliseconds to learn a support set of all categories,"
    " millions of parameters, megabytes of what is learned of a support set."
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
    said, title = ranking(rows), run.name or "benchmark"
    note = f"{footing(rows)} {_NOTE}"
    places = ", ".join(dict.fromkeys(_place(row["data"], row["split"]) for row in rows))
    tables = {
        "Methods": ranked(rows, baseline),
        f"Against {known_as(baseline)}": over(rows, baseline),
        "Splits": by_split(rows),
        "Costs": costs(rows, families),
    }
    if len(tables["Splits"][0]) == 2:  # of one split the first table says it all
        del tables["Splits"]
    shown = {name: iter([_html(table)]) for name, table in tables.items()}
    shown["Methods"] = iter([_html(tables["Methods"]), f'<p class="note">{escape(note)}</p>'])
    made = {
        "Which method": (f"<p>{escape(sentence)}</p>" for sentence in said),
        "nAP50 against shots": _curves(rows, families, baseline),
        **shown,
        "All numbers": sections.all_numbers(rows),
        "Run it again": sections.again(command, plan_text, facts),
    }
    top = iter([f'<p class="under">{escape(places)} · {len(families)} methods</p>'])
    parts = [f"# {plain(title)}", "\n".join(f"- {plain(line)}" for line in said), note]
    parts += [f"**{plain(name)}**\n\n{_markdown(table)}" for name, table in tables.items()]
    parts += [again(command, facts)]
    return save(run, document(title, top, made), "\n\n".join(parts) + "\n")


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
    return "\n".join([lines[0], "─" * len(lines[0]), *lines[1:], "", footing(rows)])


def ranked(rows: Sequence[Row], baseline: str) -> list[list[str]]:
    """A line a method, best mean first: nAP50 by shots and its mean, the difference to the baseline, bAP50.

    The last column is what base categories gained, or lost, by the new ones.
    """
    groups = {(g["method"], g["shots"]): g for g in summary(rows) if g["protocol"] == "all"}
    columns, against = _columns(groups), _against(rows, baseline)
    last = columns[-1]
    since = {(one["method"], one["shots"]): one["difference"] for one in forgetting(rows)}
    head = [f"vs {known_as(baseline)}", "bAP50", "vs before"]
    table = [["method", *map(str, columns), *head]]
    methods = [m for m in dict.fromkeys(m for m, _ in groups) if (m, last) in groups]
    for method in sorted(methods, key=lambda m: -groups[m, last]["nAP50"].mean):
        values = [f"{groups[method, count]['nAP50'].mean:.1f}" for count in columns[:-1]]
        values.append(groups[method, last]["nAP50"].show())
        beside = _verdict(against[method, last]) if (method, last) in against else ""
        change = since[method, last].show(sign="+") if (method, last) in since else ""
        values += [beside, groups[method, last]["bAP50"].show(), change]
        table.append([known_as(method), *values])
    return table


def over(rows: Sequence[Row], baseline: str) -> list[list[str]]:
    """A line a method: its paired difference to the baseline at every shot count."""
    against = _against(rows, baseline)
    columns = _columns(against)
    best = sorted(dict.fromkeys(m for m, _ in against), key=lambda m: -against[m, columns[-1]].mean)
    lines = [[known_as(m), *(_verdict(against[m, c]) for c in columns)] for m in best]
    return [["nAP50, paired", *map(str, columns)], *lines]


def costs(rows: Sequence[Row], families: Mapping[str, str]) -> list[list[str]]:
    """A line a method: what it costs, and what tuning chose on each data set."""
    head = ["method", "family", "meta-training s", "learning ms", "10⁶ parameters", "task MB"]
    table = [[*head, "arguments"]]
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method and row["shots"]]
        line = [
            f"{_mean(mine, 'meta_seconds'):.0f}",
            f"{1000 * _mean(mine, 'adapt_seconds'):.0f}",
            f"{_mean(mine, 'parameters') / 1e6:.2f}",
            f"{_mean(mine, 'task_megabytes'):.2f}",
            "; ".join(dict.fromkeys(row["args"] for row in mine)),
        ]
        table.append([known_as(method), families[method], *line])
    return table


def _columns(table: Collection[tuple[str, int | str]]) -> list[int | str]:
    """The shot counts of (method, shots), and of several the mean: methods are ranked by the last."""
    counts: list = sorted({shots for _, shots in table} - {0, MEAN})
    return [*counts, MEAN] if len(counts) > 1 else counts


def _against(rows: Sequence[Row], baseline: str) -> dict[tuple[str, int | str], Interval]:
    return {
        (d["method"], d["shots"]): d["difference"]
        for d in differences(rows, baseline)
        if d["protocol"] == "all"
    }


def _verdict(difference: Interval) -> str:
    return f"{difference.show(sign='+')} {sections.MARKS.get(difference.verdict(), '')}".strip()


def by_split(rows: Sequence[Row]) -> list[list[str]]:
    """A line a method: nAP50, mean over shots, of every split."""
    places = list(dict.fromkeys((row["data"], row["split"]) for row in rows))
    cells: dict[str, list[Interval]] = {}
    for place in places:
        mine = [row for row in rows if (row["data"], row["split"]) == place]
        for group in summary(mine):
            if (group["protocol"], group["shots"]) == ("all", MEAN):
                cells.setdefault(group["method"], []).append(group["nAP50"])
    head = ["mean nAP50", *(_place(*place) for place in places)]
    best = sorted(cells, key=lambda m: -sum(cell.mean for cell in cells[m]))
    return [head, *([known_as(m), *(cell.show() for cell in cells[m])] for m in best)]


def _place(data: str, split: str) -> str:
    """Data set and split, without the folders that the data set is in."""
    return f"{Path(data).name} {split}"


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
        mine.sort(key=lambda row: row["method"] != baseline)  # of one colour in every panel
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
