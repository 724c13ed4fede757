"""A small detector that the card trains, for comparison with a CPU."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric

from fsdet import build
from fsdet import config as cfg
from fsdet.api.detector import Detector
from fsdet.data.loading.stream import Relabelled, Stream
from fsdet.data.loading.transforms import training as augmentation
from fsdet.data.shapes.dataset import SHAPES_SPLITS, Shapes, open_shapes
from fsdet.data.shots.images import choose
from fsdet.experiment.stages.training import base_optimizer, image_batches
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.training.loop import Loop, Schedule, train
from fsdet.training.objectives import Supervised
from gpu.setting import Setting, until

CPU = torch.device("cpu")
NOVEL = SHAPES_SPLITS["shapes1"]
SHOTS, STEPS = 5, 8


@dataclass(frozen=True)
class Learner:
    """The small detector that the card trained, and a copy on a CPU."""

    config: cfg.Config
    data: Shapes
    test: Shapes
    base: tuple[str, ...]
    on_card: FewShotRCNN
    on_cpu: FewShotRCNN


def trained(setting: Setting, seconds: float) -> Learner:
    """Base training in bf16, as `fsdet train` does it, until its steps or the time are over."""
    config, fabric = setting.learner, setting.fabric("bf16-mixed")
    train_images, test_images = setting.drawn
    data, test = open_shapes("train", images=train_images), open_shapes("test", images=test_images)
    base = tuple(name for name in data.classes if name not in NOVEL)
    model = new_model(config, len(base))
    settings, batches = config.train, batches_of(config, fabric, relabelled(data, base))
    train(
        fabric,
        Supervised(model, base),
        lambda first: until(batches(first), seconds),
        base_optimizer(model, settings),
        Loop(Schedule(settings.steps if setting.device != CPU else STEPS, settings.warmup)),
    )
    return Learner(config, data, test, base, model, copy.deepcopy(model).to(CPU))


def new_model(config: cfg.Config, n_base: int) -> FewShotRCNN:
    torch.manual_seed(0)
    return build.detector(config.detector, cfg.Head("cosine"), n_base, pretrained=True)


def batches_of(
    config: cfg.Config, fabric: Fabric, source: Relabelled
) -> Callable[[int], Iterator[Any]]:
    """Batches of drawn images from a step on."""
    transform = augmentation(config.detector.max_size, config.train.strength)

    def batches(first: int) -> Iterator[Any]:
        size = config.train.batch
        images = Stream(source, transform, 0, config.train.steps * size, first * size)
        return image_batches(fabric, images, size, config.data.workers)

    return batches


def relabelled(data: Shapes, base: tuple[str, ...]) -> Relabelled:
    return Relabelled(data, labels_of(data, base))


def labels_of(data: Shapes, base: tuple[str, ...]) -> dict[int, int]:
    """Label of the data -> label of the base category, from 1."""
    return {1 + data.classes.index(name): n for n, name in enumerate(base, 1)}


def registered(model: FewShotRCNN, learner: Learner) -> Detector:
    """A detector of the novel categories, five shots each."""
    detector = Detector(model, learner.config.detector, cfg.Head("cosine"), {}, len(learner.base))
    for name in NOVEL:
        shots = choose(learner.data, [name], SHOTS, seed=0)
        pairs = [shots[i] for i in range(len(shots))]
        boxes = [target["boxes"][target["labels"] > 0] for _, target in pairs]
        detector.register(name, [image for image, _ in pairs], boxes)
    return detector
