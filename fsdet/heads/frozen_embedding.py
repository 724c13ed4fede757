"""Heads whose layers stay as they are while a task is learned."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fsdet.heads.base import Head
from fsdet.heads.layers import RegionShape, averages, beside
from fsdet.heads.options import ShareOptions
from fsdet.types import Features, Prediction, Regions, Support, Task


class FrozenEmbeddingHead(Head):
    """A region is described once, by its plain averages beside fc7; a task is what is compared with that.

    Boxes are refined as base training taught, whatever the task.
    """

    def __init__(self, shape: RegionShape, width: int, options: ShareOptions):
        super().__init__(shape, width)
        self.log_share = nn.Parameter(torch.tensor(options.share).log())
        self.length = shape.averages + width  # D of an embedding

    def embed(self, features: Features) -> Tensor:
        return torch.cat([self.described(features), self.boxes(features)], 1)

    def described(self, features: Features) -> Tensor:
        """Features of R regions -> descriptions [R, D], of unit length."""
        return beside(averages(features), self.trunk(features), self.log_share)

    def adapt(self, support: Regions) -> Task:
        # Where its objects are in a region says nothing of a category: the box branch need not look.
        what = self.described(support.features)
        return self.learn(Support(what, support.labels, support.deltas, support.n_way))

    def describe(self, embeddings: Tensor) -> Tensor:
        """The part of embeddings that tells categories apart: [R, D], of unit length."""
        return embeddings[:, : self.length]

    @contextmanager
    def exactly(self, support: Support) -> Iterator[Tensor]:
        """What a support set shows, [S, D], in 32 bits or more; inside no autocast, and no history but in training.

        Solvers and recurrences add up what half the digits lose.
        """
        kind = support.labels.device.type
        history = self.training and torch.is_grad_enabled()
        with torch.set_grad_enabled(history), torch.autocast(kind, enabled=False):
            what = self.describe(support.embeddings)
            yield what.to(torch.promote_types(what.dtype, torch.float32))

    @abstractmethod
    def logits(self, what: Tensor, task: Task) -> Tensor:
        """[R, D] -> [R, 1 + N]."""

    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        deltas = self.boxes.regressor(embeddings[:, self.length :])
        return Prediction(self.logits(self.describe(embeddings), task), deltas)
