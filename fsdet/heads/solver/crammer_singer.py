"""The linear support vector machine of several classes, solved in its dual, and its derivative."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHECK = 10  # steps between two looks at the duality gap


def largest_margin(
    x: Tensor, targets: Tensor, costs: Tensor, tolerance: float, steps: int
) -> Tensor:
    """Crammer and Singer 2001: W = argmin 1/2 |W|^2 + sum_i costs_i xi_i, differentiable in x.

    xi_i = max_k (w_k x_i + 1 - targets_ik) - w_{y_i} x_i >= 0 is the slack of row i.

    Args:
        x: [S, D].
        targets: [S, K], one-hot.
        costs: [S], above 0.
        tolerance: of the duality gap, as a share of the sum of all costs; of the derivative, as a share of it.
        steps: of the solver, at most.

    Returns:
        W [D, K].
    """
    return _LargestMargin.apply(x, targets, costs, tolerance, steps)


def onto_simplex(rows: Tensor) -> Tensor:
    """[S, K] -> the nearest rows that are not negative and add up to 1 (Held et al. 1974), by sorting."""
    most = rows.sort(dim=-1, descending=True).values
    counts = torch.arange(1, 1 + rows.shape[-1], dtype=rows.dtype, device=rows.device)
    # What to take from each if the first 1, 2, ... stay above 0.
    excess = (most.cumsum(-1) - 1) / counts
    stay = (most > excess).sum(-1, keepdim=True)
    return (rows - excess.gather(-1, stay - 1)).clamp(min=0)


def dual(gram: Tensor, targets: Tensor, costs: Tensor, tolerance: float, steps: int) -> Tensor:
    """[S, S] of all x_i x_j -> P [S, K], every row on the simplex: W = sum_i costs_i x_i (targets_i - P_i)^T.

    The dual's variables are a_i = costs_i (targets_i - P_i): a_ik <= costs_i targets_ik, sum_k a_ik = 0. A row
    that no other class comes near has P_i = targets_i and no part in W. Accelerated projected gradient ascent
    (Beck and Teboulle 2009) that starts over when it swings back (O'Donoghue and Candes 2015).
    """
    # No eigenvalue is above the greatest sum of a row.
    step = 1 / (gram.abs() @ costs).max()
    here = ahead = torch.full_like(targets, 1 / targets.shape[1])
    pace = 1.0

    def violated(p: Tensor) -> Tensor:
        """[S, K]: how much class k's claim on a row exceeds what the margin leaves it, up to a constant."""
        return gram @ (costs[:, None] * (targets - p)) - targets

    for done in range(steps):
        if done % CHECK == 0:
            claims = violated(here)
            gap = costs @ (claims.amax(1) - (here * claims).sum(1))
            if gap <= tolerance * costs.sum():
                break
        new = onto_simplex(ahead + step * violated(ahead))
        if (costs @ ((ahead - new) * (new - here)).sum(1)) > 0:
            pace = 1.0
        faster = (1 + (1 + 4 * pace**2) ** 0.5) / 2
        ahead = new + (pace - 1) / faster * (new - here)
        here, pace = new, faster
    return here


def bent(x: Tensor, free: Tensor, right: Tensor, tolerance: float) -> Tensor:
    """[S, D], [S, K] bool, [S, K] -> u [S, K] with J X X^T u = J right and J u = u, by conjugate gradients.

    J keeps the free entries of a row and takes their mean off them: the ways in which P may move.
    """
    counts = free.sum(1, keepdim=True).clamp(min=1)

    def possible(v: Tensor) -> Tensor:
        return free * (v - (free * v).sum(1, keepdim=True) / counts)

    gram = x @ x.T
    u, left = torch.zeros_like(right), possible(right)
    way, size = left, left.square().sum()
    enough = tolerance**2 * size
    for _ in range(len(x)):
        if size <= enough:
            break
        slope = possible(gram @ way)
        length = size / (way * slope).sum()
        u, left = u + length * way, left - length * slope
        before, size = size, left.square().sum()
        way = left + size / before * way
    return u


class _LargestMargin(torch.autograd.Function):
    """`largest_margin`: the solver is not differentiated, its fixed point is.

    Where P is above 0 the gradient of the dual is the same in all of a row's entries, J (X W - targets) = 0 with
    W = X^T a; elsewhere a stays. So J (dX W + X dX^T a + X X^T da) = 0, da = J da, which with
    dW = dX^T a + X^T da and u of `bent` makes <g, dW> = <dX, a (g - X^T u)^T - u W^T>.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, targets: Tensor, costs: Tensor, tolerance: float, steps: int
    ) -> Tensor:
        p = dual(x @ x.T, targets, costs, tolerance, steps)
        a = costs[:, None] * (targets - p)
        w = x.T @ a
        ctx.save_for_backward(x, a, p > 0, w)
        ctx.tolerance = tolerance
        return w

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, a, free, w = ctx.saved_tensors
        u = bent(x, free, x @ g, ctx.tolerance)
        return a @ (g - x.T @ u).T - u @ w.T, None, None, None, None
