"""Cross-domain transfer: a detector adapted to every category of another data set."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from fsdet import build
from fsdet import config as cfg
from fsdet.api import detector_file
from fsdet.api.detector import Detector
from fsdet.api.memory import Memory
from fsdet.errors import InputError
from fsdet.experiment import preflight, run_folder
from fsdet.experiment.base_run import BaseRun
from fsdet.experiment.context import claim
from fsdet.experiment.fabric import precision_of, stage_batches_of
from fsdet.experiment.features import extract_task_features
from fsdet.experiment.few_shot_data import ALL_CATEGORIES, Problem, open_target
from fsdet.experiment.outputs import score_heads, write_outputs
from fsdet.experiment.run import fine_tuned_rows
from fsdet.experiment.scoring import Row
from fsdet.heads.base import Head
from fsdet.types import Regions


def transfer(detector: Detector, config: cfg.Config) -> list[Row]:
    """Adapt a detector to all categories of `config.data` from a few boxes each, score it, write a report.

    The detector's own categories are dropped; of its memory only the background is used. `config.baselines`
    are heads that start from the layers of its head. `config.stages` fine-tune the detector itself.

    Args:
        config: `data` without its split, `evaluate`, `baselines`, `stages`, `run`, `seed` and the device are
            used; everything else comes from the detector.

    Returns:
        The rows of `results.json`, of protocol "novel" only; in a distributed run an empty list on all
        processes but the first.

    Raises:
        InputError: wrong data, shots or run folder, or a baseline that learns from episodes.
    """
    detector = detector.copy()
    detector.drop_kept()
    config = replace(
        config,
        data=replace(config.data, split=ALL_CATEGORIES),
        detector=detector.settings,
        head=detector.head,
        baselines=[spec for spec in config.baselines if spec.label != detector.head.label],
        meta=cfg.Meta(),
        joint=False,
        precision=precision_of(config),
    )
    config = preflight.rescale_to_batches(config)
    cfg.check(config)  # stages may need settings of the detector
    problem = open_target(config.data, max(config.evaluate.shots))
    heads = {config.head.label: detector.model.head}
    heads |= {spec.label: _baseline_head(spec, detector) for spec in config.baselines}
    preflight.check(problem, config, config.baselines)
    with run_folder.hold(Path(config.run)):
        return _run(detector, config, problem, heads)


def _run(
    detector: Detector, config: cfg.Config, problem: Problem, heads: Mapping[str, Head]
) -> list[Row]:
    identity = detector_file.identity(detector.parts())
    context = claim(config, problem, stage_batches_of(config), identity)
    model = detector.model.eval()
    context.fabric.to_device(model)
    features = extract_task_features(context, model, context.folder, _background(detector))
    base = BaseRun(**vars(context), model=model, features=features)
    rows = fine_tuned_rows(base)
    if base.fabric.is_global_zero:
        scored = {name: (head, features) for name, head in heads.items()}
        head_rows, shown = score_heads(base, scored)
        rows = head_rows + rows
        write_outputs(base, rows, shown, [])
    base.fabric.barrier()  # torchrun waits only five minutes for nodes that end later
    return rows if base.fabric.is_global_zero else []


def _baseline_head(spec: cfg.Head, detector: Detector) -> Head:
    """A new head that starts from the layers of the detector's head."""
    model = detector.model
    head = build.head(spec, model.shape, detector.settings.width, max(detector.n_base, 1))
    if head.learns_from_episodes:
        raise InputError(
            f"baselines: '{spec.label}' learns from episodes of base images, which transfer does not have;"
            " expected cosine, cosine-averages, linear, finetune or fsce"
        )
    head.inherit(model.head)
    return head.eval()


def _background(detector: Detector) -> Regions:
    """Background regions in the detector's memory, perhaps none."""
    memory = detector.parts().memory.get("") or Memory.blank(0, detector.model.shape, "cpu")
    memory = memory.to(torch.device("cpu"))
    labels = torch.zeros(len(memory), dtype=torch.int64)
    return Regions(memory.features.to(torch.float32), labels, memory.deltas, 0)
