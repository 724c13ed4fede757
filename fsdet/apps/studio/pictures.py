"""Pictures of the page: fitted photographs with boxes, and crops."""

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from fsdet.api.results import Detection
from fsdet.apps.studio.boxes import Corners
from fsdet.apps.studio.project import Labels
from fsdet.apps.studio.view import View
from fsdet.report import crop, draw
from fsdet.report.drawing import Colour

REJECTED: Colour = (130, 130, 130)


def fitted(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """The image resized to `side` pixels along its longer side, and the scale of its coordinates."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=interpolation), scale


def with_boxes(
    image: np.ndarray,
    scale: float,
    labels: Labels,
    detections: Sequence[Detection],
    colours: Mapping[str, Colour],
    texts: bool = True,
) -> np.ndarray:
    """A fitted photograph with its boxes, detections and rejections drawn."""
    rows: list[tuple[Corners, str, Colour]] = [
        *((b.corners, b.category or "?", colours.get(b.category, REJECTED)) for b in labels.boxes),
        *((d.box, f"{d.name} {d.score:.2f}", colours[d.name]) for d in detections),
        *((corners, "✗", REJECTED) for corners in labels.rejected),
    ]
    corners = np.array([corners for corners, _, _ in rows]).reshape(-1, 4)
    words = [text if texts else "" for _, text, _ in rows]
    return draw(image, corners * scale, words, [colour for _, _, colour in rows])


def album(
    read: Callable[[str], tuple[np.ndarray, float]],
    view: View,
    colours: Mapping[str, Colour],
    most: int = 8,
) -> list[tuple[np.ndarray, str]]:
    """Captioned crops: of each category its first shots, then its best pending detections.

    Args:
        read: key of a photograph -> the fitted photograph and its scale.
        most: number of shots, and of detections, per category.
    """
    project, keys = view.project, [photo.key for photo in view.project.photos]
    detections = [(key, detection) for key in keys for detection in view.pending(key)]
    detections.sort(key=lambda pair: -pair[1].score)
    crops = []
    for name in project.categories:
        shots = [(key, b) for key in keys for b in project.of(key).boxes if b.category == name]
        best = [(key, detection) for key, detection in detections if detection.name == name]
        captioned = [
            *((key, box.corners, f"{name}: a shot") for key, box in shots[:most]),
            *((key, d.box, f"{name} {d.score:.2f}") for key, d in best[:most]),
        ]
        crops += [(cut(read(key), box, colours[name]), text) for key, box, text in captioned]
    return crops


def cut(photo: tuple[np.ndarray, float], corners: Corners, colour: Colour) -> np.ndarray:
    """The square around a box of a fitted photograph."""
    image, scale = photo
    return crop(image, np.array(corners) * scale, colour, side=220)
