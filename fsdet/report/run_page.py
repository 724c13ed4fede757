"""Report of a run: headline numbers, tables, charts and detections on the test images."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fsdet.evaluation.intervals import mean_interval
from fsdet.report import confusion, figures, tables
from fsdet.report.detections import DetectionResults, Picture
from fsdet.report.drawing import NOVEL
from fsdet.report.page import render, reproduction_markdown, save
from fsdet.report.rows import (
    BASELINE,
    DATASET_METRICS,
    MEAN,
    METRICS,
    PROTOCOLS,
    Row,
    display_name,
    main_method,
    novel_classes,
    reported_protocols,
)
from fsdet.report.sentences import headline, interval_note, shots_label
from fsdet.report.statistics import (
    Interval,
    base_before_registration,
    by_shots,
    headline_shots,
    paired_differences,
    summary,
)
from fsdet.report.svg import Chart, shorten, svg


class Tile(NamedTuple):
    """A headline number."""

    number: str
    detail: str  # in small letters: the interval or the unit
    meaning: str


def write(
    run: Path | str,
    rows: Sequence[Row],
    losses: Sequence[Mapping[str, Any]],
    overlays: Sequence[Picture],
    config_text: str,
    environment: Mapping[str, object],
    baseline: str = BASELINE,
    detections: DetectionResults | None = None,
) -> Path:
    """Write `report.html` and `report.md` into a run folder, each whole or not at all.

    Args:
        run: the folder; created if missing.
        rows: of `results.json`, see `fsdet.report.rows`.
        losses: `{step, stage, name: value, ...}` in the order of training.
        overlays: captions and images, uint8 [H, W, 3] RGB, from `comparison.side_by_side`.
        config_text: the `config.yaml` of the run.
        environment: facts to reproduce the numbers: versions, hardware, seconds per stage. Its
            "command" is the command of the run; the default is training from `config.yaml`.
        baseline: the method to compare the others with.
        detections: results on the test images, if the report shows any.

    Returns:
        The path of `report.html`.

    Raises:
        InputError: a row lacks one of the keys that identify the measurement.
    """
    run = Path(run)
    facts = {str(key): str(value) for key, value in environment.items()}
    command = facts.pop("command", f"fsdet train --config {(run / 'config.yaml').as_posix()}")
    title = run.name or "report"
    method = main_method(rows, baseline)
    data = dict.fromkeys(f"{row['data']}, split {row['split']}" for row in rows)
    methods = dict.fromkeys(display_name(row["method"]) for row in rows if row["shots"])
    category_title, categories = _category_charts(rows, method, baseline)
    page = render(
        "run.html.jinja",
        title=title,
        subtitle=" · ".join([*data, ", ".join(methods)]) if method else tables.NOTHING,
        tiles=list(_tiles(rows, method, baseline)) if method else [],
        sentences=headline(rows, baseline),
        grids=list(tables.grids(rows, baseline)),
        interval_note=interval_note(rows),
        shot_charts=_shot_charts(rows),
        category_title=category_title,
        category_charts=categories,
        **_detection_values(detections),
        overlays=overlays,
        loss_charts=_loss_charts(losses),
        **all_numbers(rows),
        command=command,
        config_name="config.yaml",
        config_text=config_text,
        facts=facts,
    )
    return save(run, page, _markdown(title, rows, baseline, command, facts))


def all_numbers(rows: Sequence[Row]) -> dict[str, object]:
    """Values of the table of all numbers: every method, protocol and shot count."""
    summaries = [group for group in summary(rows) if group.shots != MEAN]
    of_data_set = [
        metric
        for metric in DATASET_METRICS
        if any(group.metrics[metric].is_measured for group in summaries)
    ]
    return {"summaries": summaries, "metrics": [*METRICS, *of_data_set]}


def _tiles(rows: Sequence[Row], method: str, baseline: str) -> Iterator[Tile]:
    descriptions, summaries = reported_protocols(rows), summary(rows)
    for protocol in descriptions:
        shots = headline_shots(rows, method, protocol)
        if shots:
            break
    else:
        return
    metrics = by_shots(summaries, method, protocol)[shots].metrics
    meaning = f"nAP50 of {display_name(method)} at {shots_label(shots)}, {descriptions[protocol]}"
    yield _tile(metrics["nAP50"], meaning)
    difference = by_shots(paired_differences(rows, baseline), method, protocol).get(MEAN)
    if difference:
        meaning = f"nAP50 against {display_name(baseline)}, mean over shots"
        verdict = difference.interval.verdict()
        yield _tile(difference.interval, meaning + (f": {verdict}" if verdict else ""), sign="+")
    generalised = by_shots(summaries, method, "all").get(shots)
    if generalised and generalised.metrics["bAP50"].is_measured:
        before = base_before_registration(rows)[1]
        note = f" ({before.show()} before)" if before.is_measured else ""
        yield _tile(generalised.metrics["bAP50"], f"bAP50 after registering{note}")
    if metrics["adapt_seconds"].is_measured:
        meaning = f"to adapt to {shots_label(shots)} of each novel category"
        yield Tile(f"{metrics['adapt_seconds'].mean:.2g}", "s", meaning)


def _tile(interval: Interval, meaning: str, sign: str = "") -> Tile:
    mean, separator, half = interval.show(sign=sign).partition(" ± ")
    return Tile(mean, f"± {half}" if separator else "", meaning)


def _shot_charts(rows: Sequence[Row]) -> list[Chart]:
    """nAP50 against shots, a chart per protocol."""
    descriptions = reported_protocols(rows)
    return [
        Chart(descriptions[name], svg(figure, f"nAP50 against shots, {descriptions[name]}"))
        for name, figure in figures.shot_curves(rows).items()
    ]


def _category_charts(
    rows: Sequence[Row], method: str | None, baseline: str
) -> tuple[str, list[Chart]]:
    """AP50 of every category at the headline's shot count: the main method and the baseline.

    Returns:
        A title with shot count and protocol, and the charts.
    """
    for protocol in ("all", "novel"):
        shots = headline_shots(rows, method, protocol)
        if method and shots:
            break
    else:
        return "", []
    novel, charts = novel_classes(rows), []
    for name in dict.fromkeys([method, *(r["method"] for r in rows if r["method"] == baseline)]):
        figure = figures.category_bars(rows, name, shots, novel, protocol)
        if figure:
            title = display_name(name)
            charts.append(Chart(title, svg(figure, f"AP50 of each category, {title}")))
    return f"{shots_label(shots)}, {PROTOCOLS[protocol]}", charts


def _detection_values(detections: DetectionResults | None) -> dict[str, object]:
    """Values of the sections about detections on the test images."""
    if detections is None:
        return {"detections": None, "precision_charts": [], "matrix": None}
    counts = (detections.counts, detections.names, detections.novel)
    return {
        "detections": detections,
        "precision_charts": _precision_charts(detections.precision),
        "precision_seeds": max(map(len, detections.precision.values()), default=0),
        "matrix": confusion.matrix(*counts) if detections.counts.any() else None,
        "confusion_sentences": list(confusion.sentences(*counts)),
        "is_grouped": len(detections.names) > confusion.MOST,
    }


def _precision_charts(precision: Mapping[str, np.ndarray]) -> list[Chart]:
    charts = []
    for number, (name, figure) in enumerate(figures.precision_recall(precision).items(), 1):
        ap50 = Interval(*mean_interval(100 * precision[name].mean(axis=1)))
        title = f"{NOVEL}{shorten(name, 18)}\nAP50 {ap50.show()}"
        charts.append(Chart(title, svg(figure, f"precision against recall, {number}: {name}")))
    return charts


def _loss_charts(losses: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Loss curves, a chart per stage."""
    return [
        Chart(stage, svg(figure, f"losses of {stage}"))
        for stage, figure in figures.loss_curves(losses).items()
    ]


def _markdown(
    title: str, rows: Sequence[Row], baseline: str, command: str, facts: Mapping[str, str]
) -> str:
    parts = [f"# {tables.escape(title)}", ""]
    parts += [f"- {tables.escape(sentence)}" for sentence in headline(rows, baseline)]
    parts += ["", tables.markdown(rows, baseline), "", reproduction_markdown(command, facts)]
    return "\n".join(parts) + "\n"
