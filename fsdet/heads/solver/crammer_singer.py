"""Multi-class linear SVM of Crammer and Singer: a solver of its dual, and its derivative."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

GAP_INTERVAL = 10  # steps between two evaluations of the duality gap


def crammer_singer(
    x: Tensor, targets: Tensor, costs: Tensor, tolerance: float, steps: int
) -> Tensor:
    """Crammer and Singer 2001: W = argmin 1/2 |W|^2 + sum_i costs_i xi_i, differentiable in x.

    xi_i = max_k (w_k x_i + 1 - targets_ik) - w_{y_i} x_i >= 0 is the slack of row i.

    Args:
        x: [S, D].
        targets: [S, K], one-hot.
        costs: [S], above 0.
        tolerance: of the duality gap, relative to the sum of all costs; of the derivative's residual, relative
            to its right-hand side.
        steps: most steps of the solver.

    Returns:
        W [D, K].
    """
    return _CrammerSinger.apply(x, targets, costs, tolerance, steps)


def project_simplex(rows: Tensor) -> Tensor:
    """[S, K] -> the nearest rows that are not negative and add up to 1 (Held et al. 1974), by sorting."""
    u = rows.sort(dim=-1, descending=True).values
    counts = torch.arange(1, 1 + rows.shape[-1], dtype=rows.dtype, device=rows.device)
    thresholds = (u.cumsum(-1) - 1) / counts  # with the 1, 2, ... greatest entries positive
    support = (u > thresholds).sum(-1, keepdim=True)
    return (rows - thresholds.gather(-1, support - 1)).clamp(min=0)


def solve_dual(
    gram: Tensor, targets: Tensor, costs: Tensor, tolerance: float, steps: int
) -> Tensor:
    """[S, S] of all x_i x_j -> P [S, K], every row on the simplex: W = sum_i costs_i x_i (targets_i - P_i)^T.

    The dual variables are a_i = costs_i (targets_i - P_i): a_ik <= costs_i targets_ik, sum_k a_ik = 0. A row
    without a margin violation has P_i = targets_i and no part in W. Solved by FISTA (Beck and Teboulle 2009:
    iterates p_k, extrapolated points y_k, momentum t_k, step 1 / L) with the restart of O'Donoghue and
    Candes 2015.
    """
    # The greatest row sum bounds the eigenvalues: L.
    step = 1 / (gram.abs() @ costs).max()
    p = y = torch.full_like(targets, 1 / targets.shape[1])
    t = 1.0

    def gradient(p: Tensor) -> Tensor:
        """[S, K]: margin violations x_i W - targets_i, the dual's gradient in P divided by the costs."""
        return gram @ (costs[:, None] * (targets - p)) - targets

    for k in range(steps):
        if k % GAP_INTERVAL == 0:
            violations = gradient(p)
            gap = costs @ (violations.amax(1) - (p * violations).sum(1))
            if gap <= tolerance * costs.sum():
                break
        p_next = project_simplex(y + step * gradient(y))
        if (costs @ ((y - p_next) * (p_next - p)).sum(1)) > 0:  # momentum against the gradient
            t = 1.0
        t_next = (1 + (1 + 4 * t**2) ** 0.5) / 2
        y = p_next + (t - 1) / t_next * (p_next - p)
        p, t = p_next, t_next
    return p


def conjugate_gradient(x: Tensor, free: Tensor, b: Tensor, tolerance: float) -> Tensor:
    """[S, D], [S, K] bool, [S, K] -> u [S, K] with J X X^T u = J b and J u = u (Hestenes and Stiefel 1952).

    J keeps the free entries of a row and subtracts their mean: the directions in which P can move.
    """
    counts = free.sum(1, keepdim=True).clamp(min=1)

    def project(v: Tensor) -> Tensor:
        return free * (v - (free * v).sum(1, keepdim=True) / counts)

    gram = x @ x.T
    u, r = torch.zeros_like(b), project(b)
    d, rho = r, r.square().sum()  # search direction, squared residual
    stop = tolerance**2 * rho
    for _ in range(len(x)):
        if rho <= stop:
            break
        q = project(gram @ d)
        alpha = rho / (d * q).sum()
        u, r = u + alpha * d, r - alpha * q
        rho_previous, rho = rho, r.square().sum()
        d = r + rho / rho_previous * d
    return u


class _CrammerSinger(torch.autograd.Function):
    """`crammer_singer`, differentiated at its optimum, not through the steps of the solver.

    Where P is above 0 the gradient of the dual is the same in all of a row's entries, J (X W - targets) = 0 with
    W = X^T a; elsewhere a is constant. So J (dX W + X dX^T a + X X^T da) = 0, da = J da, which with
    dW = dX^T a + X^T da and u of `conjugate_gradient` gives <g, dW> = <dX, a (g - X^T u)^T - u W^T>.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, targets: Tensor, costs: Tensor, tolerance: float, steps: int
    ) -> Tensor:
        p = solve_dual(x @ x.T, targets, costs, tolerance, steps)
        a = costs[:, None] * (targets - p)
        w = x.T @ a
        ctx.save_for_backward(x, a, p > 0, w)
        ctx.tolerance = tolerance
        return w

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, a, free, w = ctx.saved_tensors
        u = conjugate_gradient(x, free, x @ g, ctx.tolerance)
        return a @ (g - x.T @ u).T - u @ w.T, None, None, None, None
