"""Base of heads that solve a convex problem on the support; the solution is differentiable."""

from abc import abstractmethod

import torch
from pydantic import PositiveFloat
from torch import Tensor

from fsdet.heads.frozen_embedding import FrozenEmbeddingHead
from fsdet.heads.layers import RegionShape, log_parameter
from fsdet.heads.support import category_weights
from fsdet.types import Support, Task


class SolverHead(FrozenEmbeddingHead):
    """logits = scale * W^T x + beta, with W [D, 1 + N] solved for every support.

    The weights of a category's regions add up to 1 and those of background to `background`, so the problem
    means the same for any N and K. Only differences of beta matter under a softmax: background alone has one,
    the logarithm of `odds`.
    """

    class Options(FrozenEmbeddingHead.Options):
        scale: PositiveFloat = 20.0  # initial scale
        odds: PositiveFloat = 1.0  # initial exp(beta)
        background: PositiveFloat = 4.0  # number of categories that background counts as

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        self.log_scale = log_parameter(options.scale)
        self.log_odds = log_parameter(options.odds)

    @abstractmethod
    def solve(self, x: Tensor, labels: Tensor, weights: Tensor, n_way: int) -> Tensor:
        """[S, D] of 32 bits or more, [S] 0..N, [S] -> W [D, 1 + N]."""

    def learn(self, support: Support) -> Task:
        labels, n_way = support.labels, support.n_way
        with self.full_precision(support) as x:
            weights = n_way * category_weights(labels, n_way, self.options.background).to(x)
            return {"weight": self.solve(x, labels, weights, n_way)}

    def logits(self, embeddings: Tensor, task: Task) -> Tensor:
        logits = embeddings @ (self.log_scale.exp() * task["weight"])
        return torch.cat([logits[:, :1] + self.log_odds, logits[:, 1:]], 1)
