"""Regions that are easily told apart, and heads small enough for tests."""

from dataclasses import replace

import torch
from torch.nn import functional as F

from fsdet import build
from fsdet import config as cfg
from fsdet.heads.base import Head
from fsdet.heads.layers import RegionShape
from fsdet.types import Features, Regions

SHAPE = RegionShape(channels=4, side=3, means=(5, 6))
WIDTH = 16
FEWER = {
    "cosine": {"steps": 30},
    "cosine-averages": {"steps": 30},
    "fsce": {"length": 8},
}  # arguments that make a head small or quick


def regions(
    n_way: int = 3, each: int = 6, seed: int = 0, spread: float = 0.3, world: int = 99
) -> Regions:
    """Separable regions: every category about a point of its own, which is the `world`'s."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.Generator().manual_seed(world)
    labels = torch.arange(1 + n_way).repeat_interleave(each)
    maps = torch.rand((1 + n_way, 4, 3, 3), generator=centres)[labels]
    means = torch.rand((1 + n_way, 11), generator=centres)[labels]
    maps = maps + spread * torch.rand(maps.shape, generator=generator)
    means = means + spread * torch.rand(means.shape, generator=generator)
    means = torch.cat([F.normalize(part, dim=-1) for part in means.split(SHAPE.means, 1)], 1)
    deltas = torch.randn((len(labels), 4), generator=generator) * (labels > 0)[:, None]
    return Regions(Features(maps, means), labels, deltas, n_way)


def renamed(given: Regions, rename: torch.Tensor) -> Regions:
    """The same regions under other labels: `rename[label]`."""
    return replace(given, labels=rename[given.labels])


def in_order(given: Regions, order: torch.Tensor) -> Regions:
    """The same regions in another order."""
    return Regions(given.features[order], given.labels[order], given.deltas[order], given.n_way)


def made(name: str, **more) -> Head:
    """A head by name, in evaluation mode."""
    torch.manual_seed(0)
    spec = cfg.Head(name, FEWER.get(name, {}) | more)
    return build.head(spec, SHAPE, WIDTH, n_base=3).eval()
