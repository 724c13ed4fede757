"""Training of a Faster R-CNN on a card, against torchvision's reference loop, and where its time goes."""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import torch
from own_speed import plain
from torch import nn
from torch.utils.data import Dataset
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from fsdet import build
from fsdet import config as cfg
from fsdet.data.loading.stream import Relabelled, Stream, loader
from fsdet.data.loading.transforms import training as augmentation
from fsdet.experiment.stages.training import base_optimizer, image_batches
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.training.loop import Loop, Schedule, train
from fsdet.training.objectives import Supervised
from gpu.setting import LEAST, Setting, Stored, rate, until

ENDLESS = 10**6  # steps
SECTIONS = {
    "transform": "resizing",
    "backbone": "backbone",
    "rpn": "RPN",
    "pool": "pooling of maps",
}


def detector(setting: Setting, head: str) -> FewShotRCNN:
    """The detector of the speed parts, with random weights, on the device."""
    torch.manual_seed(0)
    model = build.detector(setting.detector, cfg.Head(head), 20, pretrained=True)
    return model.to(setting.device)


def reference(setting: Setting) -> nn.Module:
    """torchvision's detector over the same ResNet, with the same sizes."""
    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(
        backbone_name=setting.network,
        weights=None,
        norm_layer=FrozenBatchNorm2d,
        trainable_layers=3,
    )
    state = torch.load(setting.detector.backbone.weights, weights_only=True)
    backbone.body.load_state_dict(state, strict=False)  # without the classifier
    return plain(setting.detector, backbone, 20).to(setting.device)


def stream(setting: Setting, data: Stored) -> Stream:
    """Endless augmented images."""
    labels = {label: label for label in range(1, 1 + len(data.classes))}
    transform = augmentation(setting.detector.max_size)
    return Stream(Relabelled(data, labels), transform, 0, ENDLESS * setting.batch)


def optimizer_of(model: FewShotRCNN) -> torch.optim.Optimizer:
    """That of base training, at a rate at which random weights stay finite."""
    return base_optimizer(model, cfg.Train(learning_rate=1e-5))


def ours(setting: Setting, data: Stored, model: FewShotRCNN, seconds: float) -> float:
    """Images per second of `fsdet.training.loop.train`, the loop of every training of fsdet."""
    fabric = setting.fabric(setting.precision)
    times: list[float] = []

    def batches(first: int) -> Iterator[Any]:
        return until(
            image_batches(fabric, stream(setting, data), setting.batch, setting.workers), seconds
        )

    train(
        fabric,
        Supervised(model, data.classes),
        batches,
        optimizer_of(model),
        Loop(Schedule(ENDLESS)),
        log=lambda step, losses: times.append(time.perf_counter()),
    )
    return setting.batch * rate(times)


def theirs(setting: Setting, data: Dataset, model: nn.Module, seconds: float) -> float:
    """Images per second of torchvision's references/detection/engine.py, `train_one_epoch`, in the same precision.

    Images arrive as bytes and become floats on the card. The reference sends floats, four times as much.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=1e-5, momentum=0.9, weight_decay=1e-4)
    times: list[float] = []
    model.train()
    for images, targets in until(loader(data, setting.batch, setting.workers), seconds):
        images = [image.to(setting.device).float() / 255 for image in images]
        targets = [{k: v.to(setting.device) for k, v in target.items()} for target in targets]
        with setting.autocast(setting.precision):
            total = sum(model(images, targets).values())
        if not math.isfinite(total.item()):
            raise ValueError(f"torchvision's loss is {total.item()}")
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        times.append(time.perf_counter())
    return setting.batch * rate(times)


def training(setting: Setting, data: Stored, seconds: float) -> dict[str, Any]:
    """Images per second of both loops, alternated, and the peak memory of ours."""
    own, other = detector(setting, "cosine"), reference(setting)
    results: dict[str, list[float]] = {"ours": [], "torchvision": []}
    for _ in range(2):
        reset_memory(setting)
        results["ours"].append(ours(setting, data, own, seconds / 4))
        memory = peak_memory(setting)
        results["torchvision"].append(theirs(setting, stream(setting, data), other, seconds / 4))
    best = {name: max(values) for name, values in results.items()}
    return {
        "images per second": best,
        "times as fast": best["ours"] / best["torchvision"],
        "peak memory in GiB": memory,
    }


def reset_memory(setting: Setting) -> None:
    if setting.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(setting.device)


def peak_memory(setting: Setting) -> float | None:
    """GiB of tensors on the card at most, since `reset_memory`; None on a CPU."""
    if setting.device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated(setting.device) / 2**30


def profile(setting: Setting, data: Stored, seconds: float) -> dict[str, Any]:
    """Milliseconds of each part of a training step, waiting for the card after each, and the longest kernels."""
    fabric, model = setting.fabric(setting.precision), detector(setting, "cosine")
    objective = Supervised(model, data.classes)
    wrapped, optimizer = fabric.setup(objective, optimizer_of(model))
    objective.train()
    spent: dict[str, float] = {}
    for attribute, name in SECTIONS.items():
        _watch(setting, getattr(model, attribute), name, spent)
    for layers in (model.head.trunk, model.head.boxes):
        _watch(setting, layers, "head", spent)
    batches = iter(loader(stream(setting, data), setting.batch, setting.workers))
    step = partial(_step, setting, fabric, wrapped, optimizer, batches, spent)
    for n in until(count(), seconds / 2):
        if n == LEAST // 2:
            spent.clear()
        step()
    steps = n + 1 - LEAST // 2
    named = sum(spent[name] for name in (*SECTIONS.values(), "head"))
    spent["rest of the forward pass: sampling, averages, losses"] = spent.pop("forward") - named
    activities = [torch.profiler.ProfilerActivity.CPU]
    if setting.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        step()
    order = "self_device_time_total" if setting.device.type == "cuda" else "self_cpu_time_total"
    events = sorted(profiler.key_averages(), key=lambda e: -getattr(e, order))[:12]
    return {
        "milliseconds a step": {name: 1000 * value / steps for name, value in spent.items()},
        "longest kernels, milliseconds": {e.key[:80]: getattr(e, order) / 1000 for e in events},
    }


def _step(setting, fabric, wrapped, optimizer, batches, spent) -> None:
    """A training step whose parts are timed."""
    timed = partial(_timed, setting, spent)
    images, targets = timed("loader", partial(next, batches))
    batch = timed(
        "copy to the device", lambda: (fabric.to_device(images), fabric.to_device(targets))
    )
    losses = timed("forward", partial(wrapped, batch))
    optimizer.zero_grad()
    timed("backward pass", partial(fabric.backward, sum(losses.values())))
    timed("clipping", partial(fabric.clip_gradients, wrapped, optimizer, max_norm=10.0))
    timed("optimiser", optimizer.step)


def _timed(setting: Setting, spent: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = work()
    setting.synchronize()
    spent[name] = spent.get(name, 0.0) + time.perf_counter() - start
    return result


def _watch(setting: Setting, module: nn.Module, name: str, spent: dict[str, float]) -> None:
    """Add the seconds of a module's forward passes to `spent`."""
    starts: list[float] = []

    def before(*_: object) -> None:
        setting.synchronize()
        starts.append(time.perf_counter())

    def after(*_: object) -> None:
        setting.synchronize()
        spent[name] = spent.get(name, 0.0) + time.perf_counter() - starts.pop()

    module.register_forward_pre_hook(before)
    module.register_forward_hook(after)
