"""Episodes of cached regions, drawn from a region bank."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch

from fsdet.errors import InputError
from fsdet.training.chimeras import splice
from fsdet.training.region_bank import RegionBank
from fsdet.types import Regions

REDRAWS = 100  # of an episode with an empty query


class _Way(NamedTuple):
    """A label of an episode."""

    categories: tuple[int, ...]  # of the bank; two: spliced
    shots: int  # objects in the support
    mask: np.ndarray  # [P, P] bool, the part of the first category


class _Part(NamedTuple):
    """Regions of one label in a support or a query."""

    label: int
    first: np.ndarray  # regions of the bank
    second: np.ndarray  # regions spliced with them; the same: not spliced
    mask: np.ndarray  # [P, P] bool, the part of the first regions


class EpisodeSampler:
    """Episodes over a bank's categories; episode i is a pure function of (seed, i).

    An episode simulates the registration of N new categories with K shots each, beside base categories and
    background. Support and query share no image, not even for background.

    Args:
        bank: regions of the base categories.
        ways, shots: inclusive ranges of N and K.
        known: other categories of an episode, in the role of base categories, at most.
        known_shots: objects of each of them in the support.
        query: objects of each category in the query.
        per_object: regions of an object in support or query, at most.
        background: background regions in the support, and in the query.
        chimeras: share of the new categories that are two of the bank's, spliced together.
        images: indices of the images that episodes draw from; None: all.
        classes: names of the categories that episodes draw from; None: all.

    Attributes:
        categories: labels of the bank that episodes draw from: those with objects in two images or more.

    Raises:
        InputError: fewer than two such categories.
    """

    def __init__(
        self,
        bank: RegionBank,
        ways: tuple[int, int],
        shots: tuple[int, int],
        known: int = 8,
        known_shots: int = 10,
        query: int = 4,
        per_object: int = 3,
        background: int = 64,
        chimeras: float = 0.0,
        seed: int = 0,
        images: np.ndarray | None = None,
        classes: Collection[str] | None = None,
    ):
        self.bank, self.shots, self.seed, self.chimeras = bank, shots, seed, chimeras
        self.known, self.known_shots, self.query = known, known_shots, query
        self.per_object, self.background = per_object, background
        labels, objects = bank.labels.numpy(), bank.objects.numpy()
        self._images = bank.images.numpy()
        allowed = np.ones(len(bank), bool) if images is None else np.isin(self._images, images)
        regions = np.argsort(objects, kind="stable")
        regions = regions[allowed[regions] & (objects[regions] >= 0)]
        starts = np.unique(objects[regions], return_index=True)[1]
        # An object is an index of these two lists from here on.
        self._regions_of = np.split(regions, starts[1:])
        self._image_of = self._images[regions[starts]]
        label_of = labels[regions[starts]]
        self._objects_of = [np.flatnonzero(label_of == c) for c in range(1 + len(bank.classes))]
        self._background = np.flatnonzero(allowed & (labels == 0))
        self.categories = np.array(
            [
                category
                for category, members in enumerate(self._objects_of)
                if len(np.unique(self._image_of[members])) >= 2
                and (classes is None or bank.classes[category - 1] in classes)
            ]
        )
        if len(self.categories) < 2:
            raise InputError(
                "meta-training needs two base categories with objects in two images or more, got"
                f" {len(self.categories)}"
            )
        self.ways = tuple(min(n, len(self.categories)) for n in ways)
        side = bank.features.maps.shape[-1]
        self._whole = np.ones((side, side), bool)
        self._half = np.arange(side)[:, None].repeat(side, 1) < side // 2

    def __call__(self, i: int) -> tuple[Regions, Regions]:
        """Episode i: (support, query).

        Raises:
            InputError: the query is empty in every one of `REDRAWS` draws.
        """
        rng = np.random.Generator(np.random.PCG64([self.seed, i]))
        for _ in range(REDRAWS):
            support, query, n_way = self._draw(rng)
            if any(part.label and len(part.first) for part in query):
                return _regions(self.bank, support, n_way), _regions(self.bank, query, n_way)
        raise InputError(
            "meta-training: too few base images for a query without those of the support"
        )

    def _draw(self, rng: np.random.Generator) -> tuple[list[_Part], list[_Part], int]:
        """Support, query and number of categories."""
        ways = self._draw_ways(rng)
        in_support = rng.random(1 + self._images.max()) < 0.5  # by image; false: in the query
        for category in (category for way in ways for category in way.categories):
            images = self._image_of[self._objects_of[category]]
            if not in_support[images].any():
                in_support[rng.choice(images)] = True
        support: list[_Part] = []
        query: list[_Part] = []
        for label, (categories, shots, mask) in enumerate(ways, 1):
            sides = [self._draw_regions(rng, c, shots, in_support) for c in categories]
            for parts, first, second in zip((support, query), sides[0], sides[-1], strict=True):
                parts.append(_Part(label, first[: len(second)], second[: len(first)], mask))
        background = rng.permutation(self._background)
        chosen = in_support[self._images[background]]
        for parts, rows in ((support, background[chosen]), (query, background[~chosen])):
            rows = rows[: self.background]
            parts.append(_Part(0, rows, rows, self._whole))
        return support, query, len(ways)

    def _draw_ways(self, rng: np.random.Generator) -> list[_Way]:
        """The categories of an episode: new ones, then those in the role of base categories."""
        n_new = int(rng.integers(self.ways[0], self.ways[1] + 1))
        k = int(rng.integers(self.shots[0], self.shots[1] + 1))
        order = rng.permutation(self.categories)
        ways = []
        for category in order[:n_new]:
            if rng.random() < self.chimeras:
                partner = rng.choice(self.categories[self.categories != category])
                mask = np.rot90(self._half, int(rng.integers(4)))
                ways.append(_Way((category, partner), k, mask))
            else:
                ways.append(_Way((category,), k, self._whole))
        known = order[n_new : n_new + self.known]
        return [*ways, *(_Way((category,), self.known_shots, self._whole) for category in known)]

    def _draw_regions(
        self, rng: np.random.Generator, category: int, shots: int, in_support: np.ndarray
    ) -> list[np.ndarray]:
        """Regions of a category's objects for the support and for the query."""
        objects = rng.permutation(self._objects_of[category])
        chosen = in_support[self._image_of[objects]]
        empty = np.empty(0, np.int64)
        return [
            np.concatenate([empty, *(self._draw_of_object(rng, o) for o in side.tolist())])
            for side in (objects[chosen][:shots], objects[~chosen][: self.query])
        ]

    def _draw_of_object(self, rng: np.random.Generator, index: int) -> np.ndarray:
        """Up to `per_object` regions of an object."""
        regions = self._regions_of[index]
        if len(regions) <= self.per_object:
            return regions
        return regions[rng.choice(len(regions), self.per_object, replace=False)]


def _regions(bank: RegionBank, parts: Sequence[_Part], n_way: int) -> Regions:
    """The regions of a support or query, spliced where a part has two categories."""
    labels, firsts, seconds, masks = zip(*parts, strict=True)
    counts = list(map(len, firsts))
    label = torch.from_numpy(np.repeat(labels, counts))
    first, second = (torch.from_numpy(np.concatenate(rows)) for rows in (firsts, seconds))
    regions = bank.take(first, label, n_way)
    if torch.equal(first, second):
        return regions
    mask = torch.from_numpy(np.repeat(np.stack(masks), counts, axis=0))
    mask = mask.to(regions.deltas.device)
    return splice(regions, bank.take(second, label, n_way), mask, bank.levels)
