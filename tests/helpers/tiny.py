"""A problem small enough to be trained on while one waits: drawn images, a network of a few layers."""

import tempfile
from pathlib import Path

import torch
from lightning_fabric import Fabric

from fsdet import build
from fsdet import config as cfg
from fsdet.data.shapes.dataset import SHAPES_SPLITS, open_shapes
from fsdet.data.shots.splits import FewShotSplit
from fsdet.experiment.context import Context
from fsdet.experiment.few_shot_data import Problem
from fsdet.experiment.run_log import Clock, LossLog
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.training.region_bank import RegionBank
from fsdet.types import Features

# Sums of several threads are not always the same, and a process that is forked off them may hang.
torch.set_num_threads(1)

SETTINGS = """
data: {root: shapes, split: shapes1, workers: 0}
device: cpu
precision: 32-true
detector:
  backbone: {name: small, levels: [1, 2], channels: 16, extra: false}
  anchors: [[16], [32]]
  min_size: 64
  max_size: 64
  proposals: [40, 12]
  per_image: 16
  width: 32
train: {steps: 6, batch: 2, warmup: 1, save_every: 2}
meta: {steps: 6, ways: [2, 3], shots: [1, 2], known: 2, background: 6, images: 20, warmup: 1, save_every: 2}
evaluate: {shots: [1, 2], seeds: 2, base_shots: 2, background: 16, overlays: 2}
head: {name: maml, args: {steps: 2, test_steps: 2}}
"""


def config(*words: str) -> cfg.Config:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(SETTINGS)
        file.flush()
        return cfg.load(file.name, words)


def fabric() -> Fabric:
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    return fabric


def problem(train: int = 40, test: int = 6) -> Problem:
    """Drawn images of 64 pixels, five of the twenty categories novel."""
    known = open_shapes("train", images=train, size=64)
    novel = SHAPES_SPLITS["shapes1"]
    base = tuple(name for name in known.classes if name not in novel)
    return Problem(
        known, open_shapes("test", images=test, size=64), FewShotSplit("shapes1", base, novel)
    )


def context(
    settings: cfg.Config,
    folder: Path,
    few_shot: Problem | None = None,
    losses: LossLog | None = None,
) -> Context:
    """The context of an experiment, with losses and checkpoints in `folder`."""
    return Context(settings, few_shot or problem(), fabric(), losses or LossLog(folder), Clock())


def model(settings: cfg.Config, n_base: int = 15) -> FewShotRCNN:
    """A detector as it is before it has learned anything; the same at every call."""
    torch.manual_seed(0)
    return build.detector(settings.detector, settings.head, n_base, pretrained=False)


def bank(categories: int = 6, objects: int = 12, images: int = 24, channels: int = 4) -> RegionBank:
    """Random regions: `objects` of each category with 1 to 4 regions each, and 3 of background an image."""
    generator = torch.Generator().manual_seed(0)
    owners = torch.arange(categories * objects)
    of = owners.repeat_interleave(torch.randint(1, 5, owners.shape, generator=generator))
    where = torch.randint(images, owners.shape, generator=generator)
    empty = torch.arange(images).repeat(3)
    count = len(of) + len(empty)
    order = torch.randperm(count, generator=generator)
    maps = torch.randn((count, channels, 2, 2), generator=generator)
    means = torch.nn.functional.normalize(torch.randn((count, 5), generator=generator), dim=1)
    return RegionBank(
        Features(maps, means),
        torch.cat([1 + of // objects, torch.zeros_like(empty)])[order],
        torch.randn((count, 4), generator=generator),
        torch.cat([where[of], empty])[order],
        torch.cat([of, torch.full_like(empty, -1)])[order],
        tuple(f"class{n}" for n in range(categories)),
        (2, 3),
    )
