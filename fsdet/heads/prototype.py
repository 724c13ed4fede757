"""Class means in a learned metric."""

import torch
from torch import Tensor, nn

from fsdet.heads.base import (
    Head,
    RegionShape,
    above_zero,
    averages,
    beside,
    class_means,
    scaled_cosine,
)
from fsdet.types import Features, Prediction, Support, Task


class Prototype(Head):
    """Snell et al. 2017, "Prototypical Networks for Few-shot Learning", over regions.

    p_c = mean of z over the support regions of class c; logit_c = scale * cos(z, p_c), background included.
    Background is many things and has no mean worth the name: beside the support's own it has `n_background`
    learned rows, and its logit is the greatest of theirs.

    Args:
        shape, width: as of every head.
        n_background: learned background rows.
        scale: of the cosine, learned from there on.
        share: weight of the learned layers beside the plain averages, learned from there on.
    """

    def __init__(
        self,
        shape: RegionShape,
        width: int,
        n_background: int = 8,
        scale: float = 20.0,
        share: float = 1.2,
    ):
        super().__init__(shape, width)
        above_zero(scale=scale, share=share)
        length = shape.averages + width
        self.background = nn.Parameter(torch.randn(n_background, length))
        self.log_scale = nn.Parameter(torch.tensor(scale).log())
        self.log_share = nn.Parameter(torch.tensor(share).log())
        self._widths = [length, width]

    def embed(self, features: Features) -> Tensor:
        what = beside(averages(features), self.trunk(features), self.log_share)
        return torch.cat([what, self.boxes(features)], 1)

    def learn(self, support: Support) -> Task:
        what = support.embeddings[:, : self._widths[0]]
        return {"rows": class_means(what, support.labels, support.n_way)}

    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        what, where = embeddings.split(self._widths, dim=1)
        rows, n_rows = torch.cat([task["rows"], self.background]), len(task["rows"])
        logits = scaled_cosine(what, rows, self.log_scale.exp())
        empty = torch.cat([logits[:, :1], logits[:, n_rows:]], 1).amax(1, keepdim=True)
        return Prediction(torch.cat([empty, logits[:, 1:n_rows]], 1), self.boxes.regressor(where))
