"""Box arithmetic: IoU, pairs of boxes of the same image, the box coder."""

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou

BOX_CODER = BoxCoder((10.0, 10.0, 5.0, 5.0))


def pairs(keys: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of equal keys: indices [P] into `keys`, ascending, and indices [P] into `others`."""
    rows = np.argsort(others, kind="stable")
    start = np.searchsorted(others[rows], keys, "left")
    count = np.searchsorted(others[rows], keys, "right") - start
    first = np.repeat(np.arange(len(keys)), count)
    before = np.cumsum(count) - count
    return first, rows[np.arange(len(first)) + np.repeat(start - before, count)]


def overlaps(a: np.ndarray, b: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """IoU of boxes, row by row: [P, 4] and [P, 4] -> [P], 0..1.

    Where `crowd` [P] is true, the intersection is divided by the area of `a` alone, as COCO does for a box around
    many objects.
    """
    shared = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.maximum(shared, 0).prod(axis=1)
    area = (a[:, 2:] - a[:, :2]).prod(axis=1)
    divisor = area + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared
    if crowd is not None:
        divisor = np.where(crowd, area, divisor)
    return shared / np.maximum(divisor, np.finfo(np.float64).tiny)


def intersections(a: Tensor, b: Tensor) -> Tensor:
    """Areas that boxes share: [..., 4] and [..., 4] -> [...], broadcast."""
    upper, lower = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    return (lower - upper).clamp(min=0).prod(-1)


def areas(boxes: Tensor) -> Tensor:
    """[..., 4] -> [...]."""
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)


def touches(boxes: Tensor, ignored: Tensor, overlap: float) -> Tensor:
    """[R]: whether a box overlaps an ignored object by `overlap` (IoU), or lies in it to 70 %."""
    shared = intersections(boxes[:, None], ignored[None])  # [R, G]
    inside = shared / areas(boxes).clamp(min=1e-6)[:, None]
    return ((box_iou(boxes, ignored) >= overlap) | (inside >= 0.7)).any(1)
