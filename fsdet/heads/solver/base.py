"""Heads whose task is the solution of a convex problem of the support, with derivatives through it."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from fsdet.heads.base import above_zero
from fsdet.heads.frozen_embedding import FrozenEmbeddingHead
from fsdet.heads.layers import RegionShape
from fsdet.heads.support import category_weights
from fsdet.types import Support, Task


class SolverHead(FrozenEmbeddingHead):
    """logits = scale * W^T x + beta, with W [D, 1 + N] solved for every support anew.

    The weights of a category's regions add up to 1, few or many of them, so that what W is asked for means the
    same for any N and K; those of background to `background`. Under a softmax beta does something only where
    it differs: it is background's alone.

    Args:
        shape, width: as of every head.
        scale: learned from there on.
        odds: exp(beta), learned from there on.
        background: how many categories background counts for.
        share: weight of the learned layers beside the plain averages, learned from there on.
    """

    def __init__(
        self,
        shape: RegionShape,
        width: int,
        scale: float,
        odds: float,
        background: float,
        share: float,
    ):
        super().__init__(shape, width, share)
        above_zero(scale=scale, odds=odds, background=background)
        self.log_scale = nn.Parameter(torch.tensor(scale).log())
        self.log_odds = nn.Parameter(torch.tensor(odds).log())
        self.background = background

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
