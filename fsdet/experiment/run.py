"""The main job from a configuration to a report."""

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fsdet import build, report
from fsdet import config as cfg
from fsdet.api import Detector, Memory
from fsdet.cli import progress
from fsdet.detector import FewShotRCNN
from fsdet.engine.bank import EpisodeSampler
from fsdet.engine.evaluate import embed, find
from fsdet.experiment import record
from fsdet.experiment.device import fabric_of
from fsdet.experiment.image_side import Seen, Supports, look, shots_of
from fsdet.experiment.problem import Problem, novel_shots, open_problem
from fsdet.experiment.score import Row, score
from fsdet.experiment.stages import base_training, end_to_end, meta_training
from fsdet.heads.base import Head, RegionShape
from fsdet.postprocess import Selection


def run(config: cfg.Config) -> list[Row]:
    """Base training, image side, every head meta-trained and scored, the report; into the run folder.

    A run that was stopped goes on where it was; one that is finished only scores again what changed.

    Returns:
        The rows of `results.json`; none in the other processes of several.

    Raises:
        InputError: data, split, shots, head or run folder are not what they should be.
    """
    folder = Path(config.run)
    problem = open_problem(config.data)
    specs = _refused_early(problem, config)
    record.claim(folder, config)
    fabric = fabric_of(config)
    clock, losses = record.Clock(), record.Losses(folder, fabric.is_global_zero)
    with clock.time("base training"):
        model = base_training(fabric, problem, config, folder, losses)
    model = fabric.to_device(model.eval())
    seen = look(fabric, model, problem, config, folder, clock)
    base_head, rows, first = model.head, [], None
    for spec in specs:
        fabric.seed_everything(config.seed, verbose=False)  # whatever was drawn before, or resumed
        head = build.head(spec, model.shape, config.detector.width, len(problem.split.base))
        head.inherit(base_head)
        if head.learns_from_episodes:
            with clock.time(f"meta-training: {spec.name}"):
                sampler = _sampler(seen, config)
                meta_training(fabric, spec, head, sampler, config, folder, losses)
        head = head.eval().cpu()
        first = first or head
        rows += _scored(spec.name, head, seen, problem, config, clock)
    if config.meta.end_to_end:
        name = f"{config.head.name}-e2e"
        whole = copy.deepcopy(model)
        whole.head = fabric.to_device(copy.deepcopy(first))
        with clock.time(f"meta-training: {name}"):
            end_to_end(fabric, name, whole, problem, config, folder, losses)
        inner = folder / name
        inner.mkdir(exist_ok=True)
        again = look(fabric, whole.eval(), problem, config, inner, clock)
        rows += _scored(name, whole.head.eval().cpu(), again, problem, config, clock)
    if not fabric.is_global_zero:
        return []
    model.head = first
    _finish(folder, model.cpu(), seen, problem, config, rows, losses, fabric, clock)
    return rows


def _refused_early(problem: Problem, config: cfg.Config) -> list[cfg.Head]:
    """The heads, without those named twice; what could not be done after hours of training is said now.

    Raises:
        InputError: a head or an argument that is not there; more shots than boxes.
    """
    specs = {spec.name: spec for spec in (config.head, *config.baselines)}
    for spec in specs.values():
        build.head(spec, RegionShape(1, 2, (1,)), 1, 1)
    for k in config.evaluate.shots:
        for seed in range(config.evaluate.seeds if config.data.shots else 1):
            novel_shots(problem, config.data, k, seed)
    return list(specs.values())


def _sampler(seen: Seen, config: cfg.Config) -> EpisodeSampler:
    settings = config.meta
    return EpisodeSampler(
        seen.base,
        tuple(settings.ways),
        tuple(settings.shots),
        settings.known,
        query=settings.query,
        background=settings.background,
        chimeras=settings.chimeras,
        seed=config.seed,
    )


def _scored(name: str, head: Head, seen: Seen, problem: Problem, config, clock) -> list[Row]:
    with clock.time(f"scoring: {name}"):
        return score(name, head, seen, problem, config, progress(f"scoring {name}"))


def _finish(
    folder: Path,
    model: FewShotRCNN,
    seen: Seen,
    problem: Problem,
    config: cfg.Config,
    rows: list[Row],
    losses: record.Losses,
    fabric: Any,
    clock: record.Clock,
) -> None:
    """Results, detector and report."""
    record.write_rows(folder, rows)
    detector_of(model, seen, problem, config).save(folder)
    about = record.environment(fabric.device, config.precision, clock)
    report.write(
        folder,
        rows,
        losses.records,
        _overlays(model.head, seen, problem, config),
        (folder / "config.yaml").read_text(),
        about | {"command": " ".join(["python", *sys.argv])},
    )


def detector_of(model: FewShotRCNN, seen: Seen, problem: Problem, config: cfg.Config) -> Detector:
    """The detector that a user loads: it remembers its base categories."""
    memory = {}
    for label, name in enumerate(("", *problem.split.base)):
        index = seen.memory.labels == label
        features = seen.memory.features[index].to(torch.float16)
        memory[name] = Memory(features, seen.memory.deltas[index])
    n_base = len(problem.split.base)
    return Detector(model, config.detector, config.head, memory, n_base)


def _overlays(head: Head, seen: Seen, problem: Problem, config: cfg.Config) -> list:
    """Pictures of truth and detections at the most shots, those with novel objects first."""
    names = problem.split.base + problem.split.novel
    k = max(config.evaluate.shots)
    index = shots_of(seen, problem, novel_shots(problem, config.data, k, 0))
    task = head.learn(Supports.of(head, seen).with_shots(index))
    embeddings = embed(head, seen.test.features)
    found = find(head, task, embeddings, seen.test, Selection(score=0.3))
    test, colours, pictures = problem.test, report.palette(names), []
    with_novel = np.isin(test.labels, [test.classes.index(n) + 1 for n in problem.split.novel])
    novel_images = np.unique(np.searchsorted(test.starts, np.flatnonzero(with_novel), "right") - 1)
    spread = np.linspace(0, len(novel_images) - 1, min(config.evaluate.overlays, len(novel_images)))
    for i in novel_images[spread.astype(int)].tolist():
        rows, mine = test.rows(i), found.of_image(i)
        truth = [test.classes[label - 1] for label in test.labels[rows]]
        said = [names[label - 1] for label in mine["labels"].tolist()]
        picture = report.beside(
            test.image(i),
            (test.boxes[rows], truth),
            (mine["boxes"].numpy(), said, mine["scores"].tolist()),
            problem.split.novel,
            colours,
        )
        pictures.append((test.paths[i], picture))
    return pictures
