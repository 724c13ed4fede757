"""Relation network: a learned comparison of regions and class means."""

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.frozen_embedding import FrozenEmbeddingHead
from fsdet.heads.layers import RegionShape, log_parameter, scaled_cosine
from fsdet.heads.support import class_means
from fsdet.types import Support, Task


class Relation(FrozenEmbeddingHead):
    """Sung et al. 2018, "Learning to Compare: Relation Network for Few-Shot Learning", over regions.

    logit_c = scale * cos(z, p_c) + g([z, p_c]), with p_c the mean of z over the support regions of category c
    and g([z, p]) = v . relu(W1 z + W2 p + b) two layers. W1 z is computed once per region and W2 p_c once per
    category, so a pair costs H operations, not 2 D * H.

    Differs from the paper: the paper learns the whole comparison from some hundred thousand episodes. There
    are a few hundred here, so the comparison starts as the cosine (v = 0) and learns a correction. The paper
    fits relation scores between 0 and 1 by least squares; here they are logits under cross-entropy, because
    a detector chooses one category or background per region and reads the softmax as a score.
    """

    class Options(FrozenEmbeddingHead.Options):
        hidden: PositiveInt = 64  # H
        scale: PositiveFloat = 20.0  # initial scale of the cosine

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        self.of_region = nn.Linear(self.length, options.hidden)  # W1, b
        self.of_category = nn.Linear(self.length, options.hidden, bias=False)  # W2
        self.relation = nn.Linear(options.hidden, 1, bias=False)  # v
        # Embeddings have unit length: weights of variance 1 give outputs of variance 1.
        for layer in (self.of_region, self.of_category):
            nn.init.normal_(layer.weight)
        nn.init.zeros_(self.relation.weight)
        self.log_scale = log_parameter(options.scale)

    def learn(self, support: Support) -> Task:
        embeddings = self.class_embeddings(support.embeddings)
        rows = class_means(embeddings, support.labels, support.n_way)
        return {"rows": rows, "hidden": self.of_category(rows)}

    def relations(self, embeddings: Tensor, task: Task) -> Tensor:
        """g of every region and category: [R, D] -> [R, 1 + N]."""
        hidden = F.relu(self.of_region(embeddings)[:, None] + task["hidden"])  # [R, 1 + N, H]
        return self.relation(hidden)[..., 0]

    def logits(self, embeddings: Tensor, task: Task) -> Tensor:
        cosine = scaled_cosine(embeddings, task["rows"], self.log_scale.exp())
        return cosine + self.relations(embeddings, task)
