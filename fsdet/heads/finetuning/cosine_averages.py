"""TFA's classifier over what the other heads see."""

import torch
from torch import Tensor

from fsdet.heads.base import above_zero
from fsdet.heads.finetuning.cosine import Cosine
from fsdet.heads.layers import RegionShape, averages, beside
from fsdet.types import Features


class CosineAverages(Cosine):
    """`Cosine` with the plain averages of backbone and pyramid beside fc7, as heads of episodes have them.

    It is there to tell what a head owes to the averages from what it owes to episodes.

    Args:
        shape, width, n_base, scale, steps, learning_rate, weight_decay, background, tune_boxes: as of `Cosine`.
        share: weight of fc7 beside the averages.
    """

    def __init__(
        self,
        shape: RegionShape,
        width: int,
        n_base: int = 1,
        scale: float = 20.0,
        steps: int = 100,
        learning_rate: float = 0.02,
        weight_decay: float = 0.0,
        background: float = 4.0,
        tune_boxes: bool = False,
        share: float = 1.2,
    ):
        super().__init__(
            shape, width, n_base, scale, steps, learning_rate, weight_decay, background, tune_boxes
        )
        above_zero(share=share)
        self.register_buffer("log_share", torch.tensor(share).log(), persistent=False)
        self.length = shape.averages + width

    log_share: Tensor

    def embed(self, features: Features) -> Tensor:
        what = beside(averages(features), self.trunk(features), self.log_share)
        return torch.cat([what, self.boxes(features)], 1)

    def halves(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        return embeddings[:, : self.length], embeddings[:, self.length :]
