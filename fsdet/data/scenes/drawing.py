"""Drawing of scenes: textured grounds, shading, shadows, inner parts, blur and noise.

Colours and textures do not depend on the category, so that they give no hint of it.
"""

import cv2
import numpy as np

from fsdet.data.scenes.layout import Placed
from fsdet.data.shapes.outlines import Random, Silhouette, polar
from fsdet.data.shapes.render import fixed, grain, mask, scribble, texture


def scene(rng: Random, objects: list[Placed], size: int) -> np.ndarray:
    """Draw objects over a ground, the first farthest back: uint8 `[size, size, 3]` RGB."""
    ground = _ground(rng, size // 2)  # half its size: a quarter of the time, and seldom in focus
    canvas = cv2.resize(ground, (size, size), interpolation=cv2.INTER_LINEAR)
    for _ in range(rng.integers(0, 4)):
        scribble(rng, canvas)
    light = rng.uniform(0, 2 * np.pi)
    shadow = rng.uniform(0.2, 0.7) if rng.random() < 0.5 else 0.0
    soft = rng.uniform(0.4, 1.2)  # edges of objects in pixels: photographs have no sharp ones
    for placed in objects:
        _paint(rng, canvas, placed.silhouette, light, shadow, soft)
    for _ in range(rng.integers(0, 3)):
        scribble(rng, canvas)
    if rng.random() < 0.5:
        canvas = cv2.GaussianBlur(canvas, (5, 5), rng.uniform(0.4, 1.5))
    canvas = _exposed(rng, canvas)
    return cv2.add(canvas, grain(rng, size, rng.uniform(1, 12)), dtype=cv2.CV_8U)


def _ground(rng: Random, size: int) -> np.ndarray:
    """Noise of several octaves, and large faint or blurred surfaces whose outlines are never complete."""
    canvas = texture(rng, size, size, _colours(rng, 1)[0], 30)
    spread = rng.uniform(10, 45)
    for cells in (rng.integers(2, 5), rng.integers(6, 12), rng.integers(16, 40)):
        canvas += _noise(rng, size, int(cells), spread)
        spread *= rng.uniform(0.4, 0.9)
    for _ in range(rng.integers(0, 6)):
        middle = rng.permutation(np.array([rng.integers(0, 2), rng.random()])) * size
        corners = int(rng.integers(3, 9))
        surface = polar(rng.uniform(0.25, 0.8, corners) * size, corners, rng.uniform(0, 6)) + middle
        cover = mask(Silhouette([surface]), size, size)
        cover = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.3, 3)) * np.float32(1 / 255)
        fill = texture(rng, size, size, _colours(rng, 1)[0], 30)
        canvas += (fill - canvas) * (cover * np.float32(rng.uniform(0.3, 1)))[..., None]
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _noise(rng: Random, size: int, cells: int, spread: float) -> np.ndarray:
    octave = rng.uniform(-spread, spread, (cells, cells, 3)).astype(np.float32)
    return cv2.resize(octave, (size, size), interpolation=cv2.INTER_LINEAR)


def _paint(
    rng: Random,
    canvas: np.ndarray,
    silhouette: Silhouette,
    light: float,
    shadow: float,
    soft: float,
) -> None:
    """Fill a silhouette with a shaded texture and up to three inner parts, over its shadow."""
    size = len(canvas)
    corners = np.concatenate(silhouette.filled)
    reach = 3 + int(0.15 * np.ptp(corners, 0).max())  # for shadow and soft edges
    left, top = np.maximum(np.floor(corners.min(0)).astype(int) - reach, 0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + reach, size)
    height, width = int(bottom - top), int(right - left)
    under = canvas[top:bottom, left:right].astype(np.float32)
    cover = mask(silhouette.map(lambda points: points - (left, top)), height, width)
    direction = np.array([np.cos(light), np.sin(light)])
    if shadow:
        x, y = -direction * rng.uniform(0.02, 0.12) * np.ptp(corners, 0).max()
        shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
        cast = cv2.warpAffine(cover, shift, (width, height))
        cast = cv2.GaussianBlur(cast, (0, 0), 0.6 + 0.2 * reach) * np.float32(shadow / 255)
        under *= (1 - cast)[..., None]
    below = np.array(cv2.mean(under, cover)[:3])
    colour = _other_colour(rng, below, rng.uniform(20, 90))
    fill = texture(rng, height, width, colour, 45)
    for _ in range(rng.integers(0, 4)):
        _part(rng, fill, height, width)
    across = np.linspace(-1, 1, width, dtype=np.float32)
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    slope = across * np.float32(direction[0]) + down * np.float32(direction[1])
    shading = 1 + slope * np.float32(rng.uniform(0, 0.4))
    if rng.random() < 0.5:  # round: darker towards the edge
        depth = cv2.distanceTransform((cover > 127).astype(np.uint8), cv2.DIST_L2, 3)
        depth = np.minimum(depth / max(float(depth.max()), 1), 1)
        shading = shading * (1 - np.float32(rng.uniform(0.2, 0.6)) * (1 - depth) ** 2)
    fill *= shading[..., None]
    share = cv2.GaussianBlur(cover, (0, 0), soft) * np.float32(1 / 255)
    painted = under + (np.clip(fill, 0, 255) - under) * share[..., None]
    canvas[top:bottom, left:right] = np.clip(painted, 0, 255)


def _other_colour(rng: Random, below: np.ndarray, margin: float) -> np.ndarray:
    """A random colour that differs from the one below by at least `margin` in a channel, if one of 16 does."""
    colours = _colours(rng, 16)
    distances = np.abs(colours - below).max(1)
    far = distances >= margin
    return colours[int(far.argmax() if far.any() else distances.argmax())]


def _part(rng: Random, fill: np.ndarray, height: int, width: int) -> None:
    """Another surface within an object: a stripe, a spot or a half."""
    middle = rng.random(2) * (width, height)
    corners = int(rng.integers(3, 12))
    radius = rng.uniform(0.1, 0.6, corners) * max(height, width)
    surface = polar(radius, corners, rng.uniform(0, 6)) * (1, rng.uniform(0.2, 1)) + middle
    colour = _colours(rng, 1)[0].tolist()
    cv2.fillPoly(fill, [fixed(surface)], colour, cv2.LINE_AA, 4)


def _colours(rng: Random, count: int) -> np.ndarray:
    """float [count, 3] in 0..255: mostly near grey, as in photographs, some of them vivid."""
    chroma = rng.normal(0, 1, (count, 3)) * rng.exponential(28, (count, 1))
    return np.clip(rng.uniform(15, 240, (count, 1)) + chroma, 0, 255)


def _exposed(rng: Random, canvas: np.ndarray) -> np.ndarray:
    """Another contrast and brightness, and a colour cast."""
    gains, offset = rng.uniform(0.6, 1.2) * rng.uniform(0.9, 1.1, 3), rng.uniform(-20, 30)
    levels = np.arange(256)[:, None] * gains + offset
    return cv2.LUT(canvas, np.clip(levels, 0, 255).astype(np.uint8)[None])
