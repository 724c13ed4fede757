"""Scoring over shots and seeds: the image side runs once, every task is scored from what it kept."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from fsdet.engine.metrics import CocoTruth, Scores, evaluate
from fsdet.heads.base import Head
from fsdet.postprocess import Found, Selection
from fsdet.types import Candidates, Prediction, Task

CHUNK = 8192  # regions that go through a head at once


@dataclass(frozen=True)
class TestRegions:
    """What the image side leaves of a test set; images are rows of its data set."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    features: Tensor  # [R, C, P, P] float16
    boxes: Tensor  # [R, 4] pixels of the original images
    images: Tensor  # [R] int64, not decreasing
    sizes: Tensor  # [I, 2] height, width


def collect(candidates: Iterable[Candidates]) -> TestRegions:
    """Candidates of all images, in order, as one run of rows."""
    found = list(candidates)
    return TestRegions(
        torch.cat([c.features.half().cpu() for c in found]),
        torch.cat([c.boxes.float().cpu() for c in found]),
        torch.repeat_interleave(torch.tensor([len(c.boxes) for c in found])),
        torch.tensor([c.size for c in found]),
    )


@torch.no_grad()
def embed(head: Head, features: Tensor) -> Tensor:
    """[R, C, P, P] -> [R, D], a chunk at a time: what every task of this head shares."""
    return torch.cat([head.embed(chunk.float()) for chunk in features.split(CHUNK)])


@torch.no_grad()
def find(
    head: Head, task: Task, embeddings: Tensor, test: TestRegions, selection: Selection
) -> Found:
    """Detections of a whole test set under one task."""
    parts = [head.predict(chunk, task) for chunk in embeddings.split(CHUNK)]
    prediction = Prediction(
        torch.cat([p.logits for p in parts]), torch.cat([p.deltas for p in parts])
    )
    return selection(prediction, test.boxes, test.images, test.sizes)


def measure(found: Found, truth: CocoTruth) -> Scores:
    """COCO's numbers of detections."""
    return evaluate(
        truth, found.images.numpy(), found.labels.numpy(), found.scores.numpy(), found.boxes.numpy()
    )
