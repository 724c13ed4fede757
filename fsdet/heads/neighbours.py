"""Heads that compare a region with the support regions themselves, not with what was made of them."""

import torch
from torch import Tensor

from fsdet.heads.base import RegionShape, above_zero
from fsdet.heads.described import Described
from fsdet.heads.support import spread
from fsdet.types import Support, Task


class Neighbours(Described):
    """A task is some support regions of each category, one category after the other.

    A test set's R regions times S support regions are all the cost there is: R * S * D. Of a category that has
    more than `regions`, as many are kept, evenly spaced: regions of an object follow each other, and say much
    the same.

    Args:
        shape, width, share: as of `Described`.
        regions: of a category, at most.
        background: regions of background, at most.
    """

    def __init__(self, shape: RegionShape, width: int, share: float, regions: int, background: int):
        super().__init__(shape, width, share)
        above_zero(regions=regions, background=background)
        self.most = (regions, background)

    def learn(self, support: Support) -> Task:
        few = spread(support, *self.most)
        by_category = torch.argsort(few.labels, stable=True)
        return {
            "keys": self.describe(few.embeddings)[by_category],  # [S, D]
            "counts": torch.bincount(few.labels, minlength=1 + few.n_way),  # [1 + N]
        }

    def cosines(self, what: Tensor, task: Task) -> list[Tensor]:
        """[R, D] of unit length -> of every category [S_c, R]: the cosines with its support regions.

        A category without any has one that is the opposite of every region: as far away as can be.
        """
        every = task["keys"] @ what.T  # rows of a category lie together: quick to reduce
        parts = every.split(task["counts"].tolist())
        return [part if len(part) else every.new_full((1, len(what)), -1.0) for part in parts]
