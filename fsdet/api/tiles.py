"""Large images seen whole and in overlapping tiles, in which small objects are as large as in training."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torchvision.ops import batched_nms

from fsdet.errors import InputError
from fsdet.types import Detections

OVERLAP = 0.25  # share of its side that a tile has in common with the next one, at least
EDGE = 0.01  # of its side: a box so near to where a tile was cut is part of an object
LEAST = 32  # pixels a side


class Window(NamedTuple):
    """A part of an image, in its pixels."""

    x1: int
    y1: int
    x2: int
    y2: int


def check_tiles(side: object) -> None:
    """Raise an InputError for anything but a number of pixels, or None."""
    if side is not None and not (type(side) is int and side >= LEAST):
        raise InputError(f"tiles: expected pixels a side from {LEAST} on, got {side!r:.80}")


def windows(height: int, width: int, side: int) -> list[Window]:
    """The whole image, then its tiles of at most `side` x `side` pixels; no tiles if it is not larger than one."""
    whole = Window(0, 0, width, height)
    if max(height, width) <= side:
        return [whole]
    tiles = [
        Window(x, y, min(x + side, width), min(y + side, height))
        for y in _starts(height, side)
        for x in _starts(width, side)
    ]
    return [whole, *tiles]


def joined(parts: Sequence[Detections], seen: Sequence[Window], overlap: float) -> Detections:
    """The detections of an image from those of its windows, best first.

    A box at the edge of a tile that is no edge of the image is left out: a neighbour has the whole object, or the
    image as a whole. Of boxes of a category with a larger IoU than `overlap` the best one stays.

    Args:
        parts: of each window, with boxes in pixels of the window.
        seen: the windows, the whole image first.
    """
    if len(parts) == 1:
        return parts[0]
    moved = [_moved(part, window, seen[0]) for part, window in zip(parts, seen, strict=True)]
    boxes = torch.cat([part["boxes"] for part in moved])
    labels = torch.cat([part["labels"] for part in moved])
    scores = torch.cat([part["scores"] for part in moved])
    kept = batched_nms(boxes, scores, labels, overlap)
    return Detections(boxes=boxes[kept], labels=labels[kept], scores=scores[kept])


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin along a side of an image: evenly, from one end to the other."""
    if length <= side:
        return [0]
    gaps = math.ceil((length - side) / (side * (1 - OVERLAP)))
    return [round(n * (length - side) / gaps) for n in range(gaps + 1)]


def _moved(part: Detections, window: Window, whole: Window) -> Detections:
    """The detections of a window in pixels of the image, without those that its edge cuts."""
    x, y = window.x1, window.y1
    boxes = part["boxes"] + part["boxes"].new_tensor([x, y, x, y])
    margin = EDGE * max(window.x2 - x, window.y2 - y)
    near = (boxes - boxes.new_tensor(window)).abs() < margin  # [R, 4]
    inner = torch.tensor([a != b for a, b in zip(window, whole, strict=True)], device=near.device)
    kept = ~(near & inner).any(1)
    return Detections(boxes=boxes[kept], labels=part["labels"][kept], scores=part["scores"][kept])
