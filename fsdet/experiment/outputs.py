"""Outputs of an experiment: scored heads, `results.json`, shots and the report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fsdet import config as cfg
from fsdet import report
from fsdet.data.shots.shot_list import ShotList, save
from fsdet.experiment import run_log
from fsdet.experiment.base_run import BaseRun
from fsdet.experiment.features import CachedFeatures
from fsdet.experiment.few_shot_data import Problem, base_shots, novel_shots
from fsdet.experiment.preflight import uses_base_shots
from fsdet.experiment.report_images import report_images
from fsdet.experiment.scoring import Row, ScoredHead, nan_to_none, score
from fsdet.files import write_whole
from fsdet.heads.base import Head
from fsdet.progress import progress


def score_heads(
    base: BaseRun, heads: Mapping[str, tuple[Head, CachedFeatures]]
) -> tuple[list[Row], ScoredHead]:
    """Score heads over shots and seeds from cached region features.

    Args:
        heads: method name -> head and the features of its detector; at least one.

    Returns:
        The rows of all heads, and the scored head whose detections the report shows.
    """
    rows: list[Row] = []
    scored: dict[str, ScoredHead] = {}
    for name, (head, features) in heads.items():
        with base.clock.time(f"scoring: {name}"):
            bar = progress(f"scoring {name}")
            scored[name] = score(name, head.cpu(), features, base.problem, base.config, bar)
        rows += scored[name].rows
    method = report.main_method(rows)
    assert method is not None  # every head has rows with shots
    return rows, scored[method]


def write_outputs(
    base: BaseRun, rows: Sequence[Row], shown: ScoredHead, losses: Sequence[dict[str, Any]]
) -> None:
    """Write `results.json`, the shots and the report into the run folder.

    Args:
        shown: the head whose detections the report shows.
        losses: records of the trainings, for the loss curves.
    """
    config, problem, folder = base.config, base.problem, base.folder
    text = json.dumps([nan_to_none(row) for row in rows], indent=1)
    write_whole(folder / "results.json", lambda file: file.write_text(text))
    write_shots(folder / "shots", problem, config)
    with base.clock.time("pictures"):
        detections, overlays = report_images(shown, problem, config)
    facts = run_log.environment(base.fabric.device, config.precision, base.clock)
    report.write(
        folder,
        rows,
        losses,
        overlays,
        (folder / "config.yaml").read_text(),
        facts | {"command": run_log.command_line()},
        detections=detections,
    )


def write_shots(folder: Path, problem: Problem, config: cfg.Config) -> None:
    """Write the annotation ids of the shots: one file per shot count and seed.

    A second file holds the shots of base categories if a novel stage uses them.
    """
    folder.mkdir(exist_ok=True)
    for k in config.evaluate.shots:
        for seed in range(config.evaluate.seeds):
            ids = novel_shots(problem, config.data, k, seed)
            shots = ShotList(config.data.root, problem.split.name, k, seed, ids)
            save(folder / f"{k}shot-seed{seed}.json", shots)
            if uses_base_shots(problem, config):
                shots = replace(shots, ids=base_shots(problem, config.data, k, seed).ids)
                save(folder / f"{k}shot-seed{seed}-base.json", shots)
