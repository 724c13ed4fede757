"""R2-D2: ridge regression of the labels on class embeddings, in closed form."""

import torch
from pydantic import PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from fsdet.heads.layers import RegionShape, log_parameter
from fsdet.heads.solver.base import SolverHead


class Ridge(SolverHead):
    """Bertinetto et al. 2019, "Meta-learning with differentiable closed-form solvers" (R2-D2), over regions.

    W = argmin sum_i w_i |W^T x_i - y_i|^2 + lambda |W|^2 with y_i one-hot, background included. Scale and
    odds are the paper's alpha and exp(beta).
    """

    class Options(SolverHead.Options):
        strength: PositiveFloat = 0.3  # initial lambda, relative to a category's weight of 1
        odds: PositiveFloat = 0.5

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        self.log_strength = log_parameter(options.strength)

    def solve(self, x: Tensor, labels: Tensor, weights: Tensor, n_way: int) -> Tensor:
        return ridge(x, F.one_hot(labels, 1 + n_way).to(x), weights, self.log_strength.exp())


def ridge(x: Tensor, targets: Tensor, weights: Tensor, strength: Tensor) -> Tensor:
    """[S, D], [S, K], [S] -> [D, K]: argmin over W of sum_i weights_i |W^T x_i - targets_i|^2 + strength |W|^2.

    Solved in the fewer of D and S dimensions: W = (X^T X + l)^-1 X^T Y = X^T (X X^T + l)^-1 Y.
    """
    root = weights.sqrt()[:, None]
    x, targets = root * x, root * targets
    if len(x) < x.shape[1]:
        return x.T @ _solve_regularized(x @ x.T, targets, strength)
    return _solve_regularized(x.T @ x, x.T @ targets, strength)


def _solve_regularized(gram: Tensor, targets: Tensor, strength: Tensor) -> Tensor:
    """(gram + strength I)^-1 targets, for a positive semi-definite gram."""
    regularized = gram + strength * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.cholesky_solve(targets, torch.linalg.cholesky(regularized))
