"""Sizes of the benchmark, on a card and on a CPU, and its images, which are drawn and kept as JPEG."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
import torchvision
from lightning_fabric import Fabric

from fsdet import config as cfg
from fsdet.cli import recipes
from fsdet.data.images import read_image
from fsdet.data.shapes.dataset import Shapes, open_shapes

T = TypeVar("T")
LEAST = 2  # steps of anything that is timed; the first half warms up


@dataclass(frozen=True)
class Setting:
    """What runs where, and how large it is."""

    device: torch.device
    precision: str  # of training and, beside 32-true, of inference
    network: str  # torchvision's ResNet of the speed parts
    detector: cfg.Detector  # over it
    side: int  # of a stored image, in pixels; the detector resizes it
    images: int  # stored
    batch: int  # images in a training step
    batches: tuple[int, ...]  # images at once at inference
    categories: tuple[int, ...]  # of a task at inference
    ways: int  # of episodes of images
    workers: int  # processes that load images
    learner: cfg.Config  # a small experiment, whose detector is trained and compared with a CPU's
    drawn: tuple[int, int]  # images that the learner trains on and is tested on

    def fabric(self, precision: str) -> Fabric:
        """Fabric of the device in a precision."""
        accelerator = "cuda" if self.device.type == "cuda" else "cpu"
        fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
        fabric.launch()
        return fabric

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those of inference and of episodes from the bank."""
        return tuple(dict.fromkeys((self.precision, "32-true")))

    def autocast(self, precision: str) -> torch.autocast:
        """Mixed precision of anything that Fabric does not run."""
        return torch.autocast(self.device.type, torch.bfloat16, precision == "bf16-mixed")

    def synchronize(self) -> None:
        """Wait until the card has done its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def on_card() -> Setting:
    """ResNet-50-FPN at 800 pixels, batches of 16."""
    return Setting(
        torch.device("cuda"), "bf16-mixed", "resnet50", cfg.Detector(), 640, 64, 16, (1, 16), (20, 1203),
        5, 12, cfg.load(recipes.find("shapes"), ["data.workers=4"]), (2000, 200),
    )  # fmt: skip


def tiny() -> Setting:
    """The same parts in seconds on a CPU: whether they work, not how fast."""
    torch.set_num_threads(1)
    words = ["detector.min_size=64", "detector.max_size=64", "detector.width=32", "data.workers=0"]
    words += ["detector.backbone.channels=16", "detector.proposals=[40,12]", "train.batch=2"]
    detector = cfg.Detector(min_size=64, max_size=96, width=32, proposals=[40, 12], per_image=16)
    return Setting(
        torch.device("cpu"), "32-true", "resnet18", detector, 64, 12, 2, (1, 2), (3, 30),
        2, 0, cfg.load(recipes.find("shapes"), words), (80, 4),
    )  # fmt: skip


def with_weights(setting: Setting, folder: Path) -> Setting:
    """The setting with a file of weights for its network, so that normalisation is frozen, as with ImageNet's.

    Random weights grow from block to block without statistics of their own: the residual branches are damped.
    """
    torch.manual_seed(0)
    state = torchvision.models.get_model(setting.network, weights=None).state_dict()
    last = "bn3.weight" if "layer1.0.bn3.weight" in state else "bn2.weight"
    state |= {name: value * 0.2 for name, value in state.items() if name.endswith(last)}
    file = folder / f"{setting.network}.pth"
    torch.save(state, file)
    backbone = cfg.Backbone(setting.network, str(file), frozen_stages=1)
    return replace(setting, detector=replace(setting.detector, backbone=backbone))


@dataclass(frozen=True, eq=False)
class Stored(Shapes):
    """Drawn images as JPEG in memory: drawing one takes longer than decoding it."""

    files: tuple[bytes, ...] = field(kw_only=True, repr=False)

    def image(self, i: int) -> np.ndarray:
        return read_image(self.files[self._index(i)])


def stored(setting: Setting) -> Stored:
    """The training images of the speed parts."""
    drawn = open_shapes("train", images=setting.images, size=setting.side)
    bgr = (cv2.cvtColor(drawn.image(i), cv2.COLOR_RGB2BGR) for i in range(len(drawn)))
    return Stored(
        **vars(drawn), files=tuple(cv2.imencode(".jpg", image)[1].tobytes() for image in bgr)
    )


def until(items: Iterable[T], seconds: float, least: int = LEAST) -> Iterator[T]:
    """Items until the time is over, but `least` of them."""
    end = time.perf_counter() + seconds
    for n, item in enumerate(items):
        if n >= least and time.perf_counter() > end:
            return
        yield item


def rate(times: list[float]) -> float:
    """Steps per second from the times at which they ended; the first half warms up."""
    steps = times[len(times) // 2 - 1 :]
    return (len(steps) - 1) / (steps[-1] - steps[0])
