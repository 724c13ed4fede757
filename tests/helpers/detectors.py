"""Detectors so small that a test has time for many, and pictures that even random weights tell apart."""

from functools import cache

import numpy as np
import torch

from fsdet import build
from fsdet import config as cfg
from fsdet.api.detector import Detector
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.training.objectives import Supervised
from fsdet.types import Target

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
BASE = {
    "green": (40, 255, 40),
    "yellow": (240, 240, 40),
    "cyan": (40, 240, 240),
    "magenta": (240, 40, 240),
    "orange": (250, 140, 30),
    "white": (250, 250, 250),
}


def empty(head: str = "maml", n_base: int = 3, **args) -> Detector:
    """A detector with random weights, always the same, that knows no category yet."""
    spec = cfg.Head(head, args)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build.detector(SETTINGS, spec, n_base=n_base, pretrained=False)
    return Detector(model, SETTINGS, spec, {}, n_base)


def square(ink: str, seed: int, side: int = 96) -> tuple[np.ndarray, list[int]]:
    """A picture with a square of a colour, and its box."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 90, (side, side, 3), dtype=np.uint8)
    x, y = rng.integers(0, side - 30, 2).tolist()
    image[y : y + 30, x : x + 30] = (INKS | BASE)[ink]
    return image, [x, y, x + 30, y + 30]


def knowing(head: str = "maml", shots: int = 3, **args) -> Detector:
    """A detector that has seen `shots` squares of each colour."""
    detector = empty(head, **args)
    for place, ink in enumerate(INKS):
        pairs = [square(ink, 10 * place + n) for n in range(shots)]
        detector.register(ink, [image for image, _ in pairs], [box for _, box in pairs])
    return detector


@cache
def _trained_model(steps: int) -> FewShotRCNN:
    """Faster R-CNN trained on squares in colours of `BASE`."""
    whole, names = empty("cosine", len(BASE)), list(BASE)
    objective = Supervised(whole.model, tuple(names)).train()
    # A square is one of hundreds of anchors: so that it counts, few of the others do.
    whole.model.rpn.fg_bg_sampler.batch_size_per_image = 12
    optimizer = torch.optim.AdamW(whole.model.parameters(), 3e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for step in range(steps):
            labels = [(3 * step + n) % len(BASE) for n in range(3)]
            pairs = [square(names[label], 1000 + 3 * step + n) for n, label in enumerate(labels)]
            images = [torch.from_numpy(image).permute(2, 0, 1) for image, _ in pairs]
            targets = [
                Target(boxes=torch.tensor([box]).float(), labels=torch.tensor([label + 1]))
                for label, (_, box) in zip(labels, pairs, strict=True)
            ]
            losses = objective((images, targets))
            optimizer.zero_grad()
            sum(losses.values()).backward()
            torch.nn.utils.clip_grad_norm_(whole.model.parameters(), 1.0)
            optimizer.step()
            rate.step()
    return whole.model


def trained(head: str = "prototype", steps: int = 200) -> Detector:
    """A detector whose image side has learned to see squares, in colours of `BASE`; it knows no category."""
    model = _trained_model(steps)
    detector = empty(head, len(BASE))
    learned = model.state_dict()
    mine = detector.model.state_dict()
    detector.model.load_state_dict(
        {name: value if name.startswith("head.") else learned[name] for name, value in mine.items()}
    )
    detector.model.head.inherit(model.head)
    return detector
