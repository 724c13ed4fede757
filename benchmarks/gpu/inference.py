"""Inference on a card against torchvision's, and the registration of five categories of five boxes."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import torch
from own_speed import SCORE, task_of
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

from fsdet import config as cfg
from fsdet.api.detector import Detector
from fsdet.data.loading.stream import to_tensor
from gpu.setting import LEAST, Setting, Stored, until
from gpu.training import detector, reference


@torch.no_grad()
def inference(setting: Setting, data: Stored, seconds: float) -> dict[str, Any]:
    """Milliseconds of a batch of ours and of torchvision's, alternated, by precision, categories and batch."""
    model, theirs = detector(setting, "maml").eval(), reference(setting).eval()
    model.selection = replace(model.selection, score=SCORE)
    images = [to_tensor(data.image(i)).to(setting.device) for i in range(len(data))]
    cases = [
        (precision, categories, batch)
        for precision in setting.precisions
        for categories in setting.categories
        for batch in setting.batches
    ]
    results = {}
    for precision, categories, batch in cases:
        predictor = FastRCNNPredictor(setting.detector.width, 1 + categories)
        theirs.roi_heads.box_predictor = predictor.to(setting.device)
        floats = [image.float() / 255 for image in images[:batch]]
        with setting.autocast(precision):
            pairs = alternated(
                setting,
                partial(model.detect, floats, task_of(model, categories)),
                partial(theirs, floats),
                seconds / len(cases),
            )
        results[f"{precision}, {categories} categories, batch {batch}"] = compared(pairs, batch)
    return results


def alternated(
    setting: Setting, ours: Callable[[], Any], theirs: Callable[[], Any], seconds: float
) -> list[tuple[float, float]]:
    """Seconds of both, in turn; the first half warms up."""
    pairs = [(timed(setting, ours), timed(setting, theirs)) for _ in until(count(), seconds)]
    return pairs[len(pairs) // 2 :]


def timed(setting: Setting, work: Callable[[], Any]) -> float:
    """Seconds until the card has done it."""
    start = time.perf_counter()
    work()
    setting.synchronize()
    return time.perf_counter() - start


def compared(pairs: list[tuple[float, float]], batch: int) -> dict[str, float]:
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {
        "ours, milliseconds": 1000 * ours,
        "torchvision, milliseconds": 1000 * theirs,
        "ours, images per second": batch / ours,
        "torchvision, images per second": batch / theirs,
        "ratio of times": statistics.median(a / b for a, b in pairs),
    }


def registering(setting: Setting, data: Stored, seconds: float) -> dict[str, Any]:
    """Seconds to register five categories of five images with a box each, and to adapt the head to them."""
    base = Detector(detector(setting, "maml"), setting.detector, cfg.Head("maml"), {}, 20)
    numbers = np.arange(25) % len(data)
    images, boxes = (
        [data.image(i) for i in numbers],
        [data.boxes[data.rows(i)][:1] for i in numbers],
    )
    times = []
    for _ in until(count(), seconds):
        new = base.copy()

        def register(new: Detector = new) -> None:
            for n in range(5):
                five = slice(5 * n, 5 * n + 5)
                new.register(f"new {n}", images[five], boxes[five])

        times.append((timed(setting, register), timed(setting, new.task)))
    middle = np.median(times[LEAST // 2 :], axis=0)
    return {"images, seconds": float(middle[0]), "head, seconds": float(middle[1])}
