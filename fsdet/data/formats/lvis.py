"""What LVIS says beside boxes: how common a category is, and where it was looked for at all.

An image of LVIS is annotated for some of the categories only: those that it has boxes of, and those
that were looked for and are not there. Of a few not every object has a box. See Gupta et al., 2019.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}  # up to 10 training images, 100, more
ABSENT, PARTIAL = "neg_category_ids", "not_exhaustive_category_ids"


@dataclass(frozen=True, eq=False)
class Federated:
    """Frequencies of N categories, and what is known of them in I images beside their boxes."""

    frequency: str  # [N] a letter of `FREQUENCIES` for each category
    absent: np.ndarray  # [P, 2] int32 image index and label: looked for, and not there
    partial: np.ndarray  # [Q, 2] int32 image index and label: not every object has a box

    def take(self, images: np.ndarray, count: int) -> "Federated":
        """What is known of these of `count` images, which then are 0, 1, ..."""
        place = np.full(count, -1, np.int32)
        place[images] = np.arange(len(images))

        def moved(pairs: np.ndarray) -> np.ndarray:
            kept = pairs[place[pairs[:, 0]] >= 0]
            return np.column_stack([place[kept[:, 0]], kept[:, 1]])

        return Federated(self.frequency, moved(self.absent), moved(self.partial))

    def names(self, classes: Sequence[str], letters: str) -> tuple[str, ...]:
        """The classes, N in all, of these frequencies."""
        pairs = zip(classes, self.frequency, strict=True)
        return tuple(name for name, letter in pairs if letter in letters)


def federated(
    images: Sequence[Mapping[str, Any]],
    categories: Sequence[Mapping[str, Any]],
    label_of: Mapping[int, int],
) -> Federated | None:
    """What entries of an LVIS JSON say; None if a category or an image does not.

    Args:
        images: entries of the images, in the order of their indices.
        categories: entries of the categories, in any order.
        label_of: category id -> label; categories that are not in it are passed over.
    """
    letters = {row.get("id"): row.get("frequency") for row in categories if isinstance(row, dict)}
    frequency = [letters.get(category) for category in label_of]
    lists = [image.get(key) for image in images for key in (ABSENT, PARTIAL)]
    if set(frequency) - set(FREQUENCIES) or not all(isinstance(one, list) for one in lists):
        return None

    def pairs(key: str) -> np.ndarray:
        found = [
            (i, label_of[category])
            for i, image in enumerate(images)
            for category in image[key]
            if isinstance(category, int) and category in label_of
        ]
        return np.array(found, np.int32).reshape(-1, 2)

    return Federated("".join(map(str, frequency)), pairs(ABSENT), pairs(PARTIAL))
