"""Class means in a learned metric."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from fsdet.heads.frozen_embedding import FrozenEmbeddingHead
from fsdet.heads.layers import Background, RegionShape, scaled_cosine
from fsdet.heads.options import (
    STRICT,
    CountOrZero,
    Positive,
    ShareOptions,
)
from fsdet.heads.support import class_means
from fsdet.types import Support, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PrototypeOptions(ShareOptions):
    """Options of prototypes."""

    n_background: CountOrZero = 8  # learned background rows
    scale: Positive = 20.0  # of the cosine; learned from this start


class Prototype(FrozenEmbeddingHead):
    """Snell et al. 2017, "Prototypical Networks for Few-shot Learning", over regions.

    p_c = mean of z over the support regions of class c; logit_c = scale * cos(z, p_c), background included,
    which has learned rows beside its mean.
    """

    Options = PrototypeOptions

    def __init__(self, shape: RegionShape, width: int, options: PrototypeOptions):
        super().__init__(shape, width, options)
        self.background = Background(options.n_background, self.length)
        self.log_scale = nn.Parameter(torch.tensor(options.scale).log())

    def learn(self, support: Support) -> Task:
        what = self.describe(support.embeddings)
        return {"rows": class_means(what, support.labels, support.n_way)}

    def logits(self, what: Tensor, task: Task) -> Tensor:
        scale = self.log_scale.exp()
        return self.background(what, scaled_cosine(what, task["rows"], scale), scale)


class Euclidean(Prototype):
    """The same under the squared distance of the paper: logit_c = -scale / 2 * |z - p_c|^2.

    Of unit vectors the mean is the shorter the less they agree: a category of many looks is further from
    everything than under the cosine, which divides by the length.
    """

    def logits(self, what: Tensor, task: Task) -> Tensor:
        scale, rows = self.log_scale.exp(), task["rows"]
        # |z|^2 = 1 moves all logits of a region alike; the learned rows have unit length too.
        distances = what @ (scale * rows).T - scale / 2 * (rows.square().sum(1) + 1)
        return self.background(what, distances + scale, scale)
