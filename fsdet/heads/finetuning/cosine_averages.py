"""TFA's cosine classifier over mean-pooled features and fc7."""

import torch
from pydantic import PositiveFloat
from torch import Tensor

from fsdet.heads.finetuning.cosine import Cosine
from fsdet.heads.layers import RegionShape, mean_features, weighted_concat
from fsdet.types import Features


class CosineAverages(Cosine):
    """`Cosine` over mean-pooled features and fc7, the embedding of the meta-trained heads.

    It separates the gain by mean-pooled features from the gain by episodes.
    """

    class Options(Cosine.Options):
        share: PositiveFloat = 1.2  # weight of fc7 relative to the mean-pooled features

    options: Options
    log_share: Tensor

    def __init__(self, shape: RegionShape, width: int, n_base: int, options: Options):
        super().__init__(shape, width, n_base, options)
        self.register_buffer("log_share", torch.tensor(options.share).log(), persistent=False)
        self.length = shape.mean_length + width

    def embed(self, features: Features) -> Tensor:
        learned = self.trunk(features)
        class_embeddings = weighted_concat(mean_features(features), learned, self.log_share)
        return torch.cat([class_embeddings, self.boxes(features)], 1)

    def split(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        return embeddings[:, : self.length], embeddings[:, self.length :]
