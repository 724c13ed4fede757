"""Photographs as the page shows them: small, with boxes."""

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from fsdet.api.detector import Detection
from fsdet.apps.studio.project import Corners, Labels
from fsdet.apps.studio.view import View
from fsdet.report import crop, draw
from fsdet.report.drawing import Colour

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


def album(
    read: Callable[[str], tuple[np.ndarray, float]],
    view: View,
    colours: Mapping[str, Colour],
    most: int = 8,
) -> list[tuple[np.ndarray, str]]:
    """Of each category its shots, then the surest of what they found, each cut out and with its words.

    Args:
        read: key of a photograph -> it fitted, and its scale.
        most: shots, and detections, of a category.
    """
    project = view.project
    finds = [(photo.key, one) for photo in project.photos for one in view.pending(photo.key)]
    finds.sort(key=lambda pair: -pair[1].score)
    pictures = []
    for name in project.categories:
        shots = [
            (p.key, b)
            for p in project.photos
            for b in project.of(p.key).boxes
            if b.category == name
        ]
        for key, box in shots[:most]:
            pictures.append((cut(read(key), box.corners, colours[name]), f"{name}: a shot"))
        mine = [(key, one) for key, one in finds if one.name == name]
        for key, one in mine[:most]:
            pictures.append((cut(read(key), one.box, colours[name]), f"{name} {one.score:.2f}"))
    return pictures


def cut(photo: tuple[np.ndarray, float], corners: Corners, colour: Colour) -> np.ndarray:
    """The square around a box of a fitted photograph."""
    image, scale = photo
    return crop(image, np.array(corners) * scale, colour, side=220)
