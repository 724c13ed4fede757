"""COCO evaluation at the size of val2017: time of each evaluator, and their largest difference.

    OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1 python benchmarks/evaluators.py

Generated data: 5,000 images, 80 categories, 36,000 boxes (1% crowds), 500,000 detections. Then the size of one
task of an evaluation over seeds, repeated: 500 images, 20 categories, 15,000 detections. If FSDET_DATA names a
folder with `bccd`, VOC's AP on its photographs is compared with two public evaluators.
"""

import os
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.voc_evaluators import by_map_boxes, by_mean_average_precision

from fsdet.data import open_data
from fsdet.data.dataset import DetectionData
from fsdet.evaluation.coco import NUMBERS, CocoTruth, evaluate
from fsdet.evaluation.detections import DetectionArrays
from fsdet.evaluation.voc import printed_ap50, voc_ap50


def generate(images: int, classes: int, boxes: int, detections: int, seed: int = 0):
    """A generated test set, and detections of it: moved and mislabelled boxes."""
    rng = np.random.default_rng(seed)
    image = np.sort(rng.integers(0, images, boxes))
    corner = rng.uniform(0, 400, (boxes, 2))
    box = np.hstack([corner, corner + np.exp(rng.uniform(np.log(8), np.log(240), (boxes, 2)))])
    labels = rng.integers(1, classes + 1, boxes)
    data = DetectionData(
        root="generated",
        classes=[f"class{n}" for n in range(1, classes + 1)],
        category_ids=np.arange(1, classes + 1),
        image_ids=np.arange(images),
        sizes=np.full((images, 2), 640),
        paths=[f"{n}.jpg" for n in range(images)],
        starts=np.searchsorted(image, np.arange(images + 1)),
        boxes=box,
        labels=labels,
        ids=np.arange(boxes),
        areas=(box[:, 2:] - box[:, :2]).prod(axis=1),
        ignore=rng.random(boxes) < 0.01,
    )
    return data, detected(data, detections, rng)


def detected(data: DetectionData, detections: int, rng: np.random.Generator):
    """Boxes moved by 5 pixels, a third of them with a random label, with random scores."""
    rows = rng.integers(0, len(data.ids), detections)
    boxes = data.boxes[rows] + rng.normal(0, 5, (detections, 4))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    other = rng.integers(1, len(data.classes) + 1, detections)
    labels = np.where(rng.random(detections) < 0.7, data.labels[rows], other)
    return DetectionArrays(data.image_of(rows), labels, rng.random(detections).round(3), boxes)


def timed(run, repeats: int = 1):
    """The result, and seconds per call."""
    start = time.perf_counter()
    for _ in range(repeats):
        result = run()
    return result, (time.perf_counter() - start) / repeats


def main() -> None:
    print(f"Python {platform.python_version()}, {platform.machine()}, numpy {np.__version__}")
    data, detections = generate(images=5000, classes=80, boxes=36000, detections=500_000)
    truth, seconds = timed(lambda: CocoTruth(data, data.classes))
    print(f"size of val2017: truth indexed in {seconds:.2f} s")
    results = {}
    for evaluator in ("hotcoco", "pycocotools"):
        run = lambda name=evaluator: evaluate(truth, detections, evaluator=name)  # noqa: E731
        results[evaluator], seconds = timed(run)
        print(f"  {evaluator:12} {seconds:7.2f} s")
    fast, reference = results["hotcoco"].numbers, results["pycocotools"].numbers
    for name in NUMBERS:
        print(f"  {name:6} {fast[name]:.15f}  {reference[name]:.15f}")
    most = max(abs(fast[name] - reference[name]) for name in NUMBERS)
    equal = np.allclose(results["hotcoco"].ap, results["pycocotools"].ap, rtol=0, atol=1e-9)
    print(f"  largest difference {most:.1e}; per category {'equal' if equal else 'DIFFERENT'}")

    data, detections = generate(images=500, classes=20, boxes=1250, detections=15_000)
    truth, seconds = timed(lambda: CocoTruth(data, data.classes))
    print(f"one task (500 images, 20 categories): truth indexed in {seconds * 1e3:.1f} ms")
    for name, run in (
        ("hotcoco", lambda: evaluate(truth, detections)),
        ("VOC's AP50", lambda: voc_ap50(truth, detections)),
        ("as printed", lambda: printed_ap50(truth, detections)),
    ):
        run()
        print(f"  {name:12} {timed(run, 50)[1] * 1e3:7.1f} ms per call")
    photographs = Path(os.environ.get("FSDET_DATA", ".")) / "bccd"
    if photographs.is_dir():
        real(open_data(photographs, "test"))


def real(data: DetectionData) -> None:
    """VOC's AP50 of 3,000 generated detections, mean over categories, by each evaluator."""
    rng = np.random.default_rng(0)
    detections = detected(data, 3000, rng)
    detections = replace(detections, scores=rng.permutation(3000) / 3000)  # no two scores equal
    truth = CocoTruth(data, data.classes)
    area, eleven = (voc_ap50(truth, detections, points) for points in ("area", "11"))
    print(f"{data.root.name}: {len(data)} photographs, {len(data.ids)} boxes")
    for name, ap in (
        ("under the curve", area),
        ("  map-boxes", by_map_boxes(data, detections)),
        ("  mean-average-precision", by_mean_average_precision(data, detections, "area")),
        ("at eleven points", eleven),
        ("  mean-average-precision", by_mean_average_precision(data, detections, "11")),
        ("  of printed detections", printed_ap50(truth, detections)),
    ):
        print(f"  {name:26} {np.mean(ap):.7f}")


if __name__ == "__main__":
    main()
