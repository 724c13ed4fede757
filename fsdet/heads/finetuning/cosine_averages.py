"""TFA's classifier over what the other heads see."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from fsdet.heads.finetuning.base import FineTunedOptions
from fsdet.heads.finetuning.cosine import Cosine
from fsdet.heads.layers import RegionShape, averages, beside
from fsdet.heads.options import (
    STRICT,
    Positive,
)
from fsdet.types import Features


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CosineAveragesOptions(FineTunedOptions):
    """Options of cosines over fc7 and the plain averages."""

    share: Positive = 1.2  # weight of fc7 beside the averages


class CosineAverages(Cosine):
    """`Cosine` with the plain averages of backbone and pyramid beside fc7, as heads of episodes have them.

    It is there to tell what a head owes to the averages from what it owes to episodes.
    """

    Options = CosineAveragesOptions

    def __init__(self, shape: RegionShape, width: int, n_base: int, options: CosineAveragesOptions):
        super().__init__(shape, width, n_base, options)
        log_share = torch.tensor(options.share).log()
        self.register_buffer("log_share", log_share, persistent=False)
        self.length = shape.averages + width

    log_share: Tensor

    def embed(self, features: Features) -> Tensor:
        what = beside(averages(features), self.trunk(features), self.log_share)
        return torch.cat([what, self.boxes(features)], 1)

    def halves(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        return embeddings[:, : self.length], embeddings[:, self.length :]
