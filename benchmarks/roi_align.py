"""RoIAlign as a sparse product against torchvision's: forward and backward, alternated, on one thread.

  python benchmarks/roi_align.py [--rounds 5]

Features are stored channels last, as convolutions leave them. Regions have sides from 16 pixels to the image's.
"""

import argparse
import statistics
import time
from functools import partial
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor

from fsdet.model.roi_align import roi_align


class Case(NamedTuple):
    """Features [N, C, side, side] of a stride, and how regions are pooled from them."""

    name: str
    images: int
    channels: int
    side: int
    stride: int
    regions: int
    cells: int
    sampling: int


CASES = (
    Case("maps, recipe shapes", 1, 64, 48, 4, 60, 7, 2),
    Case("maps, recipe shapes, training", 8, 64, 24, 8, 512, 7, 2),
    Case("averages, recipe shapes", 1, 128, 12, 16, 60, 1, 4),
    Case("maps, ResNet-50 at 800 pixels", 1, 256, 100, 8, 300, 7, 2),
    Case("averages, ResNet-50 at 800 pixels", 1, 1024, 50, 16, 300, 1, 4),
)


def measure(case: Case, rounds: int) -> tuple[list[float], list[float]]:
    """Median seconds [forward, backward] of torchvision's and of ours; the first round warms up."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(case.images, case.channels, case.side, case.side, generator=generator)
    features = features.contiguous(memory_format=torch.channels_last).requires_grad_()
    length = case.side * case.stride
    size = 16 + torch.rand(case.regions, 2, generator=generator) * (length - 16)
    corner = torch.rand(case.regions, 2, generator=generator) * (length - size)
    index = torch.randint(case.images, (case.regions, 1), generator=generator)
    rois = torch.cat([index, corner, corner + size], 1)
    arguments = (features, rois, case.cells, 1 / case.stride, case.sampling)
    runs = [
        [
            seconds(partial(pool, *arguments), features)
            for pool in (torchvision.ops.roi_align, roi_align)
        ]
        for _ in range(1 + rounds)
    ][1:]
    theirs, ours = zip(*runs, strict=True)
    return medians(theirs), medians(ours)


def seconds(pool: partial[Tensor], features: Tensor) -> tuple[float, float]:
    """Of the forward and of the backward pass."""
    start = time.perf_counter()
    pooled = pool()
    middle = time.perf_counter()
    torch.autograd.grad(pooled, features, torch.ones_like(pooled))
    return middle - start, time.perf_counter() - middle


def medians(runs: tuple[tuple[float, float], ...]) -> list[float]:
    return [statistics.median(column) for column in zip(*runs, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    words = parser.parse_args()
    torch.set_num_threads(1)
    columns = [
        f"{way}: {c}" for way in ("forward", "backward") for c in ("torchvision", "ours", "ratio")
    ]
    print("|", " | ".join(["features", "regions", *columns]), "|")
    print("|" + "---|" * (2 + len(columns)))
    for case in CASES:
        theirs, ours = measure(case, words.rounds)
        cells = [
            f"{1000 * a:.1f} ms | {1000 * b:.1f} ms | {a / b:.1f}"
            for a, b in zip(theirs, ours, strict=True)
        ]
        shape = f"{case.images} x {case.channels} x {case.side} x {case.side}"
        print(
            f"| {case.name}: {shape} | {case.regions} x {case.cells}² | {' | '.join(cells)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
