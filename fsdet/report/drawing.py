"""Boxes, labels and paths drawn on images, and crops of boxes."""

from collections.abc import Sequence

import cv2
import numpy as np

from fsdet.errors import InputError
from fsdet.report.lettering import text_mask

Colour = tuple[int, int, int]  # RGB, 0..255
NOVEL = "★ "  # marks names of novel categories
_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates: sixteenths of a pixel
DARK = (38, 40, 46)
_GREY = (128, 128, 128)
_CROP_SCALE = 1.5  # side of a crop over the longer side of its box
# Six hues that colour-blind readers tell apart, then the same lighter and darker.
_HUES = (
    (0, 158, 230),
    (240, 110, 0),
    (0, 178, 125),
    (214, 90, 190),
    (240, 200, 30),
    (90, 105, 240),
)
_SHADES = (1.0, 1.45, 0.62)


def palette(names: Sequence[str]) -> dict[str, Colour]:
    """A colour for each name by its index: the same list gives the same colours."""
    return {name: _colour(index) for index, name in enumerate(dict.fromkeys(names))}


def draw(
    image: np.ndarray,
    boxes: np.ndarray | Sequence[Sequence[float]],
    texts: Sequence[str],
    colours: Sequence[Colour],
    line: int | None = None,
) -> np.ndarray:
    """A copy of an image with boxes and a text at each; line width and font size follow the image size.

    A text goes above, below or inside its box, where it covers no other text, and never leaves the
    image; a text wider than the image is cut.

    Args:
        image: uint8 [H, W, 3] RGB.
        boxes: [G, 4] xyxy in pixels; clipped to the image.
        texts: G; an empty one draws nothing.
        colours: G.
        line: line width in pixels; None: by the image size.

    Raises:
        InputError: the image is of another type or shape, or numbers of boxes, texts and colours differ.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"expected a uint8 image [H, W, 3], got {image.dtype} {image.shape}")
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    if not len(boxes) == len(texts) == len(colours):
        raise InputError(
            f"expected a text and a colour for each of {len(boxes)} boxes,"
            f" got {len(texts)} and {len(colours)}"
        )
    out = np.ascontiguousarray(image).copy()
    height, width = out.shape[:2]
    line = line or _line_width(out)
    # Clipped half a line inside the image, so that a box along the edge is visible. OpenCV's (0, 0)
    # is the centre of the first pixel, ours its corner.
    low, high = line / 2, np.maximum(np.array([width, height] * 2) - line / 2, line / 2)
    fixed = np.round((boxes.clip(low, high) - 0.5) * (1 << _SHIFT)).astype(int)
    for (x1, y1, x2, y2), colour in zip(fixed.tolist(), colours, strict=True):
        # A dark outline keeps the box visible on any background.
        for stroke, thickness in ((DARK, line + 2), (colour, line)):
            cv2.rectangle(out, (x1, y1), (x2, y2), stroke, thickness, cv2.LINE_AA, _SHIFT)
    occupied: list[tuple[int, int, int, int]] = []
    for box, text, colour in zip(boxes, texts, colours, strict=True):
        if text:
            _draw_label(out, text, colour, box, line, occupied)
    return out


def trace(
    image: np.ndarray, paths: Sequence[Sequence[Sequence[float]]], colours: Sequence[Colour]
) -> np.ndarray:
    """A copy of an image with a polyline along each path.

    Args:
        image: uint8 [H, W, 3] RGB.
        paths: G paths of [P, 2] x, y in pixels; a single point draws nothing.
        colours: G.
    """
    out = np.ascontiguousarray(image).copy()
    for path, colour in zip(paths, colours, strict=True):
        if len(path) > 1:
            fixed = np.round((np.asarray(path, dtype=float) - 0.5) * (1 << _SHIFT))
            cv2.polylines(
                out, [fixed.astype(np.int32)], False, colour, _line_width(out), cv2.LINE_AA, _SHIFT
            )
    return out


def crop(image: np.ndarray, box: np.ndarray, colour: Colour, side: int = 144) -> np.ndarray:
    """Crop the square around a box and draw the box into it; grey outside the image.

    Args:
        image: uint8 [H, W, 3] RGB.
        box: [4] xyxy in pixels.
        side: of the crop, in pixels.

    Returns:
        uint8 [side, side, 3] RGB.
    """
    low, high = np.asarray(box, float).reshape(2, 2)
    length = int(np.ceil(_CROP_SCALE * max(*(high - low), 1.0)))
    corner = np.floor((low + high - length) / 2).astype(int)
    square = np.full((length, length, 3), _GREY, np.uint8)
    x, y = np.clip([corner, corner + length], 0, np.array(image.shape[1::-1])).T
    left, top = corner
    square[y[0] - top : y[1] - top, x[0] - left : x[1] - left] = image[slice(*y), slice(*x)]
    interpolation = cv2.INTER_AREA if side < length else cv2.INTER_CUBIC
    resized = cv2.resize(square, (side, side), interpolation=interpolation)
    box_in_crop = (np.concatenate([low, high]) - np.tile(corner, 2)) * side / length
    return draw(resized, box_in_crop[None], [""], [colour], line=2)


def _line_width(image: np.ndarray) -> int:
    """The line width in pixels for an image [H, W, 3]."""
    return max(1, round(min(image.shape[:2]) / 200))


def _draw_label(
    out: np.ndarray,
    text: str,
    colour: Colour,
    box: np.ndarray,
    line: int,
    occupied: list[tuple[int, int, int, int]],
) -> None:
    """Draw a text on a plate of its colour, at the first free position around its box."""
    height, width = out.shape[:2]
    letters = text_mask(text, max(9, round(min(height, width) / 26)), width, height)
    label_height, label_width = letters.shape
    x1, y1, x2, y2 = box
    left, right = x1 - line / 2, x2 + line / 2 - label_width
    above, below = y1 - line / 2 - label_height, y2 + line / 2
    positions = [(left, above), (left, below), (left, y1), (right, above), (right, below)]
    plates = []
    for x, y in positions:
        x_start = round(min(max(x, 0), width - label_width))
        y_start = round(min(max(y, 0), height - label_height))
        plates.append((x_start, y_start, x_start + label_width, y_start + label_height))
    inside = [n for n, (_, y) in enumerate(positions) if 0 <= y <= height - label_height]
    free = [n for n in inside if not any(_overlap(plates[n], other) for other in occupied)]
    plate = plates[(free or inside or [0])[0]]
    occupied.append(plate)
    x_start, y_start, x_end, y_end = plate
    is_bright = np.dot(colour, (0.299, 0.587, 0.114)) > 140
    ink = np.array((0, 0, 0) if is_bright else (255, 255, 255))
    cover = letters[..., None] / 255
    label = np.round(ink * cover + np.array(colour) * (1 - cover))
    out[y_start:y_end, x_start:x_end] = label


def _colour(index: int) -> Colour:
    shade = _SHADES[index // len(_HUES) % len(_SHADES)]
    hue = np.array(_HUES[index % len(_HUES)], dtype=float)
    mixed = 255 - (255 - hue) / shade if shade > 1 else hue * shade
    red, green, blue = (round(float(value)) for value in mixed)
    return red, green, blue


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
