"""The region bank: what the image side made of images, kept, so that heads learn without touching an image."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fsdet.types import Regions


@dataclass(frozen=True)
class Bank:
    """Labelled regions of many images.

    `objects` tells which annotated object a region is of, so that shots are drawn as objects, not as regions.
    """

    features: Tensor  # [M, C, P, P] float16
    labels: Tensor  # [M] int64, 0 background, else a label of `classes`
    deltas: Tensor  # [M, 4]
    images: Tensor  # [M] int64 index of the image in its data set
    objects: Tensor  # [M] int64 row of the annotation in its data set; -1: background
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def of_objects(self, rows: Iterable[int]) -> Tensor:
        """Indices of the regions of some annotated objects."""
        return torch.nonzero(torch.isin(self.objects, torch.as_tensor(list(rows))))[:, 0]

    def background_of(self, images: Tensor) -> Tensor:
        """Indices of the background regions of some images."""
        return torch.nonzero((self.labels == 0) & torch.isin(self.images, images))[:, 0]

    def take(self, index: Tensor, relabel: Tensor, n_way: int) -> Regions:
        """Regions by index as head input; `relabel` [1 + len(classes)] maps the bank's labels to the task's."""
        return Regions(
            self.features[index].float(), relabel[self.labels[index]], self.deltas[index], n_way
        )


class EpisodeSampler:
    """Episodes over a bank's categories; episode i is a pure function of (seed, i).

    N categories play the novel ones, with K objects each in the support and `query` others, of other images,
    in the query. Objects of categories that are not among the N are background in both, as the base
    categories are for a detector that is asked for new ones only: `memory` of their regions and of plain
    background are drawn for the support, and as many for the query.

    Args:
        bank: regions of the base categories.
        ways, shots: inclusive ranges that N and K are drawn from.
        query: objects of each category in the query.
        per_object: regions of an object, at most, in support and query.
        memory: background regions of the support, and of the query.
        others: the share of these that are objects of other categories.
    """

    def __init__(
        self,
        bank: Bank,
        ways: tuple[int, int],
        shots: tuple[int, int],
        query: int = 4,
        per_object: int = 4,
        memory: int = 64,
        others: float = 0.5,
        seed: int = 0,
    ):
        self.bank, self.query, self.per_object, self.memory = bank, query, per_object, memory
        self.others, self.seed, self.shots = others, seed, shots
        labels, objects = bank.labels.numpy(), bank.objects.numpy()
        order = np.argsort(objects, kind="stable")
        order = order[objects[order] >= 0]
        ids, starts = np.unique(objects[order], return_index=True)
        self._regions = dict(zip(ids.tolist(), np.split(order, starts[1:]), strict=True))
        self._image = {o: int(bank.images[r[0]]) for o, r in self._regions.items()}
        kind = labels[order[starts]]
        self._objects = {c: ids[kind == c] for c in range(1, 1 + len(bank.classes))}
        self._background = np.flatnonzero(labels == 0)
        self._foreground = np.flatnonzero(labels > 0)
        self._labels, self._images = labels, bank.images.numpy()
        enough = shots[0] + 1
        self.categories = np.array([c for c, found in self._objects.items() if len(found) > enough])
        self.ways = (min(ways[0], len(self.categories)), min(ways[1], len(self.categories)))

    def __call__(self, i: int) -> tuple[Regions, Regions]:
        """Episode i: (support, query)."""
        rng = np.random.Generator(np.random.PCG64([self.seed, i]))
        n_way = int(rng.integers(self.ways[0], self.ways[1] + 1))
        k = int(rng.integers(self.shots[0], self.shots[1] + 1))
        ways = rng.choice(self.categories, n_way, replace=False)
        support, query = [], []
        for category in ways:
            found = rng.permutation(self._objects[category])
            mine = found[: min(k, len(found) - 1)]
            seen = {self._image[o] for o in mine.tolist()}
            rest = [o for o in found[len(mine) :].tolist() if self._image[o] not in seen]
            support += [self._some(rng, o) for o in mine.tolist()]
            query += [self._some(rng, o) for o in rest[: self.query]]
        relabel = np.zeros(1 + len(self.bank.classes), dtype=np.int64)
        relabel[ways] = np.arange(1, 1 + n_way)
        empty = self._empty(rng, relabel)
        half = len(empty) // 2
        parts = (np.concatenate([*support, empty[:half]]), np.concatenate([*query, empty[half:]]))
        table = torch.from_numpy(relabel)
        first, second = (self.bank.take(torch.from_numpy(part), table, n_way) for part in parts)
        return first, second

    def _some(self, rng, o: int) -> np.ndarray:
        """Some regions of an object."""
        regions = self._regions[o]
        if len(regions) <= self.per_object:
            return regions
        return regions[rng.choice(len(regions), self.per_object, replace=False)]

    def _empty(self, rng, relabel: np.ndarray) -> np.ndarray:
        """Twice `memory` regions that are background under `relabel`, other categories among them, shuffled."""
        others = int(2 * self.memory * self.others)
        drawn = rng.choice(self._foreground, min(2 * others, len(self._foreground)))
        drawn = drawn[relabel[self._labels[drawn]] == 0][:others]
        plain = rng.choice(
            self._background, min(2 * self.memory - len(drawn), len(self._background))
        )
        return rng.permutation(np.concatenate([drawn, plain]))
