"""Outputs of an experiment: scored heads, `results.json`, shots and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fsdet import config as cfg
from fsdet import report
from fsdet.data.shots.shot_list import ShotList, save
from fsdet.experiment import run_folder
from fsdet.experiment.features import CachedFeatures
from fsdet.experiment.few_shot_data import Problem, base_shots, novel_shots
from fsdet.experiment.report_images import pictures
from fsdet.experiment.scoring import Row, Scored, score
from fsdet.experiment.setup import BaseRun, on_both_kinds
from fsdet.heads.base import Head
from fsdet.progress import progress


def score_heads(
    base: BaseRun, heads: Mapping[str, tuple[Head, CachedFeatures]]
) -> tuple[list[Row], Scored]:
    """Score heads over shots and seeds from cached region features.

    Args:
        heads: method name -> head and the features of its image side; at least one.

    Returns:
        The rows of all heads, and the scored head that the report shows detections of.
    """
    rows: list[Row] = []
    scored: dict[str, Scored] = {}
    for name, (head, features) in heads.items():
        with base.clock.time(f"scoring: {name}"):
            bar = progress(f"scoring {name}")
            scored[name] = score(name, head.cpu(), features, base.problem, base.config, bar)
        rows += scored[name].rows
    return rows, scored[report.subject(rows)]


def write_outputs(
    base: BaseRun, rows: Sequence[Row], shown: Scored, losses: Sequence[dict]
) -> None:
    """Write `results.json`, the shots and the report into the run folder.

    Args:
        shown: the head that the report shows detections of.
        losses: records of the trainings, for the loss curves.
    """
    config, problem, folder = base.config, base.problem, base.folder
    run_folder.write_rows(folder, rows)
    write_shots(folder / "shots", problem, config)
    with base.clock.time("pictures"):
        tested, overlays = pictures(shown, problem, config)
    facts = run_folder.environment(base.fabric.device, config.precision, base.clock)
    report.write(
        folder,
        rows,
        losses,
        overlays,
        (folder / "config.yaml").read_text(),
        facts | {"command": run_folder.command_line()},
        tested=tested,
    )


def write_shots(folder: Path, problem: Problem, config: cfg.Config) -> None:
    """Write the annotation ids of the shots: one file per shot count and seed.

    A second file holds the shots of base categories where a novel stage uses them.
    """
    folder.mkdir(exist_ok=True)
    for k in config.evaluate.shots:
        for seed in range(config.evaluate.seeds):
            ids = novel_shots(problem, config.data, k, seed)
            shots = ShotList(config.data.root, problem.split.name, k, seed, ids)
            save(folder / f"{k}shot-seed{seed}.json", shots)
            if on_both_kinds(problem, config):
                of_base = replace(shots, ids=base_shots(problem, config.data, k, seed).ids)
                save(folder / f"{k}shot-seed{seed}-base.json", of_base)
