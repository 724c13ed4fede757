"""Heads that compare a region with the support regions themselves, not with what was made of them."""

from collections.abc import Callable

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from fsdet.heads.frozen_embedding import FrozenEmbeddingHead
from fsdet.heads.layers import RegionShape
from fsdet.heads.options import (
    STRICT,
    Count,
    ShareOptions,
)
from fsdet.heads.support import spread
from fsdet.types import Support, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NearestRegionsOptions(ShareOptions):
    """Options of heads that compare with support regions."""

    regions: Count = 30  # support regions per category, at most
    background: Count = 128  # support regions of background, at most


class NearestRegionsHead(FrozenEmbeddingHead):
    """A task is some support regions of each category, one category after the other.

    A test set's R regions times S support regions are all the cost there is: R * S * D. Of a category that has
    more than `regions`, as many are kept, evenly spaced: regions of an object follow each other, and say much
    the same.
    """

    Options = NearestRegionsOptions

    def __init__(self, shape: RegionShape, width: int, options: NearestRegionsOptions):
        super().__init__(shape, width, options)
        self.most = (options.regions, options.background)

    def learn(self, support: Support) -> Task:
        few = spread(support, *self.most)
        by_category = torch.argsort(few.labels, stable=True)
        return {
            "keys": self.describe(few.embeddings)[by_category],  # [S, D]
            "counts": torch.bincount(few.labels, minlength=1 + few.n_way),  # [1 + N]
        }

    def reduced(self, what: Tensor, task: Task, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        """[R, D] of unit length -> [R, 1 + N]: what is left of the cosines with each category's support regions.

        A category without any has one that is the opposite of every region: as far away as can be.

        Args:
            reduce: [..., S_c, R] -> [..., R]; -inf stands for no region.
        """
        every, counts = task["keys"] @ what.T, task["counts"]
        if torch.jit.is_tracing():  # a graph that is traced keeps numbers: they are to stay tensors
            return reduce(_padded(every, counts)).T
        # Rows of a category lie together: quick to reduce.
        parts = every.split(counts.tolist())
        none = every.new_full((1, len(what)), -1.0)
        return torch.stack([reduce(part if len(part) else none) for part in parts], 1)


def _padded(every: Tensor, counts: Tensor) -> Tensor:
    """[S, R], [1 + N] -> [1 + N, the most S_c, R]: the rows of every category, then -inf."""
    at = torch.arange(every.shape[0], device=every.device)[: counts.max()]
    there = at < counts[:, None]  # [1 + N, S_c]
    rows = torch.where(there, (counts.cumsum(0) - counts)[:, None] + at, 0)
    fill = torch.where(at == 0, -1.0, -torch.inf).to(every)
    return torch.where(there[..., None], every[rows], fill[:, None])
