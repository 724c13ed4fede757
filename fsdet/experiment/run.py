"""The main job from a configuration to a report."""

import copy
from dataclasses import replace
from pathlib import Path

import torch

from fsdet import config as cfg
from fsdet import report
from fsdet.api.detector import Detector, Memory
from fsdet.data.shots.shot_list import ShotList, save
from fsdet.experiment import run_folder
from fsdet.experiment.costs import announce
from fsdet.experiment.features import CachedFeatures, look
from fsdet.experiment.few_shot_data import Problem, base_shots, novel_shots, open_problem
from fsdet.experiment.report_images import pictures
from fsdet.experiment.scoring import Row, score
from fsdet.experiment.setup import on_both_kinds, prepare, refused_early
from fsdet.experiment.stages.attention_rpn import attention_rows, attention_training
from fsdet.experiment.stages.per_shot_detectors import joint_rows, stage_rows
from fsdet.experiment.stages.training import end_to_end
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.progress import progress


def run(config: cfg.Config) -> list[Row]:
    """Base training, image side, every head meta-trained and scored, the report; into the run folder.

    A run that was stopped goes on where it was; one that is finished only scores again what changed.

    Returns:
        The rows of `results.json`; none in the other processes of several.

    Raises:
        InputError: data, split, shots, head or run folder are not what they should be.
    """
    problem = open_problem(config.data)
    specs = list({spec.label: spec for spec in (config.head, *config.baselines)}.values())
    refused_early(problem, config, specs)
    ready = prepare(config, problem)
    config, folder, model, seen = ready.config, ready.folder, ready.model, ready.seen
    fabric, clock, losses = ready.fabric, ready.clock, ready.losses
    heads = {spec.label: ready.trained(spec).cpu() for spec in specs}
    announce(ready)
    tuned: list[Row] = []
    for stage in config.stages:
        with clock.time(f"novel stage: {stage.name}"):
            tuned += stage_rows(ready, stage, progress(stage.name))
    if config.joint:
        with clock.time("joint training"):
            tuned += joint_rows(ready, progress("joint"))
    model.head = heads[config.head.label]
    if config.proposals.name == "attention":
        with clock.time("attention RPN: training"):
            attention = attention_training(ready)
        with clock.time("attention RPN: scoring"):
            tuned += attention_rows(ready, attention, progress("attention RPN"))
    detectors = {folder: (model, seen)}
    scored = {name: (head, seen) for name, head in heads.items()}
    if config.meta.end_to_end:
        name = f"{config.head.label}-e2e"
        whole = fabric.to_device(copy.deepcopy(model))
        with clock.time(f"meta-training: {name}"):
            end_to_end(fabric, name, whole, problem, config, folder, losses)
        _, again = look(fabric, whole.eval(), problem, config, folder / name, clock)
        detectors[folder / name] = (whole, again)
        scored[name] = (whole.head.cpu(), again)
    if not fabric.is_global_zero:
        return []
    rows: list[Row] = []
    for name, (head, eyes) in scored.items():
        with clock.time(f"scoring: {name}"):
            made = score(name, head, eyes, problem, config, progress(f"scoring {name}"))
        rows += made.rows
        if report.subject(rows) == name:  # so far: a baseline that comes first gives way
            shown = made
    rows += tuned
    run_folder.write_rows(folder, rows)
    write_shots(folder / "shots", problem, config)
    for place, (one, eyes) in detectors.items():
        detector_of(one.cpu(), eyes, problem, config).save(place)
    with clock.time("pictures"):
        tested, overlays = pictures(shown, problem, config)
    about = run_folder.environment(fabric.device, config.precision, clock)
    report.write(
        folder,
        rows,
        losses.records,
        overlays,
        (folder / "config.yaml").read_text(),
        about | {"command": run_folder.command_line()},
        tested=tested,
    )
    return rows


def write_shots(folder: Path, problem: Problem, config: cfg.Config) -> None:
    """Which boxes were the shots, by annotation id: a file for each shot count and seed.

    Another for those of base categories, where a novel stage learned from them.
    """
    folder.mkdir(exist_ok=True)
    for k in config.evaluate.shots:
        for seed in range(config.evaluate.seeds):
            ids = novel_shots(problem, config.data, k, seed)
            shots = ShotList(config.data.root, problem.split.name, k, seed, ids)
            save(folder / f"{k}shot-seed{seed}.json", shots)
            if on_both_kinds(problem, config):
                known = replace(shots, ids=base_shots(problem, config.data, k, seed).ids)
                save(folder / f"{k}shot-seed{seed}-base.json", known)


def detector_of(
    model: FewShotRCNN, seen: CachedFeatures, problem: Problem, config: cfg.Config
) -> Detector:
    """The detector that a user loads: it remembers its base categories."""
    memory = {}
    for label, name in enumerate(("", *problem.split.base)):
        index = seen.memory.labels == label
        features = seen.memory.features[index].to(torch.float16)
        memory[name] = Memory(features, seen.memory.deltas[index])
    n_base = len(problem.split.base)
    return Detector(model, config.detector, config.head, memory, n_base)
