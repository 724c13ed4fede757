"""Separable regions, and heads small enough for tests."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fsdet import build
from fsdet import config as cfg
from fsdet.heads.base import Head
from fsdet.heads.layers import RegionShape
from fsdet.types import Features, Regions

SHAPE = RegionShape(channels=4, side=3, means=(5, 6))
WIDTH = 16
SMALL: dict[str, dict[str, Any]] = {
    "cosine": {"steps": 30},
    "cosine-averages": {"steps": 30},
    "fsce": {"length": 8},
    "averaging": {"steps": 5},
    "ridge-maml": {"test_steps": 5},
}  # arguments that make a head small or quick


def regions(
    n_way: int = 3, per_category: int = 6, seed: int = 0, noise: float = 0.3, world: int = 99
) -> Regions:
    """Separable regions: noise around one centre per category; `world` is the seed of the centres."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.Generator().manual_seed(world)
    labels = torch.arange(1 + n_way).repeat_interleave(per_category)
    maps = torch.rand((1 + n_way, 4, 3, 3), generator=centres)[labels]
    means = torch.rand((1 + n_way, 11), generator=centres)[labels]
    maps = maps + noise * torch.rand(maps.shape, generator=generator)
    means = means + noise * torch.rand(means.shape, generator=generator)
    means = torch.cat([F.normalize(level, dim=-1) for level in means.split(SHAPE.means, 1)], 1)
    deltas = torch.randn((len(labels), 4), generator=generator) * (labels > 0)[:, None]
    return Regions(Features(maps, means), labels, deltas, n_way)


def double(original: Regions) -> Regions:
    """The same regions in float64."""
    features = original.features.to(torch.float64)
    return replace(original, features=features, deltas=original.deltas.double())


def relabelled(original: Regions, new_labels: torch.Tensor) -> Regions:
    """The same regions with other labels: `new_labels[label]`."""
    return replace(original, labels=new_labels[original.labels])


def rows_of(original: Regions, rows: torch.Tensor) -> Regions:
    """The regions of the given rows, in their order."""
    return Regions(
        original.features[rows], original.labels[rows], original.deltas[rows], original.n_way
    )


def build_head(name: str, calibration: float = 0.0, **args: Any) -> Head:
    """A head by name, in evaluation mode, with the same initial weights in each call."""
    torch.manual_seed(0)
    spec = cfg.Head(name, SMALL.get(name, {}) | args, calibration)
    return build.head(spec, SHAPE, WIDTH, n_base=3).eval()


def set_options(head: Head, **options: Any) -> None:
    """Replace options of a head that its layers do not depend on."""
    head.options = head.options.model_copy(update=options)


def check_outer_gradient(head: Head, places: Sequence[tuple[Tensor, Any]]) -> None:
    """Compare the gradient of an episode's losses with finite differences, at places of parameters."""
    head = head.double().train()
    support, query = double(regions(2, 2)), double(regions(2, 2, seed=3))

    def outer() -> Tensor:
        return sum(head.loss(query, head.adapt(support)).values())

    outer().backward()
    for parameter, index in places:
        slope, step = parameter.grad[index].item(), 1e-6
        with torch.no_grad():
            parameter[index] += step
            up = outer().item()
            parameter[index] -= 2 * step
            down = outer().item()
            parameter[index] += step
        assert slope == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-7)
