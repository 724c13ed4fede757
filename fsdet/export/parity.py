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

BOX = 0.1  # pixels of the image as it was given or, if that is coarser, as the detector resizes it
SCORE = 1e-3


class Variant(NamedTuple):
    """A way to run an exported detector, and the task and the threshold that it is to be equal to."""

    name: str
    task: Task
    threshold: float
    inputs: dict[str, np.ndarray]  # beside the image


class Parity(NamedTuple):
    """How far an exported detector is from the detector."""

    images: int
    detections: int  # that both have found
    ties: (
        int  # that one alone has found, as near to the last score that counts as scores may differ
    )
    box: float  # pixels that a side of a box is off, at most
    score: float  # at most


class Found(NamedTuple):
    """Detections in an image, best first."""

    boxes: np.ndarray  # [F, 4]
    scores: np.ndarray  # [F]
    labels: np.ndarray  # [F]


Find = Callable[[np.ndarray, dict[str, np.ndarray]], Found]
"""An exported detector: uint8 [H, W, 3] and inputs beside it -> what is found."""


def compare(
    model: FewShotRCNN, find: Find, variants: Sequence[Variant], images: Iterable[np.ndarray]
) -> Parity:
    """Run both on every image, uint8 [H, W, 3], in every variant.

    Raises:
        InputError: a detection that one has found and the other has not, within the tolerances; or nothing was
            found at all, which shows nothing.
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
            f"export: nothing was found in {total.images} images, which cannot tell right from"
            " wrong; give --images with things that the detector knows"
        )
    return total


def matched(expected: Found, got: Found, last: float, box: float, where: str) -> Parity:
    """What two say of an image, pair by pair: of one label, the nearest boxes.

    Args:
        last: the score from which on a detection counts.
        box: pixels that a side may be off.
        where: the image, for messages.

    Raises:
        InputError: a detection without its like, and not for its score being near the last.
    """
    distance = np.abs(expected.boxes[:, None] - got.boxes[None]).max(2, initial=0)  # [E, G]
    apart = np.abs(expected.scores[:, None] - got.scores[None])
    alike = expected.labels[:, None] == got.labels[None]
    alike &= (distance <= box) & (apart <= SCORE)
    rows, columns = linear_sum_assignment(~alike)
    pairs = alike[rows, columns]
    rows, columns = rows[pairs], columns[pairs]
    ties = 0
    for name, detections, kept in (("PyTorch", expected, rows), ("the ONNX file", got, columns)):
        for n in np.setdiff1d(np.arange(len(detections.scores)), kept):
            if detections.scores[n] > last + SCORE:
                corners = ", ".join(f"{value:.2f}" for value in detections.boxes[n])
                raise InputError(
                    f"export: {where}: {name} alone finds label {detections.labels[n]} with score"
                    f" {detections.scores[n]:.4f} at ({corners}); boxes may differ by {box:.2g} pixels,"
                    f" scores by {SCORE}"
                )
            ties += 1
    off, score = distance[rows, columns], apart[rows, columns]
    return Parity(1, len(rows), ties, float(off.max(initial=0)), float(score.max(initial=0)))


def generated(min_size: int, max_size: int) -> Iterator[np.ndarray]:
    """Drawn images: as large as a detector wants them, smaller, larger, tall, wide, and of odd sides."""
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


def _expected(model: FewShotRCNN, candidates: Candidates, variant: Variant) -> Found:
    selection = replace(model.selection, score=variant.threshold)
    detections = detect(model.head, candidates, variant.task, selection)
    return Found(
        detections["boxes"].numpy(), detections["scores"].numpy(), detections["labels"].numpy()
    )


def _last(expected: Found, got: Found, threshold: float, most: int) -> float:
    """The least score that counts: the threshold or, of an image with too many detections, that of the last."""
    full = [
        detections.scores[-1] for detections in (expected, got) if len(detections.scores) == most
    ]
    return float(max([threshold, *full]))


def _zoom(model: FewShotRCNN, height: int, width: int) -> float:
    """Pixels of an image for one of it resized, at least 1."""
    short, long = sorted((height, width))
    return max(1.0, short / model.transform.min_size[-1], long / model.transform.max_size)
