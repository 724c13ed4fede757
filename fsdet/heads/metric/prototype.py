"""Prototypical networks: class means in a learned metric."""

from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor

from fsdet.heads.frozen_embedding import FrozenEmbeddingHead
from fsdet.heads.layers import Background, RegionShape, log_parameter, scaled_cosine
from fsdet.heads.support import class_means
from fsdet.types import Support, Task


class Prototype(FrozenEmbeddingHead):
    """Snell et al. 2017, "Prototypical Networks for Few-shot Learning", over regions.

    p_c = mean of z over the support regions of class c; logit_c = scale * cos(z, p_c).
    Background has learned rows in addition to its mean.
    """

    class Options(FrozenEmbeddingHead.Options):
        n_background: NonNegativeInt = 8  # learned background rows
        scale: PositiveFloat = 20.0  # initial scale of the cosine

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        self.background = Background(options.n_background, self.length)
        self.log_scale = log_parameter(options.scale)

    def learn(self, support: Support) -> Task:
        embeddings = self.class_embeddings(support.embeddings)
        return {"rows": class_means(embeddings, support.labels, support.n_way)}

    def logits(self, embeddings: Tensor, task: Task) -> Tensor:
        scale = self.log_scale.exp()
        return self.background(embeddings, scaled_cosine(embeddings, task["rows"], scale), scale)


class Euclidean(Prototype):
    """`Prototype` with the squared distance of the paper: logit_c = -scale / 2 * |z - p_c|^2.

    The mean of unit vectors is shorter the more they differ: a category of varied looks is further from every
    region than under the cosine, which ignores the length.
    """

    def logits(self, embeddings: Tensor, task: Task) -> Tensor:
        scale, rows = self.log_scale.exp(), task["rows"]
        # |z|^2 = 1 shifts all logits of a region alike; the learned rows have unit length too.
        logits = embeddings @ (scale * rows).T - scale / 2 * (rows.square().sum(1) + 1)
        return self.background(embeddings, logits + scale, scale)
