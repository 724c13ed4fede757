"""Class rows by the largest margin: a support vector machine that can be differentiated through."""

from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from fsdet.heads.layers import RegionShape
from fsdet.heads.options import (
    STRICT,
    Count,
    CountOrZero,
    Positive,
)
from fsdet.heads.solver.base import SolverHead, SolverOptions
from fsdet.heads.solver.crammer_singer import largest_margin
from fsdet.heads.support import spread
from fsdet.types import Support, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MetaOptNetOptions(SolverOptions):
    """Options of the support vector machine."""

    scale: Positive = 10.0
    odds: Positive = 1.0
    penalty: Positive = 10.0  # C of a whole category: its regions share it
    regions: Count = 30  # regions per category in the problem, at most
    empty: Count = 256  # background regions in the problem, at most
    steps: CountOrZero = 500  # of the solver, at most
    tolerance: Positive = 3e-3  # of the duality gap, relative to the slack of W = 0


class MetaOptNet(SolverHead):
    """Lee et al. 2019, "Meta-Learning with Differentiable Convex Optimization" (MetaOptNet-SVM), over regions.

    W = argmin 1/2 |W|^2 + C sum_i w_i xi_i with xi_i = max_c (w_c x_i + [c != y_i]) - w_{y_i} x_i, the linear
    machine of Crammer and Singer 2001 over all categories and background at once.
    """

    Options = MetaOptNetOptions

    def __init__(self, shape: RegionShape, width: int, options: MetaOptNetOptions):
        super().__init__(shape, width, options)
        self.penalty, self.regions, self.empty = options.penalty, options.regions, options.empty
        self.steps, self.tolerance = options.steps, options.tolerance

    def learn(self, support: Support) -> Task:
        return super().learn(spread(support, self.regions, self.empty))

    def solve(self, x: Tensor, labels: Tensor, weights: Tensor, n_way: int) -> Tensor:
        targets = F.one_hot(labels, 1 + n_way).to(x)
        return largest_margin(x, targets, self.penalty * weights, self.tolerance, self.steps)
