"""Base of heads that learn a task over a frozen region embedding."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic import PositiveFloat
from torch import Tensor

from fsdet.heads.base import Head
from fsdet.heads.layers import RegionShape, log_parameter, mean_features, weighted_concat
from fsdet.types import Features, Prediction, Regions, Support, Task


class FrozenEmbeddingHead(Head):
    """Embeds a region once, by its mean-pooled features and fc7; a task is compared with that.

    Boxes are refined as base training taught, whatever the task. D of class embeddings is `length`.
    """

    class Options(Head.Options):
        share: PositiveFloat = 1.2  # initial weight of fc7 relative to the mean-pooled features

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        self.log_share = log_parameter(options.share)
        self.length = shape.mean_length + width

    def embed(self, features: Features) -> Tensor:
        return torch.cat([self.embed_class(features), self.boxes(features)], 1)

    def embed_class(self, features: Features) -> Tensor:
        """Features of R regions -> class embeddings [R, D] of unit length."""
        return weighted_concat(mean_features(features), self.trunk(features), self.log_share)

    def adapt(self, support: Regions) -> Task:
        # These heads learn nothing from boxes: the box branch need not run.
        embeddings = self.embed_class(support.features)
        return self.learn(Support(embeddings, support.labels, support.deltas, support.n_way))

    def class_embeddings(self, embeddings: Tensor) -> Tensor:
        """The class part of embeddings: [R, D] of unit length."""
        return embeddings[:, : self.length]

    @contextmanager
    def full_precision(self, support: Support) -> Iterator[Tensor]:
        """Class embeddings [S, D] of a support in 32 bits or more, without autocast.

        Gradients are recorded in training mode only. Solvers and recurrences accumulate the rounding errors
        of half precision.
        """
        device = support.labels.device.type
        record = self.training and torch.is_grad_enabled()
        with torch.set_grad_enabled(record), torch.autocast(device, enabled=False):
            embeddings = self.class_embeddings(support.embeddings)
            yield embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))

    @abstractmethod
    def logits(self, embeddings: Tensor, task: Task) -> Tensor:
        """Class embeddings [R, D] -> [R, 1 + N]."""

    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        deltas = self.boxes.regressor(embeddings[:, self.length :])
        return Prediction(self.logits(self.class_embeddings(embeddings), task), deltas)
