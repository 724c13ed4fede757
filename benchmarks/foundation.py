"""A vision transformer as backbone: shapes of levels, averages of regions, time and memory by image size.

  python benchmarks/foundation.py [--name timm/vit_small_patch14_dinov2.lvd142m] [--sides 448,640,800]

Weights are random. Seconds are those of the processor on one thread: other jobs matter less. Each size runs in
a process of its own, whose largest memory it reports. Averages of regions are compared with bilinear samples of the
tokens, computed one by one in doubles.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import torch

from fsdet import build
from fsdet import config as cfg
from fsdet.model.few_shot_rcnn import FewShotRCNN

REGIONS = 50


def detector(name: str, side: int) -> FewShotRCNN:
    torch.manual_seed(0)
    settings = cfg.Detector(
        backbone=cfg.Backbone(name, pyramid="simple", frozen_stages=4),
        min_size=side,
        max_size=side,
    )
    return build.detector(settings, cfg.Head("cosine"), n_base=20, pretrained=False).eval()


def mean_of_region(grid: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Mean of a map [C, H, W] of stride 16 over the 4 x 4 samples of RoIAlign, of unit length."""
    x1, y1, x2, y2 = box / 16
    shares = (np.arange(4) + 0.5) / 4
    total = np.zeros(len(grid))
    for x in x1 + shares * (x2 - x1):
        for y in y1 + shares * (y2 - y1):
            left, top = int(x), int(y)
            right, below = min(left + 1, grid.shape[2] - 1), min(top + 1, grid.shape[1] - 1)
            upper = (1 - (x - left)) * grid[:, top, left] + (x - left) * grid[:, top, right]
            lower = (1 - (x - left)) * grid[:, below, left] + (x - left) * grid[:, below, right]
            total += (1 - (y - top)) * upper + (y - top) * lower
    return total / np.linalg.norm(total)


def compare_averages(model: FewShotRCNN, side: int) -> None:
    features, _ = model.extract([torch.rand(3, side, side)])
    for name, level in features.pyramid.items():
        print(f"level {name}: {list(level.shape)}")
    print(f"tokens: {list(features.body[0].shape)}")
    corners = np.sort(np.random.default_rng(0).uniform(0, side - 16, (2, REGIONS, 2)), 0)
    corners[1] += 16  # RoIAlign makes a smaller side as long as a token
    boxes = np.concatenate(list(corners), 1)
    means = model.pool_regions(features, [torch.from_numpy(boxes).float()]).means.double().numpy()
    grid = features.body[0][0].double().numpy()
    expected = np.stack([mean_of_region(grid, box) for box in boxes])
    print(f"averages of {REGIONS} regions: largest difference {abs(means - expected).max():.1e}")


@torch.no_grad()
def measure(name: str, side: int) -> None:
    """Print the CPU seconds of an image and the largest memory of this process."""
    model = detector(name, side)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    image, seconds = torch.rand(3, side, side), []
    for _ in range(3):
        start = time.process_time()
        features, _ = model.extract([image])
        seconds.append(time.process_time() - start)
    tokens = features.body[0].shape[-2:].numel()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{side} pixels: {tokens} tokens, backbone and pyramid {min(seconds):.2f} s (median"
        f" {statistics.median(seconds):.2f} s), largest memory {most / 1e6:.2f} GB, {before / 1e6:.2f} GB"
        " before the first image",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="timm/vit_small_patch14_dinov2.lvd142m")
    parser.add_argument("--sides", default="448,640,800")
    words = parser.parse_args()
    torch.set_num_threads(1)
    sides = [int(side) for side in words.sides.split(",")]
    if len(sides) == 1:
        measure(words.name, sides[0])
        return
    with torch.no_grad():
        compare_averages(detector(words.name, sides[0]), sides[0])
    for side in sides:
        subprocess.run(
            [sys.executable, __file__, "--name", words.name, "--sides", str(side)], check=True
        )


if __name__ == "__main__":
    main()
