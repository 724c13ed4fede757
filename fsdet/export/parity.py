"""Parity of an exported detector with PyTorch: image by image, box by box."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from fsdet.api.inputs import as_tensor
from fsdet.data.shapes.dataset import open_shapes
from fsdet.errors import InputError, one_line
from fsdet.model.few_shot_rcnn import FewShotRCNN, detect
from fsdet.types import Candidates, Task

BOX = 0.1  # pixels of the given image or, if coarser, of the resized image
SCORE = 1e-3


class Variant(NamedTuple):
    """Inputs of an exported detector, and the task and threshold with which PyTorch must detect the same."""

    name: str
    task: Task
    threshold: float
    inputs: dict[str, np.ndarray]  # besides the image


class Parity(NamedTuple):
    """Differences between an exported detector and PyTorch."""

    images: int
    detections: int  # matched pairs
    ties: int  # unmatched detections whose scores are within the tolerance of the lowest score
    box: float  # largest difference of a box side in pixels
    score: float  # largest difference of a score


class DetectionTable(NamedTuple):
    """Detections in an image, best first."""

    boxes: np.ndarray  # [F, 4]
    scores: np.ndarray  # [F]
    labels: np.ndarray  # [F]


Find = Callable[[np.ndarray, dict[str, np.ndarray]], DetectionTable]
"""An exported detector: uint8 [H, W, 3] and other inputs -> detections."""


def compare(
    model: FewShotRCNN, find: Find, variants: Sequence[Variant], images: Iterable[np.ndarray]
) -> Parity:
    """Run an exported detector and PyTorch on every image, uint8 [H, W, 3], in every variant.

    Raises:
        InputError: a detection without a match within the tolerances, or no detection in any image.
    """
    total = Parity(0, 0, 0, 0.0, 0.0)
    for number, image in enumerate(images, 1):
        candidates = model.propose([as_tensor(image)])[0]
        height, width = image.shape[:2]
        where = f"image {number} ({width} x {height})"
        for variant in variants:
            expected = _expected(model, candidates, variant)
            try:
                got = find(image, variant.inputs)
            except Exception as error:  # a runtime's own kind
                reason = one_line(error, 300)
                raise InputError(f"export: {where}: the ONNX file fails: {reason}") from error
            last = _last(expected, got, variant.threshold, model.selection.per_image)
            parity = matched(
                expected, got, last, BOX * _zoom(model, height, width), f"{where}, {variant.name}"
            )
            total = Parity(
                number,
                total.detections + parity.detections,
                total.ties + parity.ties,
                max(total.box, parity.box),
                max(total.score, parity.score),
            )
    if not total.detections:
        raise InputError(
            f"export: expected detections to compare, got none in {total.images} images; give --images"
            " that show categories of the detector"
        )
    return total


def matched(
    expected: DetectionTable, got: DetectionTable, last: float, box: float, where: str
) -> Parity:
    """Match the detections of both in an image by label, box and score.

    Args:
        last: lowest score of a detection.
        box: tolerance of a box side in pixels.
        where: the image, for messages.

    Raises:
        InputError: a detection without a match whose score is above `last` by more than the tolerance.
    """
    distance = np.abs(expected.boxes[:, None] - got.boxes[None]).max(2, initial=0)  # [E, G]
    apart = np.abs(expected.scores[:, None] - got.scores[None])
    alike = expected.labels[:, None] == got.labels[None]
    alike &= (distance <= box) & (apart <= SCORE)
    rows, columns = linear_sum_assignment(~alike)
    pairs = alike[rows, columns]
    rows, columns = rows[pairs], columns[pairs]
    ties = 0
    for name, detections, pair_rows in (
        ("PyTorch", expected, rows),
        ("the ONNX file", got, columns),
    ):
        for n in np.setdiff1d(np.arange(len(detections.scores)), pair_rows):
            if detections.scores[n] > last + SCORE:
                corners = ", ".join(f"{value:.2f}" for value in detections.boxes[n])
                raise InputError(
                    f"export: {where}: {name} alone detects label {detections.labels[n]} with score"
                    f" {detections.scores[n]:.4f} at ({corners}); boxes may differ by {box:.2g} pixels,"
                    f" scores by {SCORE}"
                )
            ties += 1
    off, score = distance[rows, columns], apart[rows, columns]
    return Parity(1, len(rows), ties, float(off.max(initial=0)), float(score.max(initial=0)))


def generated(min_size: int, max_size: int) -> Iterator[np.ndarray]:
    """Generated images [H, W, 3]: of the detector's size, smaller, larger, tall, wide, and with odd sides."""
    long = min(max_size, min_size * 4 // 3)
    sizes = [
        (min_size, min_size),
        (min_size, long),
        (long, min_size),
        (min_size * 3 // 5, min_size * 4 // 5 + 1),
        (min_size * 9 // 5 + 1, min_size * 7 // 5),
        (min_size * 3 // 4, min_size * 2 + 1),
    ]
    for height, width in sizes:
        side = max(height, width, 64)
        for image in range(2):
            drawn = open_shapes("test", images=2, size=side).image(image)
            yield np.ascontiguousarray(drawn[:height, :width])


def _expected(model: FewShotRCNN, candidates: Candidates, variant: Variant) -> DetectionTable:
    selection = replace(model.selection, score=variant.threshold)
    detections = detect(model.head, candidates, variant.task, selection)
    return DetectionTable(
        detections["boxes"].numpy(), detections["scores"].numpy(), detections["labels"].numpy()
    )


def _last(expected: DetectionTable, got: DetectionTable, threshold: float, most: int) -> float:
    """The lowest score of a detection: the threshold, or the last score of an image with `most` detections."""
    full = [
        detections.scores[-1] for detections in (expected, got) if len(detections.scores) == most
    ]
    return float(max([threshold, *full]))


def _zoom(model: FewShotRCNN, height: int, width: int) -> float:
    """Pixels of an image per pixel of the resized image, at least 1."""
    short, long = sorted((height, width))
    return max(1.0, short / model.transform.min_size[-1], long / model.transform.max_size)
