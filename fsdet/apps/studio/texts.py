"""Texts of the page, escaped: progress, table of the categories, messages."""

import re
from html import escape

import gradio as gr

from fsdet.apps.studio.estimates import Estimate
from fsdet.apps.studio.view import View
from fsdet.errors import one_line
from fsdet.report import palette


def progress(view: View) -> str:
    """The line above everything: boxes, photographs left, and the quality on photographs left out."""
    boxes, waiting, left = view.progress()
    if not view.project.photos:
        return "<b>fsdet studio</b>"
    parts = [
        f"{boxes} of {boxes + waiting} boxes",
        f"{left} of {counted(len(view.project.photos), 'photograph')} left",
    ]
    estimates = view.lesson.estimates.values()
    if any(estimate.boxes for estimate in estimates):
        right, wrong = sum(e.right for e in estimates), sum(e.wrong for e in estimates)
        total = sum(e.boxes for e in estimates)
        parts.append(
            f"in photographs left out of teaching, {right} of {total} boxes are found, {wrong} wrong"
        )
    return f"<b>fsdet studio</b> {' · '.join(parts)}"


def table(view: View) -> str:
    """The table of the categories: key and colour, boxes, pending detections, threshold, estimate."""
    counts, shots, colours = view.counts(), view.project.shots(), palette(view.project.categories)
    rows = []
    for place, (name, colour) in enumerate(colours.items(), 1):
        estimate = view.lesson.estimates.get(name, Estimate())
        left_out = f"{estimate.right} of {estimate.boxes}" if estimate.boxes else "–"
        key = f"{place} " if place < 10 else ""
        cells = (
            f"{key}<span style='color:rgb{colour}'>■</span> {plain(name)}",
            str(shots[name]),
            str(counts[name]),
            f"{view.thresholds[name]:.2f}",
            left_out,
        )
        rows.append(_row("td", cells))
    titles = ("category", "boxes", "found", "score", "left out")
    return f"<table>{_row('th', titles)}{''.join(rows)}</table>" if rows else ""


def _row(tag: str, cells: tuple[str, ...]) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def summary(view: View) -> str:
    """The number of boxes and of detections of each category, and the seconds they took."""
    counts, shots = view.counts(), view.project.shots()
    parts = [
        f"**{markdown(name)}** from {counted(shots[name], 'box')}: {counts[name]} found"
        for name in view.project.categories
    ]
    unlearned = [
        f" **{markdown(name)}** was not learned: other boxes cover its boxes."
        for name in view.unlearned()
    ]
    return f"{'; '.join(parts)}. ({view.seconds:.1f} s){''.join(unlearned)}" if parts else ""


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 box, 2 boxes."""
    return f"{number} {noun}{'' if number == 1 else 'es' if noun.endswith('x') else 's'}"


def refusals(refused: list[str]) -> str:
    """The refused files as a message, and as a warning."""
    if not refused:
        return ""
    gr.Warning("; ".join(map(plain, refused[:3])), title=f"{len(refused)} left out")
    return "**Left out:** " + "; ".join(map(markdown, refused[:10]))


def plain(message: object) -> str:
    """A message on one line, without HTML."""
    return escape(one_line(message), quote=False)


def markdown(message: object) -> str:
    """A message on one line for a Markdown component, without HTML and without Markdown."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~$-])", r"\\\1", plain(message))
