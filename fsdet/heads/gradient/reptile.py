"""Starts that lie where tasks end: no gradient passes through the adaptation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from fsdet.heads.base import above_zero, region_losses
from fsdet.heads.gradient.base import detached
from fsdet.heads.gradient.finn_maml import FinnMaml
from fsdet.heads.layers import RegionShape
from fsdet.types import Regions, Support, Task


class Reptile(FinnMaml):
    """Nichol et al. 2018, "On First-Order Meta-Learning Algorithms" (Reptile).

    theta <- theta + e (theta_k - theta), where theta_k is where k inner steps on all of an episode, support and
    query, end: descent with the gradient theta - theta_k. theta is fc7, a row for background and one for
    categories. The latter is the parameter of one category, and an episode of N categories has N solutions for
    it, rows c: Reptile on a batch of N, r <- r + e mean_c (r_{k,c} - r). (The sum, which tied weights have by the
    chain rule, would make e longer the more categories there are.)

    Scales, and the layers below that no inner step moves, follow the query's loss under the solution of the
    support alone. The paper learns all layers in the inner loop, on a new batch at each step; here a step sees
    all regions.

    Args:
        shape, width, steps, test_steps, inner_step, scale, share, background: as of `Finn`.
        outer_step: e.
    """

    second_order = False

    def __init__(
        self,
        shape: RegionShape,
        width: int,
        steps: int = 5,
        test_steps: int = 10,
        inner_step: float = 0.01,
        outer_step: float = 0.1,
        scale: float = 20.0,
        share: float = 1.2,
        background: float = 4.0,
    ):
        super().__init__(shape, width, steps, test_steps, inner_step, scale, share, background)
        above_zero(outer_step=outer_step)
        self.outer_step = outer_step

    def theta(self) -> Task:
        """The meta-parameters: rows [2, D], background's first, and fc7."""
        return {"rows": self.start_rows.rows, **self.fc7()}

    def solution(self, support: Support) -> Task:
        """theta_k of an episode as a task, [1 + N, D] rows, without its history."""
        embeddings = support.embeddings.detach()
        return detached(
            self.learn(Support(embeddings, support.labels, support.deltas, support.n_way))
        )

    def episode(self, support: Regions, query: Regions) -> dict[str, Tensor]:
        """The query's losses under the support's solution, and one of value 0 whose gradient is theta - theta_k."""
        with torch.no_grad():
            near = self.embed(support.features)
        far = self.embed(query.features)
        everything = Support(
            torch.cat([near, far]),
            torch.cat([support.labels, query.labels]),
            torch.cat([support.deltas, query.deltas]),
            support.n_way,
        )
        near_only = Support(near, support.labels, support.deltas, support.n_way)
        said = self.predict(far, self.solution(near_only))
        losses = region_losses(said, query.labels, query.deltas)
        task = self.solution(everything)
        rows = task["rows"]
        end = task | {"rows": torch.stack([rows[0], rows[1:].mean(0)])}
        ways = [
            ((value - end[name]).detach() * value).sum() for name, value in self.theta().items()
        ]
        way = torch.stack(ways).sum()
        return losses | {"loss_start": way - way.detach()}

    def optimizer(
        self, rate: float, own_rate: float, scalar_rate: float, decay: float
    ) -> Optimizer:
        """The paper's rule for theta, AdamW for scales and the layers below; the box branch stays, as ever."""
        scalars = {
            "params": [self.log_scale, self.log_share],
            "lr": scalar_rate,
            "weight_decay": 0.0,
        }
        below = {"params": list(self.trunk.first.parameters()), "lr": rate, "weight_decay": decay}
        theta = {"params": list(self.theta().values()), "lr": self.outer_step}
        return _Outer([theta, below, scalars])


class _Outer(AdamW):
    """Of the first group x <- x - lr * gradient, which is Reptile's step; AdamW of the others."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        theta = self.param_groups[0]
        with torch.no_grad():
            for parameter in theta["params"]:
                parameter.sub_(theta["lr"] * parameter.grad)
                parameter.grad = None  # AdamW passes over what has none
        return super().step(closure)


class Averaging(Reptile):
    """Parameter averaging: theta <- mean over the tasks of a batch of their solutions: Reptile with e = 1.

    A task's solution is where many inner steps end. All that evens tasks out is the batch (`meta.batch`), and
    the schedule that e goes down by.

    Args:
        shape, width, steps, test_steps, inner_step, scale, share, background: as of `Finn`.
    """

    def __init__(
        self,
        shape: RegionShape,
        width: int,
        steps: int = 20,
        test_steps: int = 20,
        inner_step: float = 0.01,
        scale: float = 20.0,
        share: float = 1.2,
        background: float = 4.0,
    ):
        super().__init__(shape, width, steps, test_steps, inner_step, 1.0, scale, share, background)
