"""A learned comparison of regions and class means."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.frozen_embedding import FrozenEmbeddingHead
from fsdet.heads.layers import RegionShape, scaled_cosine
from fsdet.heads.options import (
    STRICT,
    Count,
    Positive,
    ShareOptions,
)
from fsdet.heads.support import class_means
from fsdet.types import Support, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RelationOptions(ShareOptions):
    """Options of the relation network."""

    hidden: Count = 64  # H, width of the relation network
    scale: Positive = 20.0  # of the cosine; learned from this start


class Relation(FrozenEmbeddingHead):
    """Sung et al. 2018, "Learning to Compare: Relation Network for Few-Shot Learning", over regions.

    logit_c = scale * cos(z, p_c) + g([z, p_c]), with p_c the mean of z over the support regions of category c
    and g([z, p]) = v . relu(W1 z + W2 p + b) two layers. W1 z and W2 p_c are made once a region and once a
    category, so that a pair costs H, not 2 D * H.

    The paper learns all of the comparison from some hundred thousand episodes; here are a few hundred, so
    it starts as the cosine (v = 0) and learns what to add. The paper's relation scores lie in 0 to 1 and are
    fitted to 1 and 0 by least squares; here they are logits under cross-entropy, since a detector asks
    which category a region is of, background among them, and reads the softmax as a score.
    """

    Options = RelationOptions

    def __init__(self, shape: RegionShape, width: int, options: RelationOptions):
        super().__init__(shape, width, options)
        self.of_region = nn.Linear(self.length, options.hidden)  # W1, b
        self.of_category = nn.Linear(self.length, options.hidden, bias=False)  # W2
        self.relation = nn.Linear(options.hidden, 1, bias=False)  # v
        # Embeddings have unit length: weights of variance 1 give outputs of variance 1.
        for layer in (self.of_region, self.of_category):
            nn.init.normal_(layer.weight)
        nn.init.zeros_(self.relation.weight)
        self.log_scale = nn.Parameter(torch.tensor(options.scale).log())

    def learn(self, support: Support) -> Task:
        what = self.describe(support.embeddings)
        rows = class_means(what, support.labels, support.n_way)
        return {"rows": rows, "hidden": self.of_category(rows)}

    def compare(self, what: Tensor, task: Task) -> Tensor:
        """g of every region and category: [R, D] -> [R, 1 + N]."""
        pairs = F.relu(self.of_region(what)[:, None] + task["hidden"])  # [R, 1 + N, H]
        return self.relation(pairs)[..., 0]

    def logits(self, what: Tensor, task: Task) -> Tensor:
        scale = self.log_scale.exp()
        return scaled_cosine(what, task["rows"], scale) + self.compare(what, task)
