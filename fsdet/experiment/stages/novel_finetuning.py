"""A novel stage: the detector itself fine-tuned on images of the shots, as TFA, FSCE and DeFRCN do it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet import build
from fsdet import config as cfg
from fsdet.data.loading.stream import Share, Stream, loader, scaled
from fsdet.data.loading.transforms import support as augmentation
from fsdet.data.shots.images import ShotImages
from fsdet.experiment.features import EmbeddedSupport, shots_of
from fsdet.experiment.few_shot_data import base_shots, novel_shots
from fsdet.experiment.run_folder import Log
from fsdet.experiment.setup import BaseRun, head_of
from fsdet.heads.base import Head
from fsdet.heads.calibration import CalibratedHead
from fsdet.heads.finetuning.base import FineTunedHead
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.model.rpn import ProposalGenerator
from fsdet.training.loop import Loop, Schedule, train
from fsdet.types import Shots, Support, Target, Task

_PARTS = {  # names of parameters; the classifier is what is left of the task
    "body": ("model.backbone.body.",),
    "pyramid": ("model.backbone.fpn.",),
    "rpn": ("model.rpn.", "model.to_rpn.", "model.to_regions."),
    "layers": ("model.head.", "task.fc7_", "task.encoder_"),
    "boxes": ("task.weight", "task.bias"),
}
_CLASSIFIER = ("task.rows", "task.biases")


@dataclass(frozen=True)
class FineTunedDetector:
    """A detector of one shot count and seed: the task of its head, what labels 1..N are, and what proposes."""

    model: FewShotRCNN
    task: Task
    classes: tuple[str, ...]
    proposing: ProposalGenerator | None = None  # None: the detector's RPN


class _Objective(nn.Module):
    """Faster R-CNN's losses under a task whose tensors learn with the detector."""

    def __init__(self, model: FewShotRCNN, task: Task, classes: tuple[str, ...]):
        super().__init__()
        self.model, self.classes = model, classes
        self.task = nn.ParameterDict({name: value.detach().clone() for name, value in task.items()})

    def forward(self, batch: tuple[list[Tensor], list[Target]]) -> dict[str, Tensor]:
        images, targets = batch
        shots = Shots(list(map(scaled, images)), targets, self.classes)
        return self.model.loss(shots, dict(self.task))


def novel_stage(
    ready: BaseRun,
    stage: cfg.Stage,
    k: int,
    seed: int,
    log: Log = lambda step, values: None,
) -> FineTunedDetector:
    """Gradient steps on images of k shots of every category, base ones included.

    Other objects of these images are ignored: they are neither objects nor background. `log` is called after
    every step with the losses.

    Raises:
        InputError: the head has no second stage, or a loss is no longer finite.
    """
    base, novel = ready.problem.split.base, ready.problem.split.novel
    classes = novel if stage.categories == "novel" else base + novel
    model = _base_detector(ready, stage)
    task = _first_task(ready, stage, model.head, k, seed)
    if stage.start == "novel":
        first = replace(
            stage, start="random", categories="novel", steps=stage.alone, steps_a_shot=0
        )
        task["rows"][-len(novel) :] = novel_stage(ready, first, k, seed).task["rows"][1:]
    objective = _Objective(model, task, classes).to(ready.fabric.device)
    steps = steps_of(stage, k)
    _descend(ready, stage, steps, objective, _shots(ready, classes, k, seed), seed, log)
    learned = {name: value.detach() for name, value in objective.task.items()}
    if stage.head.calibration:
        model.head = CalibratedHead(model.head, model.shape, stage.head.calibration).cpu()
        prototypes = model.head.prototypes(_known(ready, model.head, k, seed))["calibration"]
        learned["calibration"] = prototypes[-len(classes) :].to(ready.fabric.device)
    return FineTunedDetector(model.eval(), learned, classes)


def steps_of(stage: cfg.Stage, k: int) -> int:
    """How many steps a stage takes on k shots."""
    return stage.steps + k * stage.steps_a_shot


def moves_image_side(stage: cfg.Stage) -> bool:
    """Whether test images have to be looked at again."""
    return not {"layers", "boxes"}.issuperset(stage.learns)


def _base_detector(ready: BaseRun, stage: cfg.Stage) -> FewShotRCNN:
    """The base detector under the stage's head and gradients."""
    settings = ready.config.detector
    settings = replace(settings, gradients=stage.gradients or settings.gradients)
    model = build.detector(settings, cfg.Head("cosine"), 1, pretrained=False)
    model.head = head_of(stage, ready.head)
    known = {n: v for n, v in ready.model.state_dict().items() if not n.startswith("head.")}
    mine = {f"head.{name}": value for name, value in model.head.state_dict().items()}
    model.load_state_dict(known | mine)
    return ready.fabric.to_device(model)


@torch.no_grad()
def _first_task(
    ready: BaseRun, stage: cfg.Stage, head: FineTunedHead, k: int, seed: int
) -> dict[str, Tensor]:
    """Where a stage starts from: in joint label space, or that of the novel categories alone."""
    problem, n_base = ready.problem, len(ready.problem.split.base)
    known = _known(ready, head.cpu(), k, seed)
    start = head.initial_task(head.split(known.embeddings)[0], known)
    task = {name: value.clone() for name, value in (start | head.regressor()).items()}
    if stage.start != "means":
        # Base training ended with a cosine classifier, whose rows are what they are by their direction.
        rows = ready.model.head.base_task()["rows"]
        old, width = F.normalize(rows.detach().cpu(), dim=-1), rows.shape[1]
        draws = torch.Generator().manual_seed(seed)
        fresh = F.normalize(torch.randn(len(problem.split.novel), width, generator=draws), dim=-1)
        task["rows"] = torch.cat([old, 0.01 * fresh])
    if stage.categories == "novel":
        kept = [0, *range(1 + n_base, 1 + known.n_way)]
        for name in {"rows", "biases"} & task.keys():
            task[name] = task[name][kept]
    return task


def _known(ready: BaseRun, head: Head, k: int, seed: int) -> Support:
    """Memory and shots, as the base detector sees them."""
    shots = novel_shots(ready.problem, ready.config.data, k, seed)
    index = shots_of(ready.seen, ready.problem, shots)
    return EmbeddedSupport.of(head, ready.seen).with_shots(index)


def _shots(ready: BaseRun, classes: tuple[str, ...], k: int, seed: int) -> ShotImages:
    """k boxes of every category that learns."""
    problem, data = ready.problem, ready.config.data
    ids = novel_shots(problem, data, k, seed)
    if set(problem.split.base) & set(classes):
        ids |= base_shots(problem, data, k, seed).ids
    return ShotImages(problem.train, {name: ids[name] for name in classes})


def _descend(
    ready: BaseRun,
    stage: cfg.Stage,
    steps: int,
    objective: _Objective,
    shots: ShotImages,
    seed: int,
    log: Log,
) -> None:
    config, fabric = ready.config, ready.fabric
    moving = tuple(prefix for part in stage.learns for prefix in _PARTS[part])
    groups: dict[float, list[nn.Parameter]] = {stage.learning_rate: [], stage.layer_rate: []}
    for name, parameter in objective.named_parameters():
        classifier = name in _CLASSIFIER
        frozen = not parameter.requires_grad  # of a stage of the backbone that never learns
        parameter.requires_grad_(classifier or (name.startswith(moving) and not frozen))
        if parameter.requires_grad:
            groups[stage.learning_rate if classifier else stage.layer_rate].append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": some, "lr": rate} for rate, some in groups.items() if some],
        weight_decay=stage.weight_decay,
    )

    def batches(first: int):
        transform = augmentation(config.detector.max_size, config.train.flip)
        length = (steps - first) * stage.batch
        stream = Stream(shots, transform, seed, length, first * stage.batch)
        dealt = Share(stream, stage.batch, fabric.global_rank, fabric.world_size)
        for images, targets in loader(dealt, dealt.mine, config.data.workers):
            yield fabric.to_device(images), fabric.to_device(targets)

    loop = Loop(
        Schedule(steps),
        seed,
        config.train.clip,
        rate_key=f"stages, {stage.name}: learning_rate",
    )
    train(fabric, objective, batches, optimizer, loop, log=log)
