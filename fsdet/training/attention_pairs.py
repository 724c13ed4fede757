"""Pairs of categories, one present in an image and one absent, to train an attention RPN with."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from fsdet.errors import InputError
from fsdet.training.region_bank import RegionBank
from fsdet.types import Regions


class Pairs:
    """A category that an image shows and one that it does not, with supports of both from other images.

    The two-way contrastive training of Fan et al. 2020. What is drawn is a pure function of (seed, t).

    Args:
        bank: regions of the categories.
        shots: inclusive range that K, the objects of each category in the support, is drawn from.

    Attributes:
        categories: labels of the bank that are asked for: those with objects in two images or more.

    Raises:
        InputError: fewer than two such categories.
    """

    def __init__(self, bank: RegionBank, shots: tuple[int, int], seed: int = 0):
        self.bank, self.shots, self.seed = bank, shots, seed
        rows, first = np.unique(bank.objects.numpy(), return_index=True)
        first = first[rows >= 0]
        self._rows, self._labels, self._images = (
            values.numpy()[first] for values in (bank.objects, bank.labels, bank.images)
        )
        images_of = ((c, self._images[self._labels == c]) for c in range(1, 1 + len(bank.classes)))
        self.categories = [c for c, images in images_of if len(set(images.tolist())) >= 2]
        if len(self.categories) < 2:
            raise InputError(
                "an attention RPN needs two base categories with objects in two images or more, got"
                f" {len(self.categories)}"
            )

    def __call__(self, t: int, image: int, shown: Iterable[int]) -> tuple[Tensor, Regions]:
        """The labels of the two categories [2], and their supports, labelled 1 and 2.

        An image that shows every category is asked for two that it shows.

        Args:
            image: of the bank's data set; nothing of it is in a support.
            shown: labels of its objects, one of `categories` at least.
        """
        rng = np.random.Generator(np.random.PCG64([self.seed, t]))
        k = int(rng.integers(self.shots[0], self.shots[1] + 1))
        there = rng.choice(sorted(set(self.categories) & set(shown)))
        absent = sorted(set(self.categories) - set(shown) - {there})
        other = rng.choice(absent or [c for c in self.categories if c != there])
        index, labels = [], []
        for label, category in enumerate((there, other), 1):
            rows = self._rows[(self._labels == category) & (self._images != image)]
            index.append(self.bank.of_objects(rng.permutation(rows)[:k].tolist()))
            labels.append(torch.full_like(index[-1], label))
        return torch.tensor([there, other]), self.bank.take(torch.cat(index), torch.cat(labels), 2)
