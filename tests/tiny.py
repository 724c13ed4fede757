"""A problem small enough to be trained on while one waits: drawn images, a network of a few layers."""

import torch
from lightning_fabric import Fabric

from fsdet import build
from fsdet import config as cfg
from fsdet.data.shapes import SHAPES_SPLITS, open_shapes
from fsdet.data.splits import FewShotSplit
from fsdet.engine.bank import Bank
from fsdet.experiment.problem import Problem
from fsdet.types import Features

torch.set_num_threads(
    1
)  # sums of several threads are not always the same, and forks of them may hang

WORDS = (
    "data.root=shapes data.split=shapes1 data.workers=0 device=cpu precision=32-true"
    " detector.backbone={name:small,levels:[1,2],channels:16,extra:false} detector.anchors=[[16],[32]]"
    " detector.min_size=64 detector.max_size=64 detector.proposals=[40,12] detector.per_image=16"
    " detector.width=32 train.batch=2 train.steps=6 train.warmup=1 train.save_every=2 meta.steps=6"
    " meta.ways=[2,3] meta.shots=[1,2] meta.known=2 meta.background=6 meta.warmup=1 meta.save_every=2"
    " meta.images=20 evaluate.shots=[1,2] evaluate.seeds=2 evaluate.base_shots=2"
    " evaluate.background=16 evaluate.overlays=2"
).split()
MAML = cfg.Head("maml", {"steps": 2, "test_steps": 2})


def config(*words: str) -> cfg.Config:
    return cfg.load(None, [*(word.replace(":", ": ") for word in WORDS), *words])


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


def model(settings: cfg.Config, head: cfg.Head = MAML, n_base: int = 15):
    """A detector as it is before it has learned anything; the same at every call."""
    torch.manual_seed(0)
    return build.detector(settings.detector, head, n_base, pretrained=False)


def bank(categories: int = 6, objects: int = 12, images: int = 24, channels: int = 4) -> Bank:
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
    return Bank(
        Features(maps, means),
        torch.cat([1 + of // objects, torch.zeros_like(empty)])[order],
        torch.randn((count, 4), generator=generator),
        torch.cat([where[of], empty])[order],
        torch.cat([of, torch.full_like(empty, -1)])[order],
        tuple(f"class{n}" for n in range(categories)),
        (2, 3),
    )
