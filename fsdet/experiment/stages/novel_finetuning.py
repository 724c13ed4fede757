"""Novel fine-tuning: the detector itself trained on images of the shots, as in TFA, FSCE and DeFRCN."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet import build
from fsdet import config as cfg
from fsdet.data.loading.stream import Stream
from fsdet.data.loading.transforms import support as support_transform
from fsdet.data.shots.images import ShotImages
from fsdet.experiment.base_run import BaseRun
from fsdet.experiment.few_shot_data import base_shots, novel_shots
from fsdet.experiment.preflight import stage_head
from fsdet.experiment.stages.training import ImageBatch, base_task, image_batches
from fsdet.experiment.support import EmbeddedSupport, select_shots
from fsdet.heads.base import Head
from fsdet.heads.calibration import CalibratedHead
from fsdet.heads.finetuning.base import FineTunedHead
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.model.rpn import ProposalGenerator
from fsdet.training.loop import Loop, Schedule, train
from fsdet.types import Shots, Support, Target, Task

_PARTS = {  # prefixes of parameter names; the classifier is the rest of the task
    "body": ("model.backbone.body.",),
    "pyramid": ("model.backbone.fpn.",),
    "rpn": ("model.rpn.", "model.to_rpn.", "model.to_regions."),
    "layers": ("model.head.", "task.fc7_", "task.encoder_"),
    "boxes": ("task.weight", "task.bias"),
}
_CLASSIFIER = ("task.rows", "task.biases")


@dataclass(frozen=True)
class FineTunedDetector:
    """A detector of one shot count and seed."""

    model: FewShotRCNN
    task: Task  # of its head
    classes: tuple[str, ...]  # of labels 1..N
    proposing: ProposalGenerator | None = None  # None: the detector's RPN


class _Objective(nn.Module):
    """Faster R-CNN's losses under a task whose tensors are trained with the detector."""

    def __init__(self, model: FewShotRCNN, task: Task, classes: tuple[str, ...]):
        super().__init__()
        self.model, self.classes = model, classes
        self.task = nn.ParameterDict({name: value.detach().clone() for name, value in task.items()})

    def forward(self, batch: tuple[list[Tensor], list[Target]]) -> dict[str, Tensor]:
        images, targets = batch
        return self.model.loss(Shots(images, targets, self.classes), dict(self.task))


def fine_tune(base: BaseRun, stage: cfg.Stage, k: int, seed: int) -> FineTunedDetector:
    """Fine-tune the base detector on images of k shots of every category, base ones included.

    Other objects of these images are ignored: they are neither objects nor background.

    Raises:
        InputError: the head cannot be fine-tuned, or the training diverged.
    """
    split = base.problem.split
    classes = split.novel if stage.categories == "novel" else split.base + split.novel
    model, head = _detector_of_stage(base, stage)
    task = _initial_task(base, stage, head, k, seed)
    if stage.start == "novel":
        first = replace(
            stage, start="random", categories="novel", steps=stage.alone, steps_a_shot=0
        )
        task["rows"][-len(split.novel) :] = fine_tune(base, first, k, seed).task["rows"][1:]
    objective = _Objective(model, task, classes).to(base.fabric.device)
    _train(base, stage, objective, _shot_images(base, classes, k, seed), k, seed)
    learned = {name: value.detach() for name, value in objective.task.items()}
    if stage.head.calibration:
        calibrated = CalibratedHead(head, model.shape, stage.head.calibration).cpu()
        model = model.with_head(calibrated)
        prototypes = calibrated.prototypes(_support(base, calibrated, k, seed))["calibration"]
        learned["calibration"] = prototypes[-len(classes) :].to(base.fabric.device)
    return FineTunedDetector(model.eval(), learned, classes)


def changes_image_side(stage: cfg.Stage) -> bool:
    """Whether a stage trains more than the head, so that test images need new features."""
    return not {"layers", "boxes"}.issuperset(stage.learns)


def _detector_of_stage(base: BaseRun, stage: cfg.Stage) -> tuple[FewShotRCNN, FineTunedHead]:
    """The base detector with the head and the gradients of a stage, and the head."""
    settings = base.config.detector
    settings = replace(settings, gradients=stage.gradients or settings.gradients)
    model = build.detector(settings, cfg.Head("cosine"), 1, pretrained=False)
    head = stage_head(stage, base.new_head)
    model = model.with_head(head)
    image_side = {n: v for n, v in base.model.state_dict().items() if not n.startswith("head.")}
    own_head = {f"head.{name}": value for name, value in head.state_dict().items()}
    model.load_state_dict(image_side | own_head)
    base.fabric.to_device(model)
    return model, head


@torch.no_grad()
def _initial_task(
    base: BaseRun, stage: cfg.Stage, head: FineTunedHead, k: int, seed: int
) -> dict[str, Tensor]:
    """The task that a stage starts from, in the joint label space or in that of novel categories."""
    split = base.problem.split
    support = _support(base, head.cpu(), k, seed)
    start = head.initial_task(head.split(support.embeddings)[0], support)
    task = {name: value.clone() for name, value in (start | head.regressor()).items()}
    if stage.start != "means":
        # The classifier of base training is cosine: only the direction of its rows matters.
        rows = base_task(base.model)["rows"].cpu()
        draws = torch.Generator().manual_seed(seed)
        novel_rows = torch.randn(len(split.novel), rows.shape[1], generator=draws)
        novel_rows = 0.01 * F.normalize(novel_rows, dim=-1)
        task["rows"] = torch.cat([F.normalize(rows, dim=-1), novel_rows])
    if stage.categories == "novel":
        index = [0, *range(1 + len(split.base), 1 + support.n_way)]
        for name in {"rows", "biases"} & task.keys():
            task[name] = task[name][index]
    return task


def _support(base: BaseRun, head: Head, k: int, seed: int) -> Support:
    """Memory and shots, embedded by a head from the features of the base detector."""
    shots = novel_shots(base.problem, base.config.data, k, seed)
    index = select_shots(base.features, base.problem, shots)
    return EmbeddedSupport.embed(head, base.features).with_shots(index)


def _shot_images(base: BaseRun, classes: tuple[str, ...], k: int, seed: int) -> ShotImages:
    """Images of k shots of every category."""
    problem, data = base.problem, base.config.data
    ids = novel_shots(problem, data, k, seed)
    if set(problem.split.base) & set(classes):
        ids |= base_shots(problem, data, k, seed).ids
    return ShotImages(problem.train, {name: ids[name] for name in classes})


def _train(
    base: BaseRun, stage: cfg.Stage, objective: _Objective, shots: ShotImages, k: int, seed: int
) -> None:
    config, fabric = base.config, base.fabric
    steps = stage.steps + k * stage.steps_a_shot

    def batches(first: int) -> Iterator[ImageBatch]:
        transform = support_transform(config.detector.max_size, config.train.flip)
        length = (steps - first) * stage.batch
        stream = Stream(shots, transform, seed, length, first * stage.batch)
        return image_batches(fabric, stream, stage.batch, config.data.workers)

    rate_key = f"stages, {stage.name}: learning_rate"
    loop = Loop(Schedule(steps), seed, config.train.clip, rate_key=rate_key)
    train(fabric, objective, batches, _optimizer(stage, objective), loop)


def _optimizer(stage: cfg.Stage, objective: _Objective) -> torch.optim.Optimizer:
    """AdamW for the classifier and for the parts that the stage trains; all else is frozen."""
    prefixes = tuple(prefix for part in stage.learns for prefix in _PARTS[part])
    groups: dict[float, list[nn.Parameter]] = {stage.learning_rate: [], stage.layer_rate: []}
    for name, parameter in objective.named_parameters():
        is_classifier = name in _CLASSIFIER
        trainable = parameter.requires_grad  # not in a frozen stage of the backbone
        parameter.requires_grad_(is_classifier or (name.startswith(prefixes) and trainable))
        if parameter.requires_grad:
            rate = stage.learning_rate if is_classifier else stage.layer_rate
            groups[rate].append(parameter)
    return torch.optim.AdamW(
        [{"params": parameters, "lr": rate} for rate, parameters in groups.items() if parameters],
        weight_decay=stage.weight_decay,
    )
