"""TFA's cosine classifier: trained on base categories, fine-tuned on a few boxes of new ones."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.finetuning.base import FineTunedHead, FineTunedOptions
from fsdet.heads.layers import RegionShape, scaled_cosine
from fsdet.heads.support import class_means
from fsdet.types import Support, Task


class Cosine(FineTunedHead):
    """Wang et al. 2020, "Frustratingly Simple Few-Shot Object Detection" (TFA w/cos).

    logit_c = scale * cos(z, w_c), background being a row like any other. Base training learns the embedding
    and the rows of the base categories (`base_task`); the second stage starts each row at its class's mean
    direction (Qi et al. 2018).
    """

    def __init__(self, shape: RegionShape, width: int, n_base: int, options: FineTunedOptions):
        super().__init__(shape, width, options)
        self.rows = nn.Parameter(0.01 * torch.randn(1 + n_base, width))

    @classmethod
    def create(
        cls, shape: RegionShape, width: int, n_base: int, options: FineTunedOptions
    ) -> "Cosine":
        return cls(shape, width, n_base, options)

    def base_task(self) -> Task:
        """The base categories as base training left them, differentiable."""
        return {"rows": self.rows, **self.regressor()}

    def start(self, what: Tensor, support: Support) -> Task:
        means = class_means(what, support.labels, support.n_way)
        return {"rows": F.normalize(means, dim=-1)}

    def logits(self, described: Tensor, task: Task) -> Tensor:
        return scaled_cosine(described, task["rows"], self.scale)
