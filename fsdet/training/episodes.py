"""Episodes drawn from the region bank."""

from collections.abc import Collection

import numpy as np
import torch

from fsdet.errors import InputError
from fsdet.training.chimeras import splice
from fsdet.training.region_bank import RegionBank
from fsdet.types import Regions

REDRAWS = 100  # of an episode whose query would be empty


class EpisodeSampler:
    """Episodes over a bank's categories; episode i is a pure function of (seed, i).

    An episode is what a detector meets that is asked for new categories: N categories play the new ones,
    with K objects each in the support, and `known` others the base ones, with `known_shots` each, beside
    background. The query has objects of all of them; no image is in both, not even for background.

    Args:
        bank: regions of the base categories.
        ways, shots: inclusive ranges that N and K are drawn from.
        known: how many other categories an episode has, at most.
        known_shots: objects of each of these in the support.
        query: objects of each category in the query.
        per_object: regions of an object, at most, in support and query.
        background: background regions of the support, and of the query.
        chimeras: the share of new categories that are two of the bank's spliced together.
        images: of the bank, those that episodes are drawn from; None: all.
        classes: of the bank, those that episodes are of; None: all.
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
        self.bank, self.query, self.per_object, self.background = (
            bank,
            query,
            per_object,
            background,
        )
        self.shots, self.known_shots, self.seed = shots, known_shots, seed
        labels, objects = bank.labels.numpy(), bank.objects.numpy()
        self._images = bank.images.numpy()
        allowed = np.ones(len(bank), bool) if images is None else np.isin(self._images, images)
        order = np.argsort(objects, kind="stable")
        order = order[allowed[order] & (objects[order] >= 0)]
        starts = np.unique(objects[order], return_index=True)[1]
        # From here on an object is its place in these two.
        self._regions = np.split(order, starts[1:])
        self._image = self._images[order[starts]]
        self._objects = [
            np.flatnonzero(labels[order[starts]] == c) for c in range(1 + len(bank.classes))
        ]
        self._background = np.flatnonzero(allowed & (labels == 0))
        self.categories = np.array(
            [
                c
                for c, rows in enumerate(self._objects)
                if len(set(self._image[rows])) >= 2
                and (classes is None or bank.classes[c - 1] in classes)
            ]
        )
        if len(self.categories) < 2:
            raise InputError(
                "meta-training needs two base categories with objects in two images or more, got"
                f" {len(self.categories)}"
            )
        self.ways = tuple(min(n, len(self.categories)) for n in ways)
        self.known, self.chimeras = known, chimeras
        self.side = bank.features.maps.shape[-1]

    def __call__(self, i: int) -> tuple[Regions, Regions]:
        """Episode i: (support, query)."""
        rng = np.random.Generator(np.random.PCG64([self.seed, i]))
        for _ in range(REDRAWS):
            support, query = self._draw(rng)
            if (query.labels > 0).any():
                return support, query
        raise InputError(
            "meta-training: too few base images for a query without those of the support"
        )

    def _draw(self, rng: np.random.Generator) -> tuple[Regions, Regions]:
        n_new = int(rng.integers(self.ways[0], self.ways[1] + 1))
        k = int(rng.integers(self.shots[0], self.shots[1] + 1))
        order = rng.permutation(self.categories)
        ways = []  # of each label: the categories it shows, the objects of each, how they are spliced
        for category in order[:n_new]:
            if rng.random() < self.chimeras:
                partner = rng.choice(self.categories[self.categories != category])
                ways.append(((category, partner), k, self._cut(rng)))
            else:
                ways.append(((category,), k, None))
        ways += [((c,), self.known_shots, None) for c in order[n_new : n_new + self.known]]
        support_images = rng.random(1 + self._images.max()) < 0.5  # of each image: support or query
        for shown, _, _ in ways:
            for category in shown:
                images = self._image[self._objects[category]]
                if not support_images[images].any():
                    support_images[rng.choice(images)] = True
        support, query = _Side(self.side), _Side(self.side)
        for label, (shown, shots, mask) in enumerate(ways, 1):
            sides = [self._two_sides(rng, category, shots, support_images) for category in shown]
            support.add(label, *(in_support for in_support, _ in sides), mask=mask)
            query.add(label, *(rest for _, rest in sides), mask=mask)
        empty = rng.permutation(self._background)
        in_support = support_images[self._images[empty]]
        support.add(0, empty[in_support][: self.background])
        query.add(0, empty[~in_support][: self.background])
        return support.regions(self.bank, len(ways)), query.regions(self.bank, len(ways))

    def _two_sides(
        self, rng: np.random.Generator, category: int, shots: int, support_images: np.ndarray
    ) -> list[np.ndarray]:
        """Regions of a category's objects for the support and for the query."""
        order = rng.permutation(self._objects[category])
        in_support = support_images[self._image[order]]
        return [
            np.concatenate([np.empty(0, np.int64), *(self._some(rng, o) for o in some.tolist())])
            for some in (order[in_support][:shots], order[~in_support][: self.query])
        ]

    def _cut(self, rng: np.random.Generator) -> np.ndarray:
        """[P, P] bool: one of the four halves of a region."""
        mask = np.zeros((self.side, self.side), bool)
        mask[: self.side // 2] = True
        return np.rot90(mask, rng.integers(4)).copy()

    def _some(self, rng: np.random.Generator, o: int) -> np.ndarray:
        """Some regions of an object."""
        regions = self._regions[o]
        if len(regions) <= self.per_object:
            return regions
        return regions[rng.choice(len(regions), self.per_object, replace=False)]


class _Side:
    """Support or query of an episode while it is drawn: of every region what it shows, and its label."""

    def __init__(self, side: int):
        self._whole = np.ones((side, side), bool)
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, label: int, index: np.ndarray, other=None, mask=None) -> None:
        """Regions of the bank by index; with `other` and `mask`, spliced with those."""
        other = index if other is None else other
        index, other = index[: len(other)], other[: len(index)]
        masks = np.broadcast_to(
            self._whole if mask is None else mask, (len(index), *self._whole.shape)
        )
        self._parts.append((np.full(len(index), label), index, other, masks))

    def regions(self, bank: RegionBank, n_way: int) -> Regions:
        labels, index, other, masks = (
            torch.from_numpy(np.concatenate(part)) for part in zip(*self._parts, strict=True)
        )
        first = bank.take(index, labels, n_way)
        if torch.equal(index, other):
            return first
        return splice(first, bank.take(other, labels, n_way), masks, bank.levels)
