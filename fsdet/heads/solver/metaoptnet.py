"""Class rows by the largest margin: a support vector machine that can be differentiated through."""

from torch import Tensor
from torch.nn import functional as F

from fsdet.heads.base import above_zero
from fsdet.heads.layers import RegionShape
from fsdet.heads.solver.base import SolverHead
from fsdet.heads.solver.crammer_singer import largest_margin
from fsdet.heads.support import spread
from fsdet.types import Support, Task


class MetaOptNet(SolverHead):
    """Lee et al. 2019, "Meta-Learning with Differentiable Convex Optimization" (MetaOptNet-SVM), over regions.

    W = argmin 1/2 |W|^2 + C sum_i w_i xi_i with xi_i = max_c (w_c x_i + [c != y_i]) - w_{y_i} x_i, the linear
    machine of Crammer and Singer 2001 over all categories and background at once.

    Args:
        shape, width: as of every head.
        penalty: C, for a whole category: its regions share it.
        regions, empty: how many of each category and of background there are in the problem, at most.
        steps: of the solver, at most.
        tolerance: of the duality gap, beside the slack of W = 0.
        scale, odds, background, share: as of `Solved`.
    """

    def __init__(
        self,
        shape: RegionShape,
        width: int,
        penalty: float = 10.0,
        regions: int = 30,
        empty: int = 256,
        steps: int = 500,
        tolerance: float = 3e-3,
        scale: float = 10.0,
        odds: float = 1.0,
        background: float = 4.0,
        share: float = 1.2,
    ):
        super().__init__(shape, width, scale, odds, background, share)
        above_zero(penalty=penalty, regions=regions, empty=empty, tolerance=tolerance)
        self.penalty, self.regions, self.empty = penalty, regions, empty
        self.steps, self.tolerance = steps, tolerance

    def learn(self, support: Support) -> Task:
        return super().learn(spread(support, self.regions, self.empty))

    def solve(self, x: Tensor, labels: Tensor, weights: Tensor, n_way: int) -> Tensor:
        targets = F.one_hot(labels, 1 + n_way).to(x)
        return largest_margin(x, targets, self.penalty * weights, self.tolerance, self.steps)
