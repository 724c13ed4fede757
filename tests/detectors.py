"""Detectors so small that a test has time for many, and pictures that even random weights tell apart."""

import numpy as np
import torch

from fsdet import build
from fsdet import config as cfg
from fsdet.api import Detector

SETTINGS = cfg.Detector(
    backbone=cfg.Backbone("small", levels=[0, 1, 2], channels=16, extra=False),
    anchors=[[16.0], [32.0], [64.0]],
    min_size=96,
    max_size=96,
    proposals=[50, 30],
    per_image=32,
    pool=5,
    width=32,
)
INKS = {"red": (255, 40, 40), "blue": (40, 40, 255)}


def empty(head: str = "maml", **args) -> Detector:
    """A detector with random weights, always the same, that knows no category yet."""
    spec = cfg.Head(head, args)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build.detector(SETTINGS, spec, n_base=3, pretrained=False)
    return Detector(model, SETTINGS, spec, {}, 3)


def square(ink: str, seed: int, side: int = 96) -> tuple[np.ndarray, list[int]]:
    """A picture with a square of a colour, and its box."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 90, (side, side, 3), dtype=np.uint8)
    x, y = rng.integers(0, side - 30, 2).tolist()
    image[y : y + 30, x : x + 30] = INKS[ink]
    return image, [x, y, x + 30, y + 30]


def knowing(head: str = "maml", shots: int = 3, **args) -> Detector:
    """A detector that has seen `shots` squares of each colour."""
    detector = empty(head, **args)
    for place, ink in enumerate(INKS):
        pairs = [square(ink, 10 * place + n) for n in range(shots)]
        detector.register(ink, [image for image, _ in pairs], [box for _, box in pairs])
    return detector
