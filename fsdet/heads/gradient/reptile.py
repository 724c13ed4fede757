"""Starts that lie where tasks end: no gradient passes through the adaptation."""

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.optim import AdamW, Optimizer

from fsdet.heads.base import region_losses
from fsdet.heads.gradient.base import FixedStepOptions, detached
from fsdet.heads.gradient.finn_maml import FinnMaml
from fsdet.heads.layers import RegionShape
from fsdet.heads.options import (
    STRICT,
    Count,
    CountOrZero,
    Positive,
)
from fsdet.types import Regions, Support, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReptileOptions(FixedStepOptions):
    """Options of Reptile."""

    outer_step: Positive = 0.1  # e


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
    """

    Options = ReptileOptions

    second_order = False

    def __init__(self, shape: RegionShape, width: int, options: ReptileOptions):
        super().__init__(shape, width, options)
        self.outer_step = options.outer_step

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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AveragingOptions(ReptileOptions):
    """Options of parameter averaging: Reptile with an outer step of 1."""

    outer_step: Annotated[float, Field(ge=1, le=1)] = 1.0
    steps: Count = 20
    test_steps: CountOrZero = 20


class Averaging(Reptile):
    """Parameter averaging: theta <- mean over the tasks of a batch of their solutions: Reptile with e = 1.

    A task's solution is where many inner steps end. All that evens tasks out is the batch (`meta.batch`), and
    the schedule that e goes down by.
    """

    Options = AveragingOptions
