"""TFA's cosine classifier: trained on base categories, fine-tuned on a few boxes of new ones."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.finetuning.base import FineTunedHead
from fsdet.heads.layers import RegionShape, scaled_cosine
from fsdet.heads.support import class_means
from fsdet.types import Support, Task


class Cosine(FineTunedHead):
    """Wang et al. 2020, "Frustratingly Simple Few-Shot Object Detection" (TFA w/cos).

    logit_c = scale * cos(z, w_c), with a row for background. Base training trains the embedding and the rows of
    the base categories (`base_task`); the second stage starts each row at its class's mean direction (Qi et al.
    2018).

    Args:
        shape, width, options: as of every head.
        n_base: number of base categories.
    """

    def __init__(self, shape: RegionShape, width: int, n_base: int, options: FineTunedHead.Options):
        super().__init__(shape, width, options)
        self.rows = nn.Parameter(0.01 * torch.randn(1 + n_base, width))

    @classmethod
    def create(cls, shape: RegionShape, width: int, n_base: int, options: Any) -> "Cosine":
        return cls(shape, width, n_base, options)

    def base_task(self) -> Task:
        """The base categories as base training left them, differentiable."""
        return {"rows": self.rows, **self.regressor()}

    def initial_task(self, embeddings: Tensor, support: Support) -> Task:
        means = class_means(embeddings, support.labels, support.n_way)
        return {"rows": F.normalize(means, dim=-1)}

    def logits(self, adapted: Tensor, task: Task) -> Tensor:
        return scaled_cosine(adapted, task["rows"], self.options.scale)
