"""LVIS's federated annotations: category frequencies, and categories that were verified in an image.

Every image of LVIS is annotated for some of the categories only: those that have boxes in it, and
those verified as absent. Of some categories in it not all objects have boxes. Gupta et al., LVIS: A
Dataset for Large Vocabulary Instance Segmentation, CVPR 2019.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}  # up to 10 training images, 100, more
ABSENT, PARTIAL = "neg_category_ids", "not_exhaustive_category_ids"


@dataclass(frozen=True, eq=False)
class Federated:
    """Frequencies of N categories, and what is known of them in I images beside the boxes."""

    frequency: str  # [N] a letter of `FREQUENCIES` for each category
    absent: np.ndarray  # [P, 2] int32 image index and label: verified to have no object
    partial: np.ndarray  # [Q, 2] int32 image index and label: not every object has a box

    def take(self, images: np.ndarray, count: int) -> "Federated":
        """The part for some of the `count` images, in their new order."""
        new_index = np.full(count, -1, np.int32)
        new_index[images] = np.arange(len(images))

        def select(pairs: np.ndarray) -> np.ndarray:
            kept = pairs[new_index[pairs[:, 0]] >= 0]
            return np.column_stack([new_index[kept[:, 0]], kept[:, 1]])

        return Federated(self.frequency, select(self.absent), select(self.partial))

    def names(self, classes: Sequence[str], letters: str) -> tuple[str, ...]:
        """The classes [N] whose frequency is one of the letters."""
        pairs = zip(classes, self.frequency, strict=True)
        return tuple(name for name, letter in pairs if letter in letters)


def parse_federated(
    images: Sequence[Mapping[str, Any]], categories: Sequence[Any], category_ids: Sequence[int]
) -> Federated | None:
    """Read the federated keys of an LVIS JSON; None if any category or image lacks them.

    Args:
        images: image entries in the order of their indices.
        categories: category entries, in any order.
        category_ids: ids of label 1, 2, ...; other ids are skipped.
    """
    letters = {
        row.get("id"): row.get("frequency")
        for row in categories
        if isinstance(row, dict) and isinstance(row.get("id"), int)
    }
    frequency = [letters.get(category_id) for category_id in category_ids]
    lists = [image.get(key) for image in images for key in (ABSENT, PARTIAL)]
    if any(letter not in tuple(FREQUENCIES) for letter in frequency) or not all(
        isinstance(ids, list) for ids in lists
    ):
        return None
    label_of = {category_id: label for label, category_id in enumerate(category_ids, 1)}

    def pairs(key: str) -> np.ndarray:
        index_and_label = [
            (index, label_of[category_id])
            for index, image in enumerate(images)
            for category_id in image[key]
            if isinstance(category_id, int) and category_id in label_of
        ]
        return np.array(index_and_label, np.int32).reshape(-1, 2)

    return Federated("".join(map(str, frequency)), pairs(ABSENT), pairs(PARTIAL))
