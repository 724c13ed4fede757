"""Main experiment: from a configuration to a report."""

import copy
from dataclasses import replace

import torch

from fsdet import config as cfg
from fsdet.api.detector import Detector, Memory
from fsdet.experiment.features import CachedFeatures, look
from fsdet.experiment.few_shot_data import Problem, open_problem
from fsdet.experiment.outputs import score_heads, write_outputs
from fsdet.experiment.scoring import Row
from fsdet.experiment.setup import BaseRun, TrainedBase, prepare, refused_early
from fsdet.experiment.stages.attention_rpn import attention_rows, attention_training
from fsdet.experiment.stages.per_shot_detectors import joint_rows, stage_rows
from fsdet.experiment.stages.training import end_to_end
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.progress import progress


def run(config: cfg.Config) -> list[Row]:
    """Train, meta-train and score all heads, and write the report, in the run folder.

    A run that was stopped resumes; a finished run computes again only what changed.

    Returns:
        The rows of `results.json`; in a distributed run an empty list on all processes but the first.

    Raises:
        InputError: wrong data, split, shots or head, or a run folder of another configuration.
    """
    problem = open_problem(config.data)
    specs = list({spec.label: spec for spec in (config.head, *config.baselines)}.values())
    refused_early(problem, config, specs)
    ready = prepare(config, problem)
    heads = {spec.label: ready.trained(spec).cpu() for spec in specs}
    rows = rows_of_moved_detectors(ready)
    model = ready.model.with_head(heads[config.head.label])
    if config.proposals.name == "attention":
        with ready.clock.time("attention RPN: training"):
            attention = attention_training(ready)
        with ready.clock.time("attention RPN: scoring"):
            bar = progress("attention RPN")
            rows += attention_rows(replace(ready, model=model), attention, bar)
    scored = {name: (head, ready.seen) for name, head in heads.items()}
    detectors = {ready.folder: (model, ready.seen)}
    if config.meta.end_to_end:
        name = f"{config.head.label}-e2e"
        whole, features = trained_end_to_end(ready, model, name)
        scored[name] = (whole.head, features)
        detectors[ready.folder / name] = (whole, features)
    if not ready.fabric.is_global_zero:
        return []
    head_rows, shown = score_heads(ready, scored)
    rows = head_rows + rows
    for path, (network, features) in detectors.items():
        detector_of(network.cpu(), features, problem, ready.config).save(path)
    write_outputs(ready, rows, shown, ready.losses.records)
    return rows


def rows_of_moved_detectors(ready: BaseRun) -> list[Row]:
    """Rows of novel stages and of joint training, which move the detector itself."""
    rows: list[Row] = []
    for stage in ready.config.stages:
        with ready.clock.time(f"novel stage: {stage.name}"):
            rows += stage_rows(ready, stage, progress(stage.name))
    if ready.config.joint:
        with ready.clock.time("joint training"):
            rows += joint_rows(ready, progress("joint"))
    return rows


def trained_end_to_end(
    ready: TrainedBase, model: FewShotRCNN, name: str
) -> tuple[FewShotRCNN, CachedFeatures]:
    """A copy of the detector meta-trained on episodes of images, and the features of its image side."""
    whole = ready.fabric.to_device(copy.deepcopy(model))
    with ready.clock.time(f"meta-training: {name}"):
        end_to_end(
            ready.fabric, name, whole, ready.problem, ready.config, ready.folder, ready.losses
        )
    whole.eval()
    folder = ready.folder / name
    _, features = look(ready.fabric, whole, ready.problem, ready.config, folder, ready.clock)
    return whole, features


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
