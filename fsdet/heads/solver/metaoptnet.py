"""MetaOptNet: a support vector machine per task, differentiated through its optimum."""

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from fsdet.heads.solver.base import SolverHead
from fsdet.heads.solver.crammer_singer import crammer_singer
from fsdet.heads.support import subsample
from fsdet.types import Support, Task


class MetaOptNet(SolverHead):
    """Lee et al. 2019, "Meta-Learning with Differentiable Convex Optimization" (MetaOptNet-SVM), over regions.

    W = argmin 1/2 |W|^2 + C sum_i w_i xi_i with xi_i = max_c (w_c x_i + [c != y_i]) - w_{y_i} x_i, the linear
    SVM of Crammer and Singer 2001 over all categories and background at once.
    """

    class Options(SolverHead.Options):
        penalty: PositiveFloat = 10.0  # C of a whole category, shared by its regions
        regions: PositiveInt = 30  # most support regions of a category
        empty: PositiveInt = 256  # most support regions of background
        steps: NonNegativeInt = 500  # most steps of the solver
        tolerance: PositiveFloat = 3e-3  # of the duality gap, relative to the slack of W = 0
        scale: PositiveFloat = 10.0

    options: Options

    def learn(self, support: Support) -> Task:
        return super().learn(subsample(support, self.options.regions, self.options.empty))

    def solve(self, x: Tensor, labels: Tensor, weights: Tensor, n_way: int) -> Tensor:
        targets = F.one_hot(labels, 1 + n_way).to(x)
        costs = self.options.penalty * weights
        return crammer_singer(x, targets, costs, self.options.tolerance, self.options.steps)
