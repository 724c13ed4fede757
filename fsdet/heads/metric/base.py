"""Base of heads that compare each region with every support region."""

from collections.abc import Callable

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from fsdet.heads.frozen_embedding import FrozenEmbeddingHead
from fsdet.heads.layers import RegionShape, log_parameter
from fsdet.heads.support import subsample
from fsdet.types import Support, Task


class NearestRegionsHead(FrozenEmbeddingHead):
    """A task is a sample of the support regions of each category, ordered by category.

    R test regions and S support regions cost R * S * D. A category with more than `regions` is subsampled at
    even distances: neighbours are regions of one object and nearly alike.
    """

    class Options(FrozenEmbeddingHead.Options):
        scale: PositiveFloat = 20.0  # initial scale of the logits
        regions: PositiveInt = 30  # most support regions of a category
        background: PositiveInt = 128  # most support regions of background

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        self.log_scale = log_parameter(options.scale)

    def learn(self, support: Support) -> Task:
        kept = subsample(support, self.options.regions, self.options.background)
        by_category = torch.argsort(kept.labels, stable=True)
        return {
            "keys": self.class_embeddings(kept.embeddings)[by_category],  # [S, D]
            "counts": torch.bincount(kept.labels, minlength=1 + kept.n_way),  # [1 + N]
        }

    def reduce_cosines(
        self, embeddings: Tensor, task: Task, reduce: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Reduce the cosines with each category's support regions: [R, D] of unit length -> [R, 1 + N].

        A category without support regions gets one cosine of -1, the greatest distance.

        Args:
            reduce: [..., S_c, R] -> [..., R]; -inf stands for no region.
        """
        cosines, counts = task["keys"] @ embeddings.T, task["counts"]
        if torch.jit.is_tracing():  # a traced graph must not freeze counts to numbers
            return reduce(_pad_categories(cosines, counts)).T
        # Rows of a category lie together: quick to reduce.
        parts = cosines.split(counts.tolist())
        none = cosines.new_full((1, len(embeddings)), -1.0)
        return torch.stack([reduce(part if len(part) else none) for part in parts], 1)


def _pad_categories(cosines: Tensor, counts: Tensor) -> Tensor:
    """[S, R], [1 + N] -> [1 + N, max S_c, R]: the rows of every category, padded with -inf."""
    index = torch.arange(cosines.shape[0], device=cosines.device)[: counts.max()]
    valid = index < counts[:, None]  # [1 + N, S_c]
    rows = torch.where(valid, (counts.cumsum(0) - counts)[:, None] + index, 0)
    fill = torch.where(index == 0, -1.0, -torch.inf).to(cosines)
    return torch.where(valid[..., None], cosines[rows], fill[:, None])
