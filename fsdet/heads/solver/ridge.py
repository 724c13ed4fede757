"""Class rows in closed form: ridge regression of the labels on what a head sees."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.layers import RegionShape
from fsdet.heads.options import (
    STRICT,
    Positive,
)
from fsdet.heads.solver.base import SolverHead, SolverOptions


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RidgeOptions(SolverOptions):
    """Options of ridge regression; `scale` and log `odds` are the paper's alpha and beta."""

    strength: Positive = 0.3  # lambda, beside a category's weight of 1; learned from this start


class Ridge(SolverHead):
    """Bertinetto et al. 2019, "Meta-learning with differentiable closed-form solvers" (R2-D2), over regions.

    W = argmin sum_i w_i |W^T x_i - y_i|^2 + lambda |W|^2 with y_i one-hot, background included.
    """

    Options = RidgeOptions

    def __init__(self, shape: RegionShape, width: int, options: RidgeOptions):
        super().__init__(shape, width, options)
        self.log_strength = nn.Parameter(torch.tensor(options.strength).log())

    def solve(self, x: Tensor, labels: Tensor, weights: Tensor, n_way: int) -> Tensor:
        return ridge(x, F.one_hot(labels, 1 + n_way).to(x), weights, self.log_strength.exp())


def ridge(x: Tensor, targets: Tensor, weights: Tensor, strength: Tensor) -> Tensor:
    """[S, D], [S, K], [S] -> [D, K]: argmin over W of sum_i weights_i |W^T x_i - targets_i|^2 + strength |W|^2.

    Solved in the fewer of D and S dimensions: W = (X^T X + l)^-1 X^T Y = X^T (X X^T + l)^-1 Y.
    """
    root = weights.sqrt()[:, None]
    x, targets = root * x, root * targets
    if len(x) < x.shape[1]:
        return x.T @ _solved(x @ x.T, targets, strength)
    return _solved(x.T @ x, x.T @ targets, strength)


def _solved(gram: Tensor, right: Tensor, strength: Tensor) -> Tensor:
    """(gram + strength I)^-1 right, of a gram that is positive semi-definite."""
    lifted = gram + strength * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.cholesky_solve(right, torch.linalg.cholesky(lifted))
