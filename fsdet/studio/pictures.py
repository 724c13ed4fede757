"""Photographs as the page shows them: small, with boxes."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from fsdet.api import Detection
from fsdet.report import draw
from fsdet.report.overlays import Colour
from fsdet.studio.project import Corners, Labels

REJECTED: Colour = (130, 130, 130)


def fitted(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """An image whose longer side has `side` pixels, and by what its coordinates were multiplied."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=kind), scale


def with_boxes(
    image: np.ndarray,
    scale: float,
    labels: Labels,
    found: Sequence[Detection],
    colours: Mapping[str, Colour],
    texts: bool = True,
) -> np.ndarray:
    """A fitted photograph with its boxes, what was found in it and what was rejected."""
    corners: list[Corners] = [box.corners for box in labels.boxes]
    corners += [*(one.box for one in found), *labels.rejected]
    words = [box.category or "?" for box in labels.boxes]
    words += [*(f"{one.name} {one.score:.2f}" for one in found), *["✗"] * len(labels.rejected)]
    inks = [colours.get(box.category, REJECTED) for box in labels.boxes]
    inks += [*(colours[one.name] for one in found), *[REJECTED] * len(labels.rejected)]
    scaled = np.array(corners).reshape(-1, 4) * scale
    return draw(image, scaled, words if texts else [""] * len(words), inks)


def crop(image: np.ndarray, corners: Corners, margin: float = 0.35, side: int = 220) -> np.ndarray:
    """What is around a box: its surroundings by `margin` of its sides, the box drawn."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = corners
    dx, dy = margin * (x2 - x1), margin * (y2 - y1)
    left, top = max(int(x1 - dx), 0), max(int(y1 - dy), 0)
    right, bottom = min(int(x2 + dx) + 1, width), min(int(y2 + dy) + 1, height)
    part, scale = fitted(image[top:bottom, left:right], side)
    box = (np.array(corners) - [left, top, left, top]) * scale
    return draw(part, [box.tolist()], [""], [(255, 255, 255)])
