"""Episodes of images: a support of N categories with K annotated objects each, and query images."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from fsdet.data.dataset import DetectionData
from fsdet.data.loading.stream import shots_of
from fsdet.data.loading.transforms import Transform
from fsdet.data.shots.sampling import rows_of
from fsdet.errors import InputError
from fsdet.types import IGNORE, Episode, Target


class Episodes(Dataset):
    """Item i is an episode, a pure function of (seed, i); support and query share no image.

    Objects of other categories, and further objects in support images, are neither targets nor background.

    Args:
        labels: labels of `data` to draw categories from.
        ways, shots: inclusive ranges of N and K.
        query: query images per category.
        length: number of items.
        start: number of the episode of item 0.

    Raises:
        InputError: too few images.
    """

    def __init__(
        self,
        data: DetectionData,
        labels: Sequence[int],
        ways: tuple[int, int],
        shots: tuple[int, int],
        query: int,
        support_transform: Transform,
        query_transform: Transform,
        seed: int,
        length: int,
        start: int = 0,
    ):
        self.data, self.shots, self.query, self.seed = data, shots, query, seed
        self.support_transform, self.query_transform = support_transform, query_transform
        self.length, self.start = length, start
        images_of = {label: data.images_of(label) for label in labels}
        self._images = {label: rows for label, rows in images_of.items() if len(rows) > shots[0]}
        if not self._images:
            raise InputError(
                f"{data.root}: no category has more than {shots[0]} images to make episodes of"
            )
        self.ways = tuple(min(n, len(self._images)) for n in ways)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, item: int) -> Episode:
        if not 0 <= item < self.length:
            raise IndexError(item)
        rng = np.random.Generator(np.random.PCG64([self.seed, self.start + item]))
        n_way = int(rng.integers(self.ways[0], self.ways[1] + 1))
        k = int(rng.integers(self.shots[0], self.shots[1] + 1))
        chosen = rng.choice(sorted(self._images), n_way, replace=False)
        relabel = {int(label): n for n, label in enumerate(chosen, 1)}
        support: dict[int, list[int]] = {}  # image -> rows of its annotated objects
        query: list[int] = []
        order = {label: rng.permutation(self._images[label]).tolist() for label in relabel}
        reserved: set[int] = set()  # for the query: an image of every category
        for images in order.values():
            if reserved.isdisjoint(images):
                reserved.add(images[-1])
        for label, images in order.items():
            free = [image for image in images if image not in reserved] or images[:1]
            for image in free[:k]:
                support.setdefault(image, []).append(self._draw_row(rng, image, label))
        for images in order.values():
            query += [image for image in images if image not in support][: self.query]
        if not query:
            raise InputError(f"{self.data.root}: too few images for a query beside the support")
        names = tuple(self.data.classes[label - 1] for label in relabel)
        seeds = iter(rng.integers(1 << 62, size=len(support) + len(query)).tolist())
        support_items = [
            self._item(image, relabel, self.support_transform, next(seeds), set(rows))
            for image, rows in support.items()
        ]
        query_items = [
            self._item(image, relabel, self.query_transform, next(seeds), None)
            for image in dict.fromkeys(query)
        ]
        return Episode(shots_of(support_items, names), shots_of(query_items, names))

    def _draw_row(self, rng: np.random.Generator, image: int, label: int) -> int:
        """Draw the row of an object of a category in an image."""
        rows = rows_of(self.data, image, label)
        return int(rng.choice(rows[~self.data.ignore[rows]]))

    def _item(
        self,
        image: int,
        relabel: dict[int, int],
        transform: Transform,
        seed: int,
        shots: set[int] | None,
    ) -> tuple[np.ndarray, Target]:
        """A transformed image; with rows of `shots`, all other boxes are IGNORE."""
        pixels, target = self.data[image]
        start = self.data.rows(image).start
        labels = [
            relabel.get(label, IGNORE) if shots is None or start + n in shots else IGNORE
            for n, label in enumerate(target["labels"].tolist())
        ]
        target = Target(boxes=target["boxes"], labels=torch.tensor(labels, dtype=torch.int64))
        return transform(pixels, target, seed)
