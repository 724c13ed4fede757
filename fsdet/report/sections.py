"""The sections of a report's page, each an iterator of HTML; one without material yields nothing.

Everything that is not written in this file is escaped.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np

from fsdet.report import figures
from fsdet.report.sentences import counted, footing, headline
from fsdet.report.statistics import (
    MEAN,
    OWN,
    PROTOCOLS,
    VALUES,
    Interval,
    Row,
    before,
    differences,
    headline_shots,
    known_as,
    novel_names,
    spaces,
    subject,
    summary,
)
from fsdet.report.svg import svg
from fsdet.report.tables import NOTHING, Grid, Line, grids

_WIDEST = 1000  # pixels of a picture in the page
MARKS = {"better": "▲", "worse": "▼", "tie": "="}
_NOTE = (
    "<b>Base and novel categories together</b>: the detector answers for all categories at once, as"
    " in use; nAP50 is over the novel ones, bAP50 over the base ones. <b>Novel categories only</b>:"
    " what it takes for a base category is dropped, and novel ones alone are scored. AP50 is average"
    " precision at an overlap (IoU) of 0.5, AP over overlaps of 0.5 to 0.95, in percent. With k shots"
    " it is given k annotated boxes of each novel category; the seed draws which. Differences are"
    " paired, the same boxes for both: ▲ better or ▼ worse where the 95% interval excludes zero, = a"
    " tie where it does not."
)


def top(rows: Sequence[Row], baseline: str) -> Iterator[str]:
    """What was measured, the numbers that matter, and those in words."""
    method = subject(rows, baseline)
    if method is None:
        yield f'<p class="under">{NOTHING}</p>'
        return
    data = dict.fromkeys(f"{row['data']}, split {row['split']}" for row in rows)
    methods = dict.fromkeys(known_as(row["method"]) for row in rows if row["shots"])
    yield f'<p class="under">{escape(" · ".join([*data, ", ".join(methods)]))}</p>'
    tiles = "".join(
        f'<div class="tile"><b>{number}</b><span>{escape(meaning)}</span></div>'
        for number, meaning in _tiles(rows, method, baseline)
    )
    yield f'<div class="tiles">{tiles}</div>'
    yield "".join(f"<p>{escape(sentence)}</p>" for sentence in headline(rows, baseline))


def results(rows: Sequence[Row], baseline: str) -> Iterator[str]:
    """The tables and what their numbers are of."""
    tables = list(grids(rows, baseline))
    for grid in tables:
        head = "".join(f"<th scope=col>{name}</th>" for name in grid.columns)
        body = "".join(_line(grid, line) for line in grid.lines)
        yield f"<h3>{escape(grid.title)}</h3>" + framed(f"<th></th>{head}", body)
    if tables:
        yield f'<p class="note">{footing(rows)} {_NOTE}</p>'


def shot_curves(rows: Sequence[Row]) -> Iterator[str]:
    """nAP50 against shots, a panel a protocol."""
    drawn, meanings = figures.curves(rows), spaces(rows)
    yield from panels(
        (svg(figure, f"nAP50 against shots, {meanings[name]}"), meanings[name])
        for name, figure in drawn.items()
    )
    if drawn:
        yield f'<p class="note">{footing(rows)}</p>'


def categories(rows: Sequence[Row], baseline: str) -> Iterator[str]:
    """AP50 of every category, novel ones marked, after registering."""
    method, novel = subject(rows, baseline), novel_names(rows)
    protocol = next((p for p in ("all", "novel") if headline_shots(rows, method, p)), "all")
    shots = headline_shots(rows, method, protocol)
    compared = dict.fromkeys(
        [method, *(row["method"] for row in rows if row["method"] == baseline)]
    )
    drawn = []
    for name in compared if shots else ():
        figure = figures.bars(rows, name, shots, novel, protocol)
        if figure:
            drawn.append((svg(figure, f"AP50 of each category, {known_as(name)}"), known_as(name)))
    if drawn:
        known = f"At {counted(shots)}, {PROTOCOLS[protocol]}; ★ novel; best first."
        yield f'<p class="note">{known}</p>'
    yield from panels(drawn)


def pictures(overlays: Sequence[tuple[str, np.ndarray]], about: str = "") -> Iterator[str]:
    """The truth (left) and what was found (right)."""
    if not overlays:
        return
    note = "Left the truth, right what was found; ★ novel categories."
    yield f'<p class="note">{escape(f"{about}. " if about else "")}{note}</p>'
    yield framed_pictures(overlays)


def loss_curves(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A panel a stage."""
    yield from panels(
        (svg(figure, f"losses of {stage}"), stage)
        for stage, figure in figures.losses(records).items()
    )


def all_numbers(rows: Sequence[Row]) -> Iterator[str]:
    """Every mean and interval, folded away."""
    groups = [group for group in summary(rows) if group["shots"] != MEAN]
    if not groups:
        return
    keys = ("method", "protocol", "shots", "seeds")
    own = [value for value in OWN if any(g[value].mean == g[value].mean for g in groups)]
    values = (*VALUES, *own)
    head = "".join(f"<th scope=col>{key}</th>" for key in (*keys, *values))
    body = "".join(
        f"<tr><th scope=row>{escape(known_as(group['method']))}</th>"
        + "".join(f"<td>{escape(str(group[key]))}</td>" for key in keys[1:])
        + "".join(f"<td>{_number(group[v], 3 if v == 'adapt_seconds' else 1)}</td>" for v in values)
        + "</tr>"
        for group in groups
    )
    yield f"<details><summary>Every method, protocol and shot count</summary>{framed(head, body)}"
    yield "</details>"


def again(command: str, config_text: str, facts: Mapping[str, str]) -> Iterator[str]:
    """The command, the configuration, and what it ran on."""
    yield f"<pre>{escape(command)}</pre>"
    yield f"<details><summary>config.yaml</summary><pre>{escape(config_text)}</pre></details>"
    told = "".join(
        f"<tr><th scope=row>{escape(key)}</th><td>{escape(value)}</td></tr>"
        for key, value in facts.items()
    )
    if told:
        yield f'<div class="wide"><table class="facts"><tbody>{told}</tbody></table></div>'


def _tiles(rows: Sequence[Row], method: str, baseline: str) -> Iterator[tuple[str, str]]:
    meanings = spaces(rows)
    protocol = next((p for p in meanings if headline_shots(rows, method, p)), None)
    if protocol is None:
        return
    shots = headline_shots(rows, method, protocol)
    groups = {(g["method"], g["protocol"], g["shots"]): g for g in summary(rows)}
    mine = groups[method, protocol, shots]
    yield (
        _number(mine["nAP50"]),
        f"nAP50 of {known_as(method)} at {counted(shots)}, {meanings[protocol]}",
    )
    for found in differences(rows, baseline):
        if (found["method"], found["protocol"], found["shots"]) == (method, protocol, MEAN):
            said = f"nAP50 against {known_as(baseline)}, mean over shots"
            verdict = f": {found['verdict']}" if found["verdict"] else ""
            yield _number(found["difference"], sign="+"), said + verdict
    together = groups.get((method, "all", shots))
    if together and together["bAP50"].mean >= 0:
        first = before(rows)[1].show()
        known = "" if first == "–" else f" ({first} before)"
        yield _number(together["bAP50"]), f"bAP50 after registering{known}"
    if mine["adapt_seconds"].mean >= 0:
        seconds = f"{mine['adapt_seconds'].mean:.2g} <small>s</small>"
        yield seconds, f"to adapt to {counted(shots)} of each novel category"


def _line(grid: Grid, line: Line) -> str:
    kind = ' class="difference"' if line.difference else ""
    cells = "".join(
        f"<td>{_number(cell, grid.digits, '+')}{_word(cell)}</td>"
        if line.difference
        else f"<td>{_number(cell, grid.digits)}</td>"
        for cell in line.cells
    )
    return f"<tr{kind}><th scope=row>{escape(line.label)}</th>{cells}</tr>"


def _word(difference: Interval) -> str:
    word = difference.verdict()
    return f' <span class="verdict {word}"><i>{MARKS[word]}</i> {word}</span>' if word else ""


def _number(value: Interval, digits: int = 1, sign: str = "") -> str:
    mean, plus, half = value.show(digits, sign).partition(" ± ")
    return f"{mean} <small>± {half}</small>" if plus else mean


def framed(head: str, body: str) -> str:
    """A table that scrolls where it is too wide."""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def framed_pictures(captioned: Iterable[tuple[str, np.ndarray]]) -> str:
    """Pictures above their captions."""
    shown = "".join(
        f'<figure><img alt="{escape(caption)}" src="{jpeg(image)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, image in captioned
    )
    return f'<div class="panels pictures">{shown}</div>'


def panels(made: Iterable[tuple[str, str]], size: str = "") -> Iterator[str]:
    """Charts with their titles; of `size` "small" as many beside each other as can be read."""
    charts = [
        f"<figure><figcaption>{escape(title)}</figcaption>{chart}</figure>" for chart, title in made
    ]
    if charts:
        yield f'<div class="{f"panels {size}".strip()}">{"".join(charts)}</div>'


def jpeg(image: np.ndarray) -> str:
    """A picture, uint8 [H, W, 3] RGB, as the address of an `<img>`."""
    height, width = image.shape[:2]
    if width > _WIDEST:
        size = (_WIDEST, max(1, round(height * _WIDEST / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 85]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
