"""Where the objects of a scene are: alone, in clutter or in groups, partly hidden, partly out of the image."""

from typing import NamedTuple

import numpy as np

from fsdet.data.shapes.outlines import CATEGORIES, Points, Random, Silhouette, draw, polar
from fsdet.data.shapes.render import mask

SHAPES = (*CATEGORIES, "blob", "shard")  # so that nothing with an outline of its own is background
LEAST_VISIBLE = (
    0.45  # of an object's area, as annotators of photographs leave out what they cannot tell
)
LEAST_INSIDE = 0.6  # of the box of an object, within the image
SMALLEST, LARGEST = 0.05, 0.95  # the longer side of an object, as a share of the image's
TRIES = 6  # places tried for an object


class Placed(NamedTuple):
    """An object of a scene."""

    label: int  # from 1
    silhouette: Silhouette  # in pixels
    visible: np.ndarray  # bool [size, size]: what no later object hides
    area: int  # pixels in the image, hidden ones too

    def box(self) -> np.ndarray:
        """[4] x1, y1, x2, y2 around what is visible."""
        rows, columns = np.flatnonzero(self.visible.any(1)), np.flatnonzero(self.visible.any(0))
        return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


class _Wish(NamedTuple):
    """An object to be placed."""

    label: int
    extent: float  # of the longer side, in shares of the image's
    middle: np.ndarray  # [2] x, y, in shares of the image's side


def layout(rng: Random, size: int) -> list[Placed]:
    """The objects of a scene of `size` x `size` pixels, in the order in which they are drawn; at least one."""
    placed: list[Placed] = []
    while not placed:
        for wish in _wishes(rng):
            for _ in range(TRIES):
                after = _with(rng, placed, wish, size)
                if after:
                    placed = after
                    break
                wish = wish._replace(middle=rng.random(2))
    return placed


def _wishes(rng: Random) -> list[_Wish]:
    """A few objects of any size, many smaller ones, or a group of one category."""
    kind = rng.choice(3, p=(0.45, 0.3, 0.25))
    if kind == 0:
        count, low, high = rng.integers(1, 4), 0.15, LARGEST
    elif kind == 1:
        count, low, high = rng.integers(3, 9), SMALLEST, 0.45
    else:
        return _group(rng)
    extents = np.exp(rng.uniform(np.log(low), np.log(high), count))
    # From back to front: what is near is large and in front.
    return [_Wish(_label(rng), extent, rng.random(2)) for extent in np.sort(extents)]


def _group(rng: Random) -> list[_Wish]:
    """Objects of one category and about one size beside each other."""
    label, extent = _label(rng), float(np.exp(rng.uniform(np.log(0.08), np.log(0.35))))
    count = int(rng.integers(3, 13))
    across = np.ceil(np.sqrt(count))
    cells = np.stack(np.divmod(np.arange(count), across), 1) - (across - 1) / 2
    spacing = extent * rng.uniform(0.75, 1.3)
    middles = rng.uniform(0.3, 0.7, 2) + cells * spacing + rng.normal(0, 0.15 * extent, (count, 2))
    sizes = extent * rng.uniform(0.8, 1.25, count)
    return [_Wish(label, *wish) for wish in zip(sizes, middles, strict=True)]


def _label(rng: Random) -> int:
    return int(rng.integers(len(SHAPES))) + 1


def _with(rng: Random, placed: list[Placed], wish: _Wish, size: int) -> list[Placed]:
    """The objects with one more before them; none where too little of one could be seen."""
    silhouette = _posed(rng, _outline(SHAPES[wish.label - 1], rng))
    corners = np.concatenate(silhouette.filled)
    scale = wish.extent * size / np.ptp(corners, 0).max()
    shift = wish.middle * size - (corners.min(0) + corners.max(0)) / 2 * scale
    silhouette = silhouette.map(lambda points: points * scale + shift)
    cover = mask(silhouette, size, size) > 127
    corners = np.concatenate(silhouette.filled)
    inside = (np.minimum(corners.max(0), size) - np.maximum(corners.min(0), 0)).clip(0)
    area = int(cover.sum())
    if inside.prod() < LEAST_INSIDE * np.ptp(corners, 0).prod() or area < 12:
        return []
    behind = [before._replace(visible=before.visible & ~cover) for before in placed]
    if any(other.visible.sum() < max(LEAST_VISIBLE * other.area, 12) for other in behind):
        return []
    return [*behind, Placed(wish.label, silhouette, cover, area)]


def _outline(name: str, rng: Random) -> Silhouette:
    if name == "blob":
        return Silhouette([_blob(rng)])
    if name == "shard":
        return Silhouette([_shard(rng)])
    return draw(name, rng)


def _blob(rng: Random) -> Points:
    """A smooth outline."""
    angle = np.arange(40) * (2 * np.pi / 40)
    radius = np.full(40, 0.7)
    for wave in (1, 2, 3, 4):
        radius += rng.uniform(-0.14, 0.14) * np.cos(wave * angle + rng.uniform(0, 6))
    return polar(radius, 40)


def _shard(rng: Random) -> Points:
    """A jagged outline."""
    return polar(rng.uniform(0.45, 1, 9), 9, rng.uniform(0, 6))


def _posed(rng: Random, silhouette: Silhouette) -> Silhouette:
    """Mirror (or not), stretch, shear, tilt and bend a silhouette."""
    angle, shear = rng.uniform(-0.35, 0.35), rng.uniform(-0.2, 0.2)
    stretch = np.exp(rng.uniform(-0.35, 0.35))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    mirror = 1 if rng.random() < 0.5 else -1
    pose = np.array([[mirror * stretch, 0], [shear, 1 / stretch]]) @ turn
    waves, phases = rng.uniform(-0.08, 0.08, 2), rng.uniform(0, 6, 2)

    def posed(points: Points) -> Points:
        bent = points + waves * np.sin(3 * points[:, ::-1] + phases)
        return bent @ pose

    return silhouette.map(posed)
