"""Moving a detector: pyramid, proposals and box head, or the backbone too, trained on the shots of a data set."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet import build
from fsdet import config as cfg
from fsdet.api.detector import BATCH, Detector
from fsdet.api.memory import Memory, memory_of, merged, support_of
from fsdet.api.translation import Translation, paired_features
from fsdet.data.loading.stream import Stream, loader
from fsdet.data.loading.transforms import support as augmentation
from fsdet.data.shots.images import ShotImages
from fsdet.errors import InputError
from fsdet.heads.base import Head
from fsdet.heads.finetuning.beside import Beside
from fsdet.heads.finetuning.cosine import Cosine
from fsdet.heads.support import class_means, index_in_group
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.training.loop import Loop, Schedule, train
from fsdet.types import Features, Regions, Shots, Target

REPLAYED = (
    8,
    64,
)  # at most so many stored regions of an earlier category, and of background, in a step
OWN_HEAD = cfg.Head("cosine-averages")  # of a detector that was imported, once it moves


@dataclass(frozen=True)
class Moving:
    """Settings of a move; the rates are those measured on blood cells (benchmarks/README.md)."""

    level: Literal["detector", "all"] = "detector"  # all: the last stage of the backbone too
    steps: int = 100
    batch: int = 4  # images per step
    learning_rate: float = 0.01  # of the classifier, by AdamW
    layer_rate: float = 3e-4  # of pyramid, RPN and box head
    body_rate: float = 3e-5  # of the backbone's last stage
    seed: int = 0
    flip: bool = True  # whether augmented images may be mirrored


Watch = Callable[[int, Callable[[], Detector]], None]
"""Called after every step with the number of steps done, and a call that returns the detector of that moment."""


def move(
    detector: Detector,
    shots: ShotImages,
    settings: Moving = Moving(),
    watch: Watch = lambda done, moved: None,
) -> Detector:
    """A detector that was trained on the shots and has them registered; the given one is not changed.

    Plain fine-tuning of Faster R-CNN at constant rates: all its losses on augmented images of the shots, with a
    cosine classifier of all categories. The box head also sees stored regions of earlier categories. In the end,
    these regions are translated (`Translation`), as the pyramid has moved: their images are not needed. What this
    costs earlier categories, a test set tells.

    Args:
        detector: may know any categories, those of the shots among them.
        watch: called after every step.

    Raises:
        InputError: the detector keeps categories of an imported classifier, whose layers would move; its boxes
            come from another detector; or the training diverged.
    """
    if detector.kept:
        raise InputError(
            "fine-tuning of the detector: imported categories rest on the layers that would move; forget them"
            " first (drop_kept, fsdet import --drop-known)"
        )
    if detector.settings.boxes == "given":
        raise InputError(
            "fine-tuning of the detector: its boxes come from another one, and its network is frozen;"
            " expected the level register"
        )
    memory = detector.parts().memory
    regions, shown = detector.examples(shots.batches(BATCH))
    regions = regions.to(detector.device)
    registered = merged([memory, memory_of(regions, shown)])
    names = tuple(name for name in registered if name)
    shape = detector.model.shape
    head, spec = _own_head(detector, regions)
    model = _trainable(detector, head, settings.level, len(names))
    earlier = support_of(memory, names, shape).to(detector.device)
    every = support_of(registered, names, shape)
    objective = _Objective(model, _rows(model, every), names, earlier).to(detector.device)

    def moved() -> Detector:
        trained = copy.deepcopy(head)
        trained.inherit(model.head)
        own = model.with_head(trained)
        old = _translated(memory, detector.model, model, shots)
        n_base = detector.n_base if spec is detector.head else 1
        result = Detector(
            own, detector.settings, spec, old, n_base, (), detector.origin, detector.thresholds
        )
        result.remember(shots.batches(BATCH))
        return result

    _train(objective, shots, names, settings, detector.settings.max_size, lambda n: watch(n, moved))
    return moved()


class _Objective(nn.Module):
    """Faster R-CNN's losses on images of the shots, and the box head's on stored regions of earlier categories."""

    def __init__(self, model: FewShotRCNN, rows: Tensor, names: tuple[str, ...], memory: Regions):
        super().__init__()
        self.model, self.names, self.memory = model, names, memory
        self.rows = nn.Parameter(rows)

    def forward(self, batch: tuple[list[Tensor], list[Target]]) -> dict[str, Tensor]:
        head = self.model.head
        assert isinstance(head, Cosine)
        task = {"rows": self.rows, **head.regressor()}
        losses = self.model.loss(Shots(*batch, self.names), task)
        if len(self.memory.labels):
            replayed = head.loss(_sample(self.memory), task)
            losses |= {f"{name}_replayed": loss for name, loss in replayed.items()}
        return losses


def _sample(memory: Regions) -> Regions:
    """A random sample of stored regions, by the global generator, which the training loop seeds."""
    order = torch.randperm(len(memory.labels)).to(memory.labels.device)
    labels = memory.labels[order]
    most = torch.where(labels > 0, *REPLAYED)
    index = order[index_in_group(labels) < most]
    return Regions(memory.features[index], memory.labels[index], memory.deltas[index], memory.n_way)


def _own_head(detector: Detector, regions: Regions) -> tuple[Head, cfg.Head]:
    """The detector's head and its specification, or, in the place of one with kept rows, `OWN_HEAD`."""
    base = detector.model.head
    if not isinstance(base, Beside):
        return base, detector.head
    head = build.head(OWN_HEAD, detector.model.shape, detector.settings.width, 1)
    base.start(head.to(detector.device), regions)
    return head, OWN_HEAD


def _trainable(detector: Detector, head: Head, level: str, n_way: int) -> FewShotRCNN:
    """A copy of the network with a cosine head; what the level leaves as it is needs no gradient."""
    settings = detector.settings
    body = replace(settings.backbone, frozen_stages=min(settings.backbone.frozen_stages, 3))
    copied = replace(settings, backbone=body)
    model = build.detector(copied, cfg.Head("cosine"), n_way, pretrained=False).to(detector.device)
    image_side = {
        name: value
        for name, value in detector.model.state_dict().items()
        if not name.startswith("head.")
    }
    model.head.inherit(head)
    model.load_state_dict(image_side | {f"head.{n}": v for n, v in model.head.state_dict().items()})
    if level == "detector":
        model.backbone.body.requires_grad_(False)
    return model


@torch.no_grad()
def _rows(model: FewShotRCNN, support: Regions) -> Tensor:
    """Initial rows of the classifier, [1 + N, D]: mean directions of the support's regions."""
    head = model.head
    assert isinstance(head, Cosine)
    embeddings, _ = head.split(head.embed(support.features.to(torch.float32)))
    return F.normalize(class_means(embeddings, support.labels, support.n_way), dim=-1)


def _train(
    objective: _Objective,
    shots: ShotImages,
    names: tuple[str, ...],
    settings: Moving,
    size: int,
    watch: Callable[[int], None],
) -> None:
    device = next(objective.parameters()).device
    fabric = Fabric(accelerator=device.type, devices=1, precision="32-true")
    transform = augmentation(size, settings.flip)
    relabelled = ShotImages(shots.data, {name: shots.ids.get(name, []) for name in names})

    def batches(first: int) -> Iterator[tuple[list[Tensor], list[Target]]]:
        stream = Stream(relabelled, transform, settings.seed, settings.steps * settings.batch)
        for images, targets in loader(stream, settings.batch):
            yield fabric.to_device(images), fabric.to_device(targets)

    def log(step: int, losses: Mapping[str, float]) -> None:
        watch(step + 1)
        objective.train()  # a detector that was looked at is in evaluation mode

    steps = settings.steps
    schedule = Schedule(steps, min(10, steps // 4), drops=(steps,))  # constant after warm-up
    loop = Loop(schedule, settings.seed, rate_key="rates, the classifier's")
    train(fabric, objective, batches, _optimizer(objective, settings), loop, log=log)


def _optimizer(objective: _Objective, settings: Moving) -> torch.optim.Optimizer:
    body = [p for p in objective.model.backbone.body.parameters() if p.requires_grad]
    in_body = {id(p) for p in objective.model.backbone.body.parameters()}
    head = objective.model.head
    assert isinstance(head, Cosine)
    head.rows.requires_grad_(False)  # of base training; the task's are trained
    layers = [p for p in objective.model.parameters() if p.requires_grad and id(p) not in in_body]
    groups = [
        {"params": [objective.rows], "lr": settings.learning_rate},
        {"params": layers, "lr": settings.layer_rate},
        {"params": body, "lr": settings.body_rate},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.0)


def _translated(
    memory: Mapping[str, Memory], old: FewShotRCNN, new: FewShotRCNN, shots: ShotImages
) -> dict[str, Memory]:
    """Stored regions as the moved layers would have computed them."""
    if not memory:
        return {}
    device = next(new.parameters()).device
    new.eval()
    pairs = [
        paired_features(old, new, [image.to(device) for image in batch.images])
        for batch in shots.batches(BATCH)
    ]
    before, after = (Features.cat(side) for side in zip(*pairs, strict=True))
    translation = Translation.fit(before, after)
    return {
        name: Memory(translation(regions.features), regions.deltas)
        for name, regions in memory.items()
    }
