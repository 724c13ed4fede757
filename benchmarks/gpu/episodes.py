"""Episodes per second on a card: second-order, from a region bank, and end to end."""

import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import count
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional as F

from fsdet import build
from fsdet import config as cfg
from fsdet.data.loading.episodes import Episodes
from fsdet.data.loading.stream import loader
from fsdet.data.loading.transforms import support as support_transform
from fsdet.data.loading.transforms import training as augmentation
from fsdet.heads.layers import RegionShape
from fsdet.training.episodes import EpisodeSampler
from fsdet.training.loop import Loop, Schedule, train
from fsdet.training.objectives import FromBank, FromImages
from fsdet.training.region_bank import RegionBank
from fsdet.types import Episode, Features, Shots
from gpu.setting import Setting, Stored, rate, until
from gpu.training import ENDLESS, detector, peak_memory, reset_memory

OBJECTS = 30  # of a category in the bank
REGIONS = 3  # of an object


def bank_of(shape: RegionShape, categories: int) -> RegionBank:
    """Random regions of that shape; every object has an image of its own, which shows background too."""
    generator = torch.Generator().manual_seed(0)
    owners = torch.arange(categories * OBJECTS)
    of = torch.cat([owners.repeat_interleave(REGIONS), owners])
    is_object = torch.arange(len(of)) < REGIONS * len(owners)
    maps = torch.rand(len(of), shape.channels, shape.side, shape.side, generator=generator)
    levels = [torch.rand(len(of), width, generator=generator) for width in shape.means]
    means = torch.cat([F.normalize(level, dim=1) for level in levels], 1)
    return RegionBank(
        Features(maps, means).to(torch.float16),
        torch.where(is_object, 1 + of // OBJECTS, 0),
        torch.randn(len(of), 4, generator=generator) * is_object[:, None],
        of,
        torch.where(is_object, of, -1),
        tuple(f"category {n}" for n in range(categories)),
        shape.means,
    )


def from_bank(setting: Setting, data: Stored, seconds: float) -> dict[str, Any]:
    """Second-order 5-way 5-shot episodes a second, one a step as in meta-training, with and without base roles."""
    model = detector(setting, "maml")
    bank = bank_of(model.shape, 20).gathered_on(setting.device)
    results: dict[str, Any] = {}
    for known in (0, 8):
        sampler = EpisodeSampler(bank, (5, 5), (5, 5), known=known)
        for precision in setting.precisions:
            head = build.head(cfg.Head("maml"), model.shape, setting.detector.width, 20)
            results[f"{known} base categories, {precision}"] = _rate(
                setting.fabric(precision),
                FromBank(head.to(setting.device)),
                head.optimizer(1e-5, 1e-5, 1e-5, 0.01),
                ([tuple(side.to(setting.device) for side in sampler(i))] for i in count()),
                seconds / 5,
            )
        start = time.perf_counter()
        drawn = sum(1 for _ in until(map(sampler, count()), seconds / 10))
        setting.synchronize()
        results[f"{known} base categories, drawn alone"] = drawn / (time.perf_counter() - start)
    return {"episodes per second": results}


def end_to_end(setting: Setting, data: Stored, seconds: float) -> dict[str, Any]:
    """1-shot episodes of images a second, through backbone, RPN and head, and their peak memory."""
    model, fabric = detector(setting, "maml"), setting.fabric(setting.precision)
    size = setting.detector.max_size
    drawn = Episodes(
        data,
        range(1, 1 + len(data.classes)),
        (setting.ways, setting.ways),
        (1, 1),
        1,
        support_transform(size),
        augmentation(size),
        0,
        ENDLESS,
    )

    def on_device(shots: Shots) -> Shots:
        images, targets = fabric.to_device(shots.images), fabric.to_device(shots.targets)
        return Shots(images, targets, shots.classes)

    def batches() -> Iterator[list[Episode]]:
        for episodes in loader(drawn, 1, setting.workers, list):
            yield [Episode(on_device(e.support), on_device(e.query)) for e in episodes]

    parameters = [p for p in model.parameters() if p.requires_grad]
    reset_memory(setting)
    speed = _rate(
        fabric, FromImages(model), torch.optim.AdamW(parameters, 1e-6), batches(), seconds
    )
    return {"episodes per second": speed, "peak memory in GiB": peak_memory(setting)}


def _rate(
    fabric: Fabric,
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Any],
    seconds: float,
) -> float:
    """Steps per second of the training loop on endless batches."""
    times: list[float] = []
    log = partial(_note, times)
    train(
        fabric,
        objective,
        lambda _: until(batches, seconds),
        optimizer,
        Loop(Schedule(ENDLESS)),
        log=log,
    )
    return rate(times)


def _note(times: list[float], step: int, losses: dict[str, float]) -> None:
    times.append(time.perf_counter())
