"""Main experiment: base training, meta-training, few-shot scores and a report, from one configuration."""

import copy
from pathlib import Path
from typing import NamedTuple

import torch

from fsdet import config as cfg
from fsdet.api.detector import Detector, Memory
from fsdet.experiment import preflight, run_folder
from fsdet.experiment.base_run import BaseRun, TrainedBase, prepare
from fsdet.experiment.features import CachedFeatures, extract_features
from fsdet.experiment.few_shot_data import Problem, open_problem
from fsdet.experiment.outputs import score_heads, write_outputs
from fsdet.experiment.scoring import Row
from fsdet.experiment.stages.attention_rpn import attention_rows, attention_training
from fsdet.experiment.stages.per_shot_detectors import joint_rows, stage_rows
from fsdet.experiment.stages.training import end_to_end
from fsdet.experiment.starting_detector import spec_for
from fsdet.heads.finetuning.beside import Beside
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.progress import progress


def run(config: cfg.Config) -> list[Row]:
    """Train, meta-train and score all heads, and write the report into the run folder.

    An interrupted run resumes; a finished run computes only changed results.

    Returns:
        The rows of `results.json`; in a distributed run an empty list on all processes but the first.

    Raises:
        InputError: wrong data, split, shots or head, or a run folder of another configuration or in use.
    """
    problem = open_problem(config.data)
    specs = list({spec.label: spec for spec in (config.head, *config.baselines)}.values())
    preflight.check(problem, config, specs)
    with run_folder.hold(Path(config.run)):
        return _run(config, problem, specs)


def _run(config: cfg.Config, problem: Problem, specs: list[cfg.Head]) -> list[Row]:
    base = prepare(config, problem)
    heads = {spec.label: base.trained_head(spec).cpu() for spec in specs}
    model = base.model.with_head(heads[config.head.label])
    rows = fine_tuned_rows(base)
    if config.proposals.name == "attention":
        rows += attention_rpn_rows(base, model)
    detectors = [MetaTrained(config.head.label, base.folder, model, base.features)]
    if config.meta.end_to_end:
        detectors.append(train_end_to_end(base, model))
    if base.fabric.is_global_zero:
        scored = {name: (head, base.features) for name, head in heads.items()}
        scored |= {d.name: (d.model.head, d.features) for d in detectors}
        head_rows, shown = score_heads(base, scored)
        rows = head_rows + rows
        for detector in detectors:
            detector_with_memory(base, detector).save(detector.folder)
        write_outputs(base, rows, shown, base.losses.records)
    base.fabric.barrier()  # torchrun waits only five minutes for nodes that end later
    return rows if base.fabric.is_global_zero else []


class MetaTrained(NamedTuple):
    """A detector with its meta-trained head."""

    name: str  # method in the results
    folder: Path  # of its file
    model: FewShotRCNN
    features: CachedFeatures


def fine_tuned_rows(base: BaseRun) -> list[Row]:
    """Rows of novel stages and of joint training, which train one detector per shot count and seed."""
    rows: list[Row] = []
    for stage in base.config.stages:
        with base.clock.time(f"novel stage: {stage.name}"):
            rows += stage_rows(base, stage, progress(stage.name))
    if base.config.joint:
        with base.clock.time("joint training"):
            rows += joint_rows(base, progress("joint"))
    return rows


def attention_rpn_rows(base: TrainedBase, model: FewShotRCNN) -> list[Row]:
    """Rows of a detector whose novel categories are proposed by an attention RPN."""
    with base.clock.time("attention RPN: training"):
        attention = attention_training(base)
    with base.clock.time("attention RPN: scoring"):
        return attention_rows(base, model, attention, progress("attention RPN"))


def train_end_to_end(base: TrainedBase, model: FewShotRCNN) -> MetaTrained:
    """Meta-train a copy of the detector on episodes of images, and extract its features."""
    name = f"{base.config.head.label}-e2e"
    folder = base.folder / name
    copied = copy.deepcopy(model)
    base.fabric.to_device(copied)
    with base.clock.time(f"meta-training: {name}"):
        end_to_end(base, name, copied)
    _, features = extract_features(base, copied.eval(), folder)
    return MetaTrained(name, folder, copied, features)


def detector_with_memory(base: TrainedBase, trained: MetaTrained) -> Detector:
    """The detector for users: with a memory of its base categories and of background."""
    regions, base_names = trained.features.memory, base.problem.split.base
    memory = {}
    for label, name in enumerate(("", *base_names)):
        index = regions.labels == label
        memory[name] = Memory(regions.features[index].to(torch.float16), regions.deltas[index])
    head = trained.model.head
    kept = base_names if isinstance(head, Beside) else ()
    spec = spec_for(base.config.head, base.model.head)
    rows = head.n_rows if isinstance(head, Beside) else len(base_names)
    settings, model = base.config.detector, trained.model.cpu()
    return Detector(model, settings, spec, memory, rows, kept, base.origin)
