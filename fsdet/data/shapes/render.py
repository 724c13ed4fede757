"""Drawing of images: a cluttered background, clutter of no category, and objects over them.

Colours and textures do not depend on the category, so that they give no hint of it.
"""

from functools import lru_cache

import cv2
import numpy as np

from fsdet.data.shapes.outlines import Points, Random, Silhouette, polar

SHIFT = 4  # OpenCV's fixed-point bits of a coordinate: sixteenths of a pixel


def scene(rng: Random, objects: list[Silhouette], size: int) -> np.ndarray:
    """Draw objects, whose points are in pixels with the corner at (0, 0): uint8 `[size, size, 3]` RGB."""
    canvas = _background(rng, size)
    for _ in range(rng.integers(1, 6)):
        scribble(rng, canvas)
    for _ in range(rng.integers(0, 3)):
        _paint(rng, canvas, Silhouette([_clutter(rng, size)]), margin=20)
    for silhouette in objects:
        _paint(rng, canvas, silhouette, margin=rng.uniform(35, 90))
    for _ in range(rng.integers(0, 3)):
        scribble(rng, canvas)
    if rng.random() < 0.3:
        canvas = cv2.GaussianBlur(canvas, (3, 3), rng.uniform(0.4, 1.0))
    return cv2.add(canvas, grain(rng, size, rng.uniform(2, 14)), dtype=cv2.CV_8U)


def mask(silhouette: Silhouette, height: int, width: int) -> np.ndarray:
    """uint8 `[height, width]`: the share of each pixel that a silhouette covers, 0..255."""
    out = np.zeros((height, width), np.uint8)
    for parts, value in ((silhouette.filled, 255), (silhouette.cut, 0)):
        for points in parts:
            # (0, 0) is the middle of the first pixel in OpenCV, its corner here.
            cv2.fillPoly(out, [fixed(points - 0.5)], value, cv2.LINE_AA, SHIFT)
    return out


def fixed(points: Points) -> np.ndarray:
    """Points as OpenCV's fixed-point numbers."""
    return np.round(points * (1 << SHIFT)).astype(np.int32)


def _paint(rng: Random, canvas: np.ndarray, silhouette: Silhouette, margin: float) -> None:
    """Fill a silhouette with a texture whose colour differs by at least `margin` from the canvas below it."""
    size = len(canvas)
    corners = np.concatenate(silhouette.filled)
    left, top = np.maximum(np.floor(corners.min(0)).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, size)
    under = canvas[top:bottom, left:right]
    height, width = bottom - top, right - left
    cover = mask(silhouette.map(lambda points: points - (left, top)), height, width)
    below = np.array(cv2.mean(under, cover)[:3])
    colour = rng.integers(0, 256, (16, 3))
    distance = np.abs(colour - below).max(1)
    colour = (
        colour[int((distance >= margin).argmax())]
        if distance.max() >= margin
        else colour[distance.argmax()]
    )
    share = (cover * np.float32(1 / 255))[..., None]
    fill = texture(rng, height, width, colour, 45)
    under[:] = np.round(under + (fill - under) * share)


def texture(
    rng: Random, height: int, width: int, colour: np.ndarray, contrast: float
) -> np.ndarray:
    """float32 `[height, width, 3]` in 0..255: flat, shaded, striped, dotted or marbled."""
    other = rng.uniform(-contrast, contrast, 3).astype(np.float32)
    angle, period = rng.uniform(0, 2 * np.pi), rng.uniform(4, 12)
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    level: np.ndarray
    kind = rng.integers(5)
    if kind == 0:
        level = np.zeros((height, width), np.float32)
    elif kind == 1:
        level = x * float(np.cos(angle) / width) + y * float(np.sin(angle) / height)
    elif kind == 2:
        # sin(a + b) from the sines of rows and columns
        across = x * float(2 * np.pi * np.cos(angle) / period)
        down = y * float(2 * np.pi * np.sin(angle) / period)
        level = np.sin(across) * np.cos(down) + np.cos(across) * np.sin(down)
    elif kind == 3:
        level = np.sin(x * float(2 * np.pi / period)) * np.sin(y * float(2 * np.pi / period))
    else:
        cells = rng.uniform(-1, 1, (max(height // 8, 2), max(width // 8, 2))).astype(np.float32)
        level = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    painted = cv2.merge([level * float(other[c]) + float(colour[c]) for c in range(3)])
    return np.clip(painted, 0, 255, out=painted)


def _background(rng: Random, size: int) -> np.ndarray:
    """Noise of several octaves over a faint pattern; in half of the images under a large faint polygon."""
    spread = rng.uniform(10, 40)
    canvas = texture(rng, size, size, rng.integers(0, 256, 3), 25)
    for cells in (rng.integers(2, 5), rng.integers(6, 12), rng.integers(16, 40)):
        octave = rng.uniform(-spread, spread, (cells, cells, 3)).astype(np.float32)
        canvas += cv2.resize(octave, (size, size), interpolation=cv2.INTER_LINEAR)
        spread *= rng.uniform(0.3, 0.7)
    canvas = np.clip(canvas, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        # Centred at the border, so that its outline is never complete: complete ones are categories.
        middle = rng.permutation(np.array([rng.integers(0, 2), rng.random()])) * size
        veil = polar(rng.uniform(0.3, 0.8, 4) * size, 4, rng.uniform(0, 6)) + middle
        colour = rng.integers(0, 256, 3).tolist()
        over = cv2.fillPoly(canvas.copy(), [fixed(veil)], colour, cv2.LINE_AA, SHIFT)
        weight = rng.uniform(0.1, 0.35)
        canvas = cv2.addWeighted(over, weight, canvas, 1 - weight, 0)
    return canvas


def _clutter(rng: Random, size: int) -> Points:
    """A smooth blob or a jagged polygon, as large as an object and unlike every category."""
    middle, reach = rng.uniform(0, size, 2), rng.uniform(0.05, 0.2) * size
    if rng.random() < 0.5:
        radius = rng.uniform(0.75, 1, 8)
        notches = rng.uniform(0.15, 0.45, 2)  # so that it is never convex
        radius[np.array([0, rng.integers(2, 7)])] = notches
        return polar(radius * reach, 8, rng.uniform(0, 6)) + middle
    angle = np.arange(36) * (2 * np.pi / 36)
    radius = np.full(36, 0.65)
    for wave in (1, 2, 3):
        radius += rng.uniform(-0.16, 0.16) * np.cos(wave * angle + rng.uniform(0, 6))
    return polar(radius * reach, 36) + middle


def scribble(rng: Random, canvas: np.ndarray) -> None:
    """A line, or a few short strokes side by side, like writing."""
    size = len(canvas)
    colour, width = rng.integers(0, 256, 3).tolist(), int(rng.integers(1, 3))
    if rng.random() < 0.5:
        strokes = [rng.uniform(-0.1, 1.1, (2, 2)) * size]
    else:
        steps = np.cumsum(rng.uniform(-0.02, 0.05, (5, 1, 2)) * size, 0) * (1, 0.2)
        shaky = rng.uniform(-0.03, 0.03, (5, 3, 2)) * size
        strokes = list(rng.uniform(0, size, 2) + steps + shaky)
    cv2.polylines(canvas, list(map(fixed, strokes)), False, colour, width, cv2.LINE_AA, SHIFT)


def grain(rng: Random, size: int, strength: float) -> np.ndarray:
    """Sensor noise, int16 `[size, size, 3]`: a random window of one large tile, for speed."""
    tile = _tile(size)
    row, column = rng.integers(0, len(tile) - size, 2)
    return np.round(tile[row : row + size, column : column + size] * strength).astype(np.int16)


@lru_cache(maxsize=2)
def _tile(size: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(0))
    return rng.standard_normal((2 * size, 2 * size, 3), np.float32)
