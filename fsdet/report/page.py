"""The report of a run as a page that needs nothing but itself: no script, file or host."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from fsdet.files import write_whole
from fsdet.report import sections, tables
from fsdet.report.sentences import headline
from fsdet.report.statistics import BASELINE, Row
from fsdet.report.styles import CSS
from fsdet.report.test_sections import Tested, pictured


def write(
    run: Path | str,
    rows: Sequence[Row],
    losses: Sequence[Mapping[str, Any]],
    overlays: Sequence[tuple[str, np.ndarray]],
    config_text: str,
    environment: Mapping[str, object],
    baseline: str = BASELINE,
    tested: Tested | None = None,
) -> Path:
    """Write `report.html` and `report.md` into a run folder, each whole or not at all.

    Args:
        run: the folder; it is made if it is not there.
        rows: of `results.json` (see `fsdet.report.compare`).
        losses: `{step, stage, name: value, ...}` in the order of training.
        overlays: captions and pictures, uint8 [H, W, 3] RGB, as `overlays.beside` draws them.
        config_text: the `config.yaml` of the run.
        environment: what to know to get the numbers again: versions, hardware, seconds of a stage.
            "command", if it is there, is the command; otherwise it is training from `config.yaml`.
        baseline: the method that the others are compared with.
        tested: what the pictures of the test are drawn from, if there are to be some.

    Returns:
        The path of `report.html`.

    Raises:
        InputError: a row without one of the keys that say what it measured.
    """
    run = Path(run)
    facts = {str(key): str(value) for key, value in environment.items()}
    command = facts.pop("command", f"fsdet train --config {(run / 'config.yaml').as_posix()}")
    title = run.name or "report"
    made = {
        "Results": sections.results(rows, baseline),
        "nAP50 against shots": sections.shot_curves(rows),
        "Categories": sections.categories(rows, baseline),
    }
    made |= pictured(tested) if tested else {}
    made |= {
        "Truth and detections": sections.pictures(overlays, tested.about if tested else ""),
        "Training": sections.loss_curves(losses),
        "All numbers": sections.all_numbers(rows),
        "Run it again": sections.again(command, config_text, facts),
    }
    page = document(title, sections.top(rows, baseline), made)
    return save(run, page, _markdown(title, rows, baseline, command, facts))


def document(title: str, top: Iterable[str], made: Mapping[str, Iterable[str]]) -> str:
    """A page: what comes first, and sections by their titles; one without material is left out."""
    body = "".join(
        f"<section><h2>{name}</h2>{html}</section>"
        for name, parts in made.items()
        if (html := "".join(parts))
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{escape(title)} · fsdet</title><style>{CSS}</style></head><body>"
        f"<header><h1>{escape(title)}</h1>{''.join(top)}</header>{body}"
        "</body></html>\n"
    )


def save(run: Path, page: str, markdown: str) -> Path:
    """Write `report.html` and `report.md`, each whole or not at all; the path of the page."""
    for name, text in {"report.md": markdown, "report.html": page}.items():
        content = text.encode(errors="replace")
        write_whole(run / name, lambda to, content=content: to.write_bytes(content))
    return run / "report.html"


def _markdown(
    title: str, rows: Sequence[Row], baseline: str, command: str, facts: Mapping[str, str]
) -> str:
    """The numbers and how to get them again."""
    parts = [f"# {tables.escape(title)}", ""]
    parts += [f"- {tables.escape(sentence)}" for sentence in headline(rows, baseline)]
    parts += ["", tables.markdown(rows, baseline), "", again(command, facts)]
    return "\n".join(parts) + "\n"


def again(command: str, facts: Mapping[str, str]) -> str:
    """How to get the numbers again, in Markdown."""
    fence = "`" * (3 + command.count("`"))
    told = [f"- {tables.escape(key)}: {tables.escape(value)}" for key, value in facts.items()]
    return "\n".join([f"{fence}sh", command, fence, "", *told])
