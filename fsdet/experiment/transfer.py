"""A detector of other data adapted to every category of a data set: the cross-domain protocol."""

from dataclasses import replace
from pathlib import Path

import torch

from fsdet import build
from fsdet import config as cfg
from fsdet.api import detector_file
from fsdet.api.detector import Detector
from fsdet.api.memory import Memory
from fsdet.errors import InputError
from fsdet.experiment import run_folder
from fsdet.experiment.fabric import fabric_of, precision_of, stage_batches_of
from fsdet.experiment.features import look_at_task
from fsdet.experiment.few_shot_data import EVERY, open_target
from fsdet.experiment.outputs import score_heads, write_outputs
from fsdet.experiment.run import rows_of_moved_detectors
from fsdet.experiment.scoring import Row
from fsdet.experiment.setup import BaseRun, in_own_batches, refused_early
from fsdet.heads.base import Head
from fsdet.types import Regions


def transfer(detector: Detector, config: cfg.Config) -> list[Row]:
    """Score a detector that learns all categories of `config.data` from a few boxes each; into the run folder.

    Its own categories are given up: all that it keeps is what background looks like. Beside its own head those
    of `config.baselines` start from its layers, and so do `config.stages`, which move the detector itself.

    Args:
        config: `data` but its split, `evaluate`, `baselines`, `stages`, `run`, `seed` and where it runs count;
            the rest is the detector's.

    Returns:
        The rows of `results.json`, of the novel label space alone; none in the other processes of several.

    Raises:
        InputError: data, shots or run folder are not what they should be, or a baseline learns from episodes.
    """
    config = replace(
        config,
        data=replace(config.data, split=EVERY),
        detector=detector.settings,
        head=detector.head,
        baselines=[spec for spec in config.baselines if spec.label != detector.head.label],
        meta=cfg.Meta(),
        joint=False,
        precision=precision_of(config),
    )
    config = in_own_batches(config)
    cfg.check(config)  # of stages that need what the detector has
    problem, folder = open_target(config.data), Path(config.run)
    heads = {config.head.label: detector.model.head}
    heads |= {spec.label: _inheriting(spec, detector) for spec in config.baselines}
    refused_early(problem, config, config.baselines)
    data = {config.data.train: problem.train, config.data.test: problem.test}
    marks = run_folder.marks_of(data) | {
        run_folder.DETECTOR: detector_file.identity(detector.parts())
    }
    run_folder.claim(folder, config, marks)
    fabric, clock = fabric_of(config, stage_batches_of(config)), run_folder.Clock()
    model = fabric.to_device(detector.model.eval())
    seen = look_at_task(fabric, model, problem, config, folder, clock, _background(detector))
    losses = run_folder.Losses(folder, fabric.is_global_zero)
    ready = BaseRun(config, problem, fabric, model, seen, losses, clock)
    rows = rows_of_moved_detectors(ready)
    if not fabric.is_global_zero:
        return []
    head_rows, shown = score_heads(ready, {name: (head, seen) for name, head in heads.items()})
    rows = head_rows + rows
    write_outputs(ready, rows, shown, [])
    return rows


def _inheriting(spec: cfg.Head, detector: Detector) -> Head:
    model = detector.model
    head = build.head(spec, model.shape, detector.settings.width, max(detector.n_base, 1))
    if head.learns_from_episodes:
        raise InputError(
            f"baselines: '{spec.label}' learns from episodes of base images, which are not here; expected"
            " cosine, cosine-averages, linear, finetune or fsce"
        )
    head.inherit(model.head)
    return head.eval()


def _background(detector: Detector) -> Regions:
    """What a detector keeps of no category, which may be nothing."""
    kept = detector.parts().memory.get("") or Memory.blank(0, detector.model.shape, "cpu")
    kept = kept.to(torch.device("cpu"))
    labels = torch.zeros(len(kept), dtype=torch.int64)
    return Regions(kept.features.to(torch.float32), labels, kept.deltas, 0)
