"""Heads whose task is the solution of a convex problem of the support, with derivatives through it."""

from abc import abstractmethod

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from fsdet.heads.frozen_embedding import FrozenEmbeddingHead
from fsdet.heads.layers import RegionShape
from fsdet.heads.options import (
    STRICT,
    Positive,
    ShareOptions,
)
from fsdet.heads.support import category_weights
from fsdet.types import Support, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SolverOptions(ShareOptions):
    """Options of heads with a convex problem."""

    scale: Positive = 20.0  # of the logits; learned from this start
    odds: Positive = 0.5  # exp(beta); learned from this start
    background: Positive = 4.0  # number of categories that background counts for


class SolverHead(FrozenEmbeddingHead):
    """logits = scale * W^T x + beta, with W [D, 1 + N] solved for every support anew.

    The weights of a category's regions add up to 1, few or many of them, so that what W is asked for means the
    same for any N and K; those of background to `background`. Under a softmax beta does something only where
    it differs: it is background's alone.
    """

    Options = SolverOptions

    def __init__(self, shape: RegionShape, width: int, options: SolverOptions):
        super().__init__(shape, width, options)
        self.log_scale = nn.Parameter(torch.tensor(options.scale).log())
        self.log_odds = nn.Parameter(torch.tensor(options.odds).log())
        self.background = options.background

    @abstractmethod
    def solve(self, x: Tensor, labels: Tensor, weights: Tensor, n_way: int) -> Tensor:
        """[S, D] of 32 bits or more, [S] 0..N, [S] -> W [D, 1 + N]."""

    def learn(self, support: Support) -> Task:
        labels, n_way = support.labels, support.n_way
        with self.exactly(support) as what:
            weights = n_way * category_weights(labels, n_way, self.background).to(what)
            return {"weight": self.solve(what, labels, weights, n_way)}

    def logits(self, what: Tensor, task: Task) -> Tensor:
        said = what @ (self.log_scale.exp() * task["weight"])
        return torch.cat([said[:, :1] + self.log_odds, said[:, 1:]], 1)
