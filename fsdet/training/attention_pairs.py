"""Training pairs of an attention RPN: a category that is present in an image and one that is absent."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from fsdet.errors import InputError
from fsdet.training.region_bank import RegionBank
from fsdet.types import Regions


class Pairs:
    """Pairs of a category that an image shows and one that it does not, each with a support from other images.

    The two-way contrastive training of Fan et al. 2020. A pair is a pure function of (seed, t).

    Args:
        bank: regions of the categories.
        shots: inclusive range of K, the number of objects of each category in the support.

    Attributes:
        categories: labels of the bank with objects in two images or more.

    Raises:
        InputError: fewer than two such categories.
    """

    def __init__(self, bank: RegionBank, shots: tuple[int, int], seed: int = 0):
        self.bank, self.shots, self.seed = bank, shots, seed
        objects, first = np.unique(bank.objects.numpy(), return_index=True)
        self._objects, first = objects[objects >= 0], first[objects >= 0]
        self._labels, self._images = bank.labels.numpy()[first], bank.images.numpy()[first]
        self.categories = [
            category
            for category in range(1, 1 + len(bank.classes))
            if len(np.unique(self._images[self._labels == category])) >= 2
        ]
        if len(self.categories) < 2:
            raise InputError(
                "an attention RPN needs two base categories with objects in two images or more, got"
                f" {len(self.categories)}"
            )

    def __call__(self, t: int, image: int, shown: Iterable[int]) -> tuple[Tensor, Regions]:
        """The bank's labels of the two categories [2], and their supports with labels 1 and 2.

        If the image shows all categories, both categories are shown.

        Args:
            image: index in the bank's data set; no region of it is in a support.
            shown: labels of its objects, one or more of `categories`.
        """
        rng = np.random.Generator(np.random.PCG64([self.seed, t]))
        k = int(rng.integers(self.shots[0], self.shots[1] + 1))
        present = rng.choice(sorted(set(self.categories) & set(shown)))
        absent = sorted(set(self.categories) - set(shown) - {present})
        other = rng.choice(absent or [c for c in self.categories if c != present])
        index, labels = [], []
        for label, category in enumerate((present, other), 1):
            objects = self._objects[(self._labels == category) & (self._images != image)]
            index.append(self.bank.of_objects(rng.permutation(objects)[:k].tolist()))
            labels.append(torch.full_like(index[-1], label))
        support = self.bank.take(torch.cat(index), torch.cat(labels), 2)
        return torch.tensor([present, other]), support
