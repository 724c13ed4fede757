"""Box arithmetic: IoU, pairs of boxes of the same image, the box coder."""

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou


def pairs(keys: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of equal keys: [P] places in `keys`, ascending, and [P] places in `others`."""
    rows = np.argsort(others, kind="stable")
    start = np.searchsorted(others[rows], keys, "left")
    count = np.searchsorted(others[rows], keys, "right") - start
    first = np.repeat(np.arange(len(keys)), count)
    before = np.cumsum(count) - count
    return first, rows[np.arange(len(first)) + np.repeat(start - before, count)]


def overlaps(a: np.ndarray, b: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """Intersection over union of boxes, row by row: [P, 4] and [P, 4] xyxy -> [P], 0..1.

    Where `crowd` [P] says so over the area of `a` alone, COCO's overlap with a region of many objects.
    """
    shared = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.maximum(shared, 0).prod(axis=1)
    alone = (a[:, 2:] - a[:, :2]).prod(axis=1)
    whole = alone + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared
    if crowd is not None:
        whole = np.where(crowd, alone, whole)
    return shared / np.maximum(whole, np.finfo(np.float64).tiny)


BOX_CODER = BoxCoder((10.0, 10.0, 5.0, 5.0))


def touches(boxes: Tensor, ignored: Tensor, overlap: float) -> Tensor:
    """[R]: whether a box overlaps an ignored object by `overlap` (IoU), or lies mostly inside of one."""
    upper = torch.maximum(boxes[:, None, :2], ignored[None, :, :2])
    lower = torch.minimum(boxes[:, None, 2:], ignored[None, :, 2:])
    inside = (lower - upper).clamp(min=0).prod(-1)  # [R, G]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1).clamp(min=1e-6)
    inside = inside / area[:, None]
    return ((box_iou(boxes, ignored) >= overlap) | (inside >= 0.7)).any(1)
