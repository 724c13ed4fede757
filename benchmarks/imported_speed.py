"""Time of imported detectors: loading, registering 5 x 5 boxes, inference against torchvision's own.

  python benchmarks/imported_speed.py [--rounds 10] [--threads 1]

Weights are random; background is made likely, as in trained detectors. Inference alternates between the two in one
process, with nothing registered.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torchvision

import fsdet

DETECTORS = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": (240, 320),
    "fasterrcnn_resnet50_fpn": (600, 800),
}


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def original(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None).eval()
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias[0] = 5
    return model


def imported(name: str) -> tuple[torch.nn.Module, fsdet.Detector, float, float]:
    """The original, the imported detector, and the seconds of importing it and of loading it once saved."""
    model = original(name)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.pth"
        torch.save(model.state_dict(), file)
        importing = seconds(lambda: fsdet.import_detector(file, f"torchvision/{name}"))
        detector = fsdet.import_detector(file, f"torchvision/{name}")
        saved = detector.save(folder)
        return model, detector, importing, seconds(lambda: fsdet.load(saved))


def alternated(
    model: torch.nn.Module, detector: fsdet.Detector, images: list[torch.Tensor]
) -> tuple[list[float], list[float]]:
    """Seconds of torchvision's inference and of ours, image by image; the first image warms up."""
    theirs, ours = [], []
    for image in images:
        theirs.append(seconds(partial(model, [image])))
        ours.append(seconds(partial(detector.predict, image, 0.05)))
    return theirs[1:], ours[1:]


def register(detector: fsdet.Detector, images: list[torch.Tensor]) -> None:
    """Five categories of five images with a box each, and the task that predictions need."""
    height, width = images[0].shape[1:]
    boxes = [[width // 4, height // 4, width // 2, height // 2]] * 5
    for n in range(5):
        detector.register(f"new {n}", images[5 * n : 5 * n + 5], boxes)
    detector.task()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    for name, size in DETECTORS.items():
        model, detector, importing, loading = imported(name)
        images = [torch.rand(3, *size) for _ in range(25)]
        theirs, ours = alternated(model, detector, (images * 4)[: words.rounds + 1])
        ratios = [b / a for a, b in zip(theirs, ours, strict=True)]
        registering = seconds(partial(register, detector, images))
        print(
            f"{name}: import {importing:.2f} s, load {loading:.2f} s, register 5 x 5"
            f" {registering:.2f} s; inference {statistics.median(ours):.3f} s, torchvision"
            f" {statistics.median(theirs):.3f} s, median ratio {statistics.median(ratios):.3f}"
            f" ({min(ratios):.3f} to {max(ratios):.3f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
