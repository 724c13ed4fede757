"""Boxes, names and scores on pictures, and detections beside the truth."""

from collections.abc import Collection, Sequence

import cv2
import numpy as np

from fsdet.errors import InputError
from fsdet.report.lettering import letters_of

Colour = tuple[int, int, int]  # RGB, 0..255
NOVEL = "★ "  # before the name of a novel category
_SHIFT = 4  # OpenCV's fixed-point bits of a coordinate: sixteenths of a pixel
_STRIP = (38, 40, 46)
# Six hues that every kind of sight tells apart, then the same again lighter and darker.
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
    """A colour for each name, by its place: the same list gives the same colours."""
    return {name: _colour(place) for place, name in enumerate(dict.fromkeys(names))}


def draw(
    image: np.ndarray,
    boxes: np.ndarray | Sequence[Sequence[float]],
    texts: Sequence[str],
    colours: Sequence[Colour],
    line: int | None = None,
) -> np.ndarray:
    """A copy of an image with boxes and a text at each; lines and letters grow with the image.

    A text stands above its box, below it or inside of it, where it is free, never outside of the
    picture; a text wider than the picture is cut.

    Args:
        image: uint8 [H, W, 3] RGB.
        boxes: [G, 4] xyxy in pixels; what sticks out is cut off.
        texts: G; an empty one draws nothing.
        colours: G.
        line: how thick lines are, in pixels; None: as the image is large.

    Raises:
        InputError: another kind of image, or numbers of boxes, texts and colours that differ.
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
    line = line or _line(out)
    # Half a line inside of the picture, so that a box along the rim is seen; OpenCV's (0, 0) is the
    # middle of the first pixel, ours its corner.
    low, high = line / 2, np.maximum(np.array([width, height] * 2) - line / 2, line / 2)
    fixed = np.round((boxes.clip(low, high) - 0.5) * (1 << _SHIFT)).astype(int)
    for (x1, y1, x2, y2), colour in zip(fixed.tolist(), colours, strict=True):
        # Dark under the colour: seen on any ground, its own colour's too.
        for ink, thick in ((_STRIP, line + 2), (colour, line)):
            cv2.rectangle(out, (x1, y1), (x2, y2), ink, thick, cv2.LINE_AA, _SHIFT)
    taken: list[tuple[int, int, int, int]] = []
    for box, text, colour in zip(boxes, texts, colours, strict=True):
        if text:
            _write(out, text, colour, box, line, taken)
    return out


def trace(
    image: np.ndarray, paths: Sequence[Sequence[Sequence[float]]], colours: Sequence[Colour]
) -> np.ndarray:
    """A copy of an image with a line along each path.

    Args:
        image: uint8 [H, W, 3] RGB.
        paths: G times [P, 2] x, y in pixels; a single point draws nothing.
        colours: G.
    """
    out = np.ascontiguousarray(image).copy()
    for path, colour in zip(paths, colours, strict=True):
        if len(path) > 1:
            fixed = np.round((np.asarray(path, dtype=float) - 0.5) * (1 << _SHIFT))
            cv2.polylines(
                out, [fixed.astype(np.int32)], False, colour, _line(out), cv2.LINE_AA, _SHIFT
            )
    return out


def beside(
    image: np.ndarray,
    truth: tuple[np.ndarray, Sequence[str]],
    found: tuple[np.ndarray, Sequence[str], Sequence[float]],
    novel: Collection[str] = (),
    colours: dict[str, Colour] | None = None,
    threshold: float = 0.5,
    side: int = 360,
) -> np.ndarray:
    """The truth (left) and what was found (right) in one picture; novel names carry a star.

    Args:
        image: uint8 [H, W, 3] RGB.
        truth: boxes [G, 4] xyxy in pixels of the image, and their names.
        found: boxes [R, 4], their names and scores in 0..1.
        novel: the names that carry a star.
        colours: of each name, from `palette` of all categories, so that pictures of a series agree.
        threshold: detections below this score are left out.
        side: the longer side of each half, in pixels; small images are enlarged.

    Returns:
        uint8 [H', W', 3] RGB.
    """
    scale = side / max(image.shape[:2])
    size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    boxes, names, scores = found
    kept = [n for n, score in enumerate(scores) if score >= threshold]
    kept.sort(key=lambda n: scores[n])  # the best is drawn last, on top
    names = [names[n] for n in kept]
    known = palette([*truth[1], *names]) | (colours or {})
    marked = {name: NOVEL + name if name in novel else name for name in known}
    halves = (
        ("truth", truth[0], truth[1], [marked[name] for name in truth[1]]),
        (
            f"found (score ≥ {threshold:g})",
            np.asarray(boxes, dtype=float).reshape(-1, 4)[kept],
            names,
            [f"{marked[name]} {scores[n]:.2f}" for n, name in zip(kept, names, strict=True)],
        ),
    )
    grown = np.array([size[0] / image.shape[1], size[1] / image.shape[0]] * 2)
    drawn = [
        np.concatenate(
            [
                _strip(title, small.shape[1], side),
                draw(
                    small,
                    np.asarray(where, dtype=float).reshape(-1, 4) * grown,
                    texts,
                    [known[name] for name in who],
                ),
            ]
        )
        for title, where, who, texts in halves
    ]
    gap = np.full((len(drawn[0]), max(2, side // 80), 3), _STRIP, np.uint8)
    return np.concatenate([drawn[0], gap, drawn[1]], 1)


def _line(image: np.ndarray) -> int:
    """How thick lines are on [H, W, 3]."""
    return max(1, round(min(image.shape[:2]) / 200))


def _write(
    out: np.ndarray,
    text: str,
    colour: Colour,
    box: np.ndarray,
    line: int,
    taken: list[tuple[int, int, int, int]],
) -> None:
    """A text on a plate of its colour, at the first free place around its box."""
    height, width = out.shape[:2]
    letters = letters_of(text, max(9, round(min(height, width) / 26)), width, height)
    tall, wide = letters.shape
    x1, y1, x2, y2 = box
    left, right = x1 - line / 2, x2 + line / 2 - wide
    above, below = y1 - line / 2 - tall, y2 + line / 2
    places = [(left, above), (left, below), (left, y1), (right, above), (right, below)]
    corners = [
        (round(min(max(x, 0), width - wide)), round(min(max(y, 0), height - tall)))
        for x, y in places
    ]
    plates = [(x, y, x + wide, y + tall) for x, y in corners]
    inside = [n for n, (x, y) in enumerate(places) if 0 <= y <= height - tall]
    free = [n for n in inside if not any(_overlap(plates[n], other) for other in taken)]
    chosen = (free or inside or [0])[0]
    x, y, x_end, y_end = plates[chosen]
    taken.append(plates[chosen])
    dark = np.dot(colour, (0.299, 0.587, 0.114)) > 140
    ink = np.array((0, 0, 0) if dark else (255, 255, 255))
    cover = letters[..., None] / 255
    out[y:y_end, x:x_end] = np.round(ink * cover + np.array(colour) * (1 - cover))


def _strip(title: str, width: int, side: int) -> np.ndarray:
    """A title to put above a picture: uint8 [h, width, 3]."""
    letters = letters_of(title, max(10, side // 28), width, side)
    strip = np.zeros((len(letters) + side // 60, width), np.uint8)
    top = (len(strip) - len(letters)) // 2
    strip[top : top + len(letters), : letters.shape[1]] = letters
    cover = strip[..., None] / 255
    return np.round(235 * cover + np.array(_STRIP) * (1 - cover)).astype(np.uint8)


def _colour(place: int) -> Colour:
    shade = _SHADES[place // len(_HUES) % len(_SHADES)]
    hue = np.array(_HUES[place % len(_HUES)], dtype=float)
    mixed = 255 - (255 - hue) / shade if shade > 1 else hue * shade
    red, green, blue = (round(float(value)) for value in mixed)
    return red, green, blue


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


_AROUND = 1.5  # sides of the square over the longer side of the box


_OUTSIDE = (128, 128, 128)


def crop(image: np.ndarray, box: np.ndarray, colour: Colour, side: int = 144) -> np.ndarray:
    """The square around a box, with the box drawn in; grey where the image ends.

    Args:
        image: uint8 [H, W, 3] RGB.
        box: [4] xyxy in pixels.
        side: of the result, in pixels.

    Returns:
        uint8 [side, side, 3] RGB.
    """
    low, high = np.asarray(box, float).reshape(2, 2)
    length = int(np.ceil(_AROUND * max(*(high - low), 1.0)))
    corner = np.floor((low + high - length) / 2).astype(int)
    square = np.full((length, length, 3), _OUTSIDE, np.uint8)
    x, y = np.clip([corner, corner + length], 0, np.array(image.shape[1::-1])).T
    left, top = corner
    square[y[0] - top : y[1] - top, x[0] - left : x[1] - left] = image[slice(*y), slice(*x)]
    how = cv2.INTER_AREA if side < length else cv2.INTER_CUBIC
    small = cv2.resize(square, (side, side), interpolation=how)
    inside = (np.concatenate([low, high]) - np.tile(corner, 2)) * side / length
    return draw(small, inside[None], [""], [colour], line=2)
