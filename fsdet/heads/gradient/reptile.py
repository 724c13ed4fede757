"""Reptile and parameter averaging: initial weights moved towards the solutions of tasks."""

from collections.abc import Callable
from typing import Any

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor
from torch.optim import AdamW, Optimizer

from fsdet.heads.base import region_losses
from fsdet.heads.gradient.base import detached
from fsdet.heads.gradient.finn_maml import FinnMaml
from fsdet.heads.layers import RegionShape
from fsdet.types import Regions, Support, Task


class Averaging(FinnMaml):
    """Parameter averaging: theta <- mean over the tasks of a batch of their solutions theta_k.

    theta_k is the result of k inner steps on all regions of an episode, support and query: gradient descent with
    the gradient theta - theta_k and the rate 1. theta is fc7, a row for background and one for categories. The
    latter is the parameter of one category, and an episode of N categories has N solutions for it, rows c:
    r <- mean_c r_{k,c}. (The sum, which tied weights have by the chain rule, would make the step longer the more
    categories there are.) Tasks are evened out by the batch (`meta.batch`) and the decay of the rate alone.

    Scales, and the layers that no inner step moves, follow the query's loss under the solution of the support
    alone.
    """

    class Options(FinnMaml.Options):
        steps: PositiveInt = 20
        test_steps: NonNegativeInt = 20

    options: Options
    second_order = False
    outer_step = 1.0

    def solve(self, support: Support) -> Task:
        """theta_k of a support as a task with [1 + N, D] rows, without gradient history."""
        embeddings = support.embeddings.detach()
        return detached(
            self.learn(Support(embeddings, support.labels, support.deltas, support.n_way))
        )

    def episode(self, support: Regions, query: Regions) -> dict[str, Tensor]:
        """The query's losses under the support's solution, and one of value 0 with the gradient theta - theta_k."""
        with torch.no_grad():
            support_embeddings = self.embed(support.features)
        query_embeddings = self.embed(query.features)
        joint = Support(
            torch.cat([support_embeddings, query_embeddings]),
            torch.cat([support.labels, query.labels]),
            torch.cat([support.deltas, query.deltas]),
            support.n_way,
        )
        alone = Support(support_embeddings, support.labels, support.deltas, support.n_way)
        prediction = self.predict(query_embeddings, self.solve(alone))
        losses = region_losses(prediction, query.labels, query.deltas)
        solution = self.solve(joint)
        rows = solution["rows"]
        target = solution | {"rows": torch.stack([rows[0], rows[1:].mean(0)])}
        theta = self.shared_parameters()
        products = [
            ((value - target[name]).detach() * value).sum() for name, value in theta.items()
        ]
        total = torch.stack(products).sum()
        return losses | {"loss_start": total - total.detach()}

    def optimizer(
        self, rate: float, own_rate: float, scalar_rate: float, decay: float
    ) -> Optimizer:
        """The paper's rule for theta, AdamW for scales and fc6; the box branch is not trained."""
        scalars = {
            "params": [self.log_scale, self.log_share],
            "lr": scalar_rate,
            "weight_decay": 0.0,
        }
        fc6 = {"params": list(self.trunk.first.parameters()), "lr": rate, "weight_decay": decay}
        theta = {"params": list(self.shared_parameters().values()), "lr": self.outer_step}
        return _OuterOptimizer([theta, fc6, scalars])


class Reptile(Averaging):
    """Nichol et al. 2018, "On First-Order Meta-Learning Algorithms" (Reptile).

    theta <- theta + e (theta_k - theta), the step of `Averaging` shortened by e.

    Differs from the paper: it trains all layers in the inner loop, on a new batch at each step. Here the inner
    loop trains theta, and a step uses all regions.
    """

    class Options(Averaging.Options):
        steps: PositiveInt = 5
        test_steps: NonNegativeInt = 10
        outer_step: PositiveFloat = 0.1  # e

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        self.outer_step = options.outer_step


class _OuterOptimizer(AdamW):
    """x <- x - lr * gradient for the first parameter group, Reptile's step; AdamW for the others."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        theta = self.param_groups[0]
        with torch.no_grad():
            for parameter in theta["params"]:
                parameter.sub_(theta["lr"] * parameter.grad)
                parameter.grad = None  # AdamW skips parameters without a gradient
        return super().step(closure)
