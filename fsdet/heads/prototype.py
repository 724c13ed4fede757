"""Class means in a learned metric."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.base import Head, Trunk, box_regressor, class_means, scaled_cosine
from fsdet.types import Prediction, Regions, Task


class Prototype(Head):
    """Snell et al. 2017, "Prototypical Networks for Few-shot Learning", over regions.

    p_c = mean of z over the support regions of class c; logit_c = scale * cos(z, p_c), background included.
    Background is many things and has no mean worth the name: beside the support's own it has `n_background`
    learned rows, and its logit is the greatest of theirs.

    Args:
        in_features: C * P * P of a pooled region.
        width: D.
        n_background: learned background rows.
        scale: of the cosine, learned from there on.
    """

    def __init__(
        self, in_features: int, width: int = 1024, n_background: int = 8, scale: float = 20.0
    ):
        super().__init__()
        self.trunk = Trunk(in_features, width)
        self.regressor = box_regressor(width)
        self.background = nn.Parameter(torch.randn(n_background, width))
        self.log_scale = nn.Parameter(torch.tensor(scale).log())

    def embed(self, features: Tensor) -> Tensor:
        return self.trunk(features)

    def adapt(self, support: Regions) -> Task:
        embeddings = F.normalize(self.embed(support.features), dim=-1)
        return {"rows": class_means(embeddings, support.labels, support.n_way)}

    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        scale = self.log_scale.exp()
        logits = scaled_cosine(embeddings, task["rows"], scale)
        learned = scaled_cosine(embeddings, self.background, scale)
        empty = torch.cat([logits[:, :1], learned], 1).amax(1, keepdim=True)
        return Prediction(torch.cat([empty, logits[:, 1:]], 1), self.regressor(embeddings))
