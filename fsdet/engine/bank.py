"""The region bank: what the image side made of images, kept, so that heads learn without touching an image."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fsdet.detector import places
from fsdet.errors import InputError
from fsdet.types import Features, Regions


@dataclass(frozen=True)
class Bank:
    """Labelled regions of many images.

    `objects` tells which annotated object a region is of, so that shots are drawn as objects, not as regions.
    """

    features: Features  # of M regions, float16
    labels: Tensor  # [M] int64, 0 background, else a label of `classes`
    deltas: Tensor  # [M, 4]
    images: Tensor  # [M] int64 index of the image in its data set
    objects: Tensor  # [M] int64 row of the annotation in its data set; -1: background
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def of_objects(self, rows: Iterable[int], most: int | None = None) -> Tensor:
        """Indices of the regions of some annotated objects, the first `most` of each."""
        found = torch.nonzero(torch.isin(self.objects, torch.as_tensor(list(rows))))[:, 0]
        return found if most is None else found[places(self.objects[found]) < most]

    def background_of(self, images: Tensor) -> Tensor:
        """Indices of the background regions of some images."""
        return torch.nonzero((self.labels == 0) & torch.isin(self.images, images))[:, 0]

    def take(self, index: Tensor, relabel: Tensor, n_way: int) -> Regions:
        """Regions by index as head input; `relabel` [1 + len(classes)] maps the bank's labels to the task's."""
        return Regions(
            self.features[index].to(torch.float32),
            relabel[self.labels[index]],
            self.deltas[index],
            n_way,
        )


class EpisodeSampler:
    """Episodes over a bank's categories; episode i is a pure function of (seed, i).

    An episode is what a detector meets that is asked for new categories: N categories play the new ones,
    with K objects each in the support, and `known` others the base ones, with `known_shots` each, beside
    background. The query has objects of all of them, of images that are not in the support.

    Args:
        bank: regions of the base categories.
        ways, shots: inclusive ranges that N and K are drawn from.
        known: how many other categories an episode has, at most.
        known_shots: objects of each of these in the support.
        query: objects of each category in the query.
        per_object: regions of an object, at most, in support and query.
        background: background regions of the support, and of the query.
    """

    def __init__(
        self,
        bank: Bank,
        ways: tuple[int, int],
        shots: tuple[int, int],
        known: int = 8,
        known_shots: int = 10,
        query: int = 4,
        per_object: int = 3,
        background: int = 64,
        seed: int = 0,
    ):
        self.bank, self.query, self.per_object, self.background = (
            bank,
            query,
            per_object,
            background,
        )
        self.shots, self.known_shots, self.seed = shots, known_shots, seed
        labels, objects = bank.labels.numpy(), bank.objects.numpy()
        order = np.argsort(objects, kind="stable")
        order = order[objects[order] >= 0]
        ids, starts = np.unique(objects[order], return_index=True)
        self._regions = dict(zip(ids.tolist(), np.split(order, starts[1:]), strict=True))
        self._image = {o: int(bank.images[r[0]]) for o, r in self._regions.items()}
        kind = labels[order[starts]]
        self._objects = {c: ids[kind == c] for c in range(1, 1 + len(bank.classes))}
        self._background = np.flatnonzero(labels == 0)
        self.categories = np.array([c for c, found in self._objects.items() if len(found) >= 2])
        if len(self.categories) < 2:
            raise InputError(
                "meta-training needs two base categories with two objects or more, got"
                f" {len(self.categories)}"
            )
        self.ways = tuple(min(n, len(self.categories)) for n in ways)
        self.known = known

    def __call__(self, i: int) -> tuple[Regions, Regions]:
        """Episode i: (support, query)."""
        rng = np.random.Generator(np.random.PCG64([self.seed, i]))
        n_new = int(rng.integers(self.ways[0], self.ways[1] + 1))
        k = int(rng.integers(self.shots[0], self.shots[1] + 1))
        ways = rng.permutation(self.categories)[: n_new + self.known]
        support, query = [], []
        for place, category in enumerate(ways):
            found = rng.permutation(self._objects[category])
            most = k if place < n_new else self.known_shots
            mine = found[: min(most, (len(found) + 1) // 2)]
            seen = {self._image[o] for o in mine.tolist()}
            rest = [o for o in found[len(mine) :].tolist() if self._image[o] not in seen]
            support += [self._some(rng, o) for o in mine.tolist()]
            query += [self._some(rng, o) for o in rest[: self.query]]
        empty = rng.permutation(self._background)[: 2 * self.background]
        half = len(empty) // 2
        relabel = torch.zeros(1 + len(self.bank.classes), dtype=torch.int64)
        relabel[torch.from_numpy(ways)] = torch.arange(1, 1 + len(ways))
        first, second = (
            self.bank.take(torch.from_numpy(np.concatenate(part)), relabel, len(ways))
            for part in ([*support, empty[:half]], [*query, empty[half:]])
        )
        return first, second

    def _some(self, rng: np.random.Generator, o: int) -> np.ndarray:
        """Some regions of an object."""
        regions = self._regions[o]
        if len(regions) <= self.per_object:
            return regions
        return regions[rng.choice(len(regions), self.per_object, replace=False)]
