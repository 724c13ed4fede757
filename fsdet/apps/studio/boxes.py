"""Geometry of boxes: which of them mean the same object."""

from collections.abc import Iterable, Sequence
from typing import Any

Corners = tuple[float, float, float, float]
SAME = 0.5  # minimum IoU of two boxes of one object
INSIDE = 0.7  # minimum share of a part's box inside the box of its object


def corners_of(values: Any) -> Corners:
    """Four numbers as the corners of a box; a TypeError or ValueError for anything else."""
    x1, y1, x2, y2 = map(float, values)
    return x1, y1, x2, y2


def iou(a: Corners, b: Corners) -> float:
    """Intersection over union of two boxes."""
    intersection, areas = _intersection(a, b), _area(a) + _area(b)
    return intersection / (areas - intersection) if areas > intersection else 0.0


def apart(candidates: Iterable[Corners], boxes: Sequence[Corners]) -> tuple[Corners, ...]:
    """The candidates that mean no object of the boxes."""
    return tuple(c for c in candidates if all(iou(c, box) < SAME for box in boxes))


def covered(corners: Corners, boxes: Iterable[Corners]) -> bool:
    """Whether one of the boxes means the same object, or one that this box is a part of."""
    least = INSIDE * _area(corners)
    return any(iou(corners, box) >= SAME or _intersection(corners, box) >= least for box in boxes)


def _intersection(a: Corners, b: Corners) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def _area(box: Corners) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
