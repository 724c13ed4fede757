"""Random outlines of twenty categories, upright, centred at the origin, in [-1, 1], y downwards."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Points = np.ndarray  # [P, 2] x, y
Random = np.random.Generator


class Silhouette(NamedTuple):
    """Polygons to fill, and polygons to cut out afterwards."""

    filled: list[Points]
    cut: list[Points] = []  # noqa: RUF012 (never changed)

    def map(self, change: Callable[[Points], Points]) -> "Silhouette":
        """Change the points of every polygon."""
        return Silhouette(*([change(polygon) for polygon in polygons] for polygons in self))


def draw(name: str, rng: Random) -> Silhouette:
    """Draw a random outline of category `name`."""
    return _DRAW[name](rng)


def polar(radius: np.ndarray | float, count: int, start: float = -np.pi / 2) -> Points:
    """`count` points around the origin with these radii, the first one at angle `start`."""
    angle = start + np.arange(count) * (2 * np.pi / count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def _points(*flat: float) -> Points:
    return np.array(flat, float).reshape(-1, 2)


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return _points(left, top, right, top, right, bottom, left, bottom)


def _star(tips: int, inner: float) -> Points:
    return polar(np.tile([1.0, inner], tips), 2 * tips)


def _ring(rng: Random) -> Silhouette:
    return Silhouette([polar(1.0, 40)], [polar(rng.uniform(0.5, 0.72), 32)])


def _cross(rng: Random) -> Silhouette:
    w = rng.uniform(0.24, 0.4)
    right = _points(-w, -1, w, -1, w, -w, 1, -w, 1, w, w, w)
    return Silhouette([np.concatenate([right, -right])])


def _arrow(rng: Random) -> Silhouette:
    neck, w = rng.uniform(-0.2, 0.15), rng.uniform(0.2, 0.36)
    return Silhouette([_points(0, -1, 0.8, neck, w, neck, w, 1, -w, 1, -w, neck, -0.8, neck)])


def _heart(rng: Random) -> Silhouette:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 15
    return Silhouette([np.stack([x, y * rng.uniform(0.9, 1.1)], 1)])


def _crescent(rng: Random) -> Silhouette:
    shift = rng.uniform(0.45, 0.62)
    tip = np.arccos(shift / 2)  # where the unit circle meets the one shifted to the right
    outer = np.linspace(tip, 2 * np.pi - tip, 36)
    inner = np.linspace(np.pi + tip, np.pi - tip, 24)[1:-1]
    inside = np.stack([shift + np.cos(inner), np.sin(inner)], 1)
    return Silhouette([np.concatenate([np.stack([np.cos(outer), np.sin(outer)], 1), inside])])


def _gear(rng: Random) -> Silhouette:
    root = rng.uniform(0.7, 0.78)
    rim = polar(np.tile([1, 1, root, root], 8), 32)
    return Silhouette([rim], [polar(rng.uniform(0.28, 0.42), 24)])


def _ell(rng: Random) -> Silhouette:
    w = rng.uniform(0.45, 0.65)
    v = w - 0.75
    return Silhouette([_points(-0.75, -1, v, -1, v, 1 - w, 0.75, 1 - w, 0.75, 1, -0.75, 1)])


def _tee(rng: Random) -> Silhouette:
    w = rng.uniform(0.22, 0.32)
    bar = 2 * w - 1
    right = _points(0.9, -1, 0.9, bar, w, bar, w, 1)
    return Silhouette([np.concatenate([right, right[::-1] * (-1, 1)])])


def _house(rng: Random) -> Silhouette:
    eave, left = rng.uniform(-0.15, 0.05), rng.uniform(-0.45, 0.05)
    roof = _points(0, -1, 1, eave, 0.78, eave, 0.78, 0.9, -0.78, 0.9, -0.78, eave, -1, eave)
    return Silhouette([roof], [_box(left, 0.3, left + 0.4, 0.95)])


def _bolt(rng: Random) -> Silhouette:
    a = rng.uniform(-0.23, -0.07)
    b = a + 0.25
    return Silhouette([_points(0.5, -1, 0.12, a, 0.6, a, -0.4, 1, -0.1, b, -0.6, b, -0.15, -1)])


def _drop(rng: Random) -> Silhouette:
    tail = rng.uniform(1.1, 1.5)
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = 0.95 * np.sin(t) * np.sin(t / 2) ** tail
    return Silhouette([np.stack([x, -np.cos(t)], 1)])


def _hourglass(rng: Random) -> Silhouette:
    w, rim = rng.uniform(0.08, 0.18), rng.uniform(0.7, 0.85)
    half = _points(-0.75, -1, 0.75, -1, 0.75, -rim, w, 0)
    return Silhouette([np.concatenate([half, -half])])


def _trefoil(rng: Random) -> Silhouette:
    disc = polar(rng.uniform(0.46, 0.54), 24)
    stem = _points(-0.1, 0, 0.1, 0, 0.3, 1, -0.3, 1)
    return Silhouette([disc + centre for centre in _points(0, -0.5, 0.5, 0.2, -0.5, 0.2)] + [stem])


def _spiral(rng: Random) -> Silhouette:
    half = rng.uniform(0.12, 0.17)
    t = np.linspace(0, 1, 44)
    angle = rng.uniform(0, 2 * np.pi) + t * 2 * np.pi * 1.8
    middle = 0.1 + (0.9 - half) * t
    ends = np.stack([np.cos(angle), np.sin(angle)], 1)
    outer, inner = ends * (middle + half)[:, None], ends * (middle - half)[:, None]
    return Silhouette([np.concatenate([outer, inner[::-1]])])


def _key(rng: Random) -> Silhouette:
    bow, tooth = rng.uniform(0.42, 0.52), rng.uniform(0.4, 0.55)
    centre = np.array([0, bow - 1])
    shaft = [_box(-0.17, 2 * bow - 1.1, 0.17, 1), _box(0, 0.7, tooth, 1), _box(0, 0.2, tooth, 0.5)]
    return Silhouette([polar(bow, 32) + centre, *shaft], [polar(bow * 0.5, 24) + centre])


_DRAW: dict[str, Callable[[Random], Silhouette]] = {
    "arrow": _arrow,
    "bolt": _bolt,
    "crescent": _crescent,
    "cross": _cross,
    "drop": _drop,
    "ell": _ell,
    "gear": _gear,
    "heart": _heart,
    "hourglass": _hourglass,
    "house": _house,
    "key": _key,
    "pentagon": lambda rng: Silhouette([polar(1.0, 5)]),
    "ring": _ring,
    "sparkle": lambda rng: Silhouette([_star(4, rng.uniform(0.3, 0.42))]),
    "spiral": _spiral,
    "square": lambda rng: Silhouette([_box(-0.85, -0.85, 0.85, 0.85)]),
    "star": lambda rng: Silhouette([_star(5, rng.uniform(0.38, 0.5))]),
    "tee": _tee,
    "trefoil": _trefoil,
    "triangle": lambda rng: Silhouette([polar(1.0, 3)]),
}
CATEGORIES = tuple(_DRAW)
