"""MAML with prototypes as initial rows, momentum and learned step sizes."""

from dataclasses import replace

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.base import box_loss
from fsdet.heads.gradient.base import GradientHead, InnerGradient
from fsdet.heads.layers import RegionShape
from fsdet.types import Support, Task


class Maml(GradientHead):
    """Finn et al. 2017 (MAML) with rows that start from prototypes (Triantafillou et al. 2020, Proto-MAML)
    and learned step sizes, one for every tensor and step (Antoniou et al. 2019, MAML++).

    v_{j+1} = m v_j + dL(support; theta_j) / dtheta_j;  theta_{j+1} = theta_j - a_j v_{j+1}, where theta is the
    region embedding (fc7), the class rows and the box regressor, and L the mean cross-entropy of the
    categories, with background counting as several of them, plus the box loss. A row's gradient comes mostly
    from its own category, so its steps are N times longer. The first gradient of fc7 includes its effect on
    the initial rows, which are means of its outputs. In training mode the outer gradient passes through the
    inner ones if `second_order` is set.

    A row is compared with the region's mean-pooled features and fc7, which knows the base categories best. The
    regressor has layers of its own, because box losses and class losses of a few boxes pull a shared embedding
    apart. Its steps start small: a few boxes are too few to learn box refinement from.
    """

    class Options(GradientHead.Options):
        test_steps: NonNegativeInt = 20  # those after `steps` have the size of the last
        row_step: PositiveFloat = 0.03  # initial step sizes, learned
        embedding_step: PositiveFloat = 0.01
        regressor_step: PositiveFloat = 1e-6
        momentum: NonNegativeFloat = 0.9  # m
        second_order: bool = True  # differentiate through the inner gradients in meta-training

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        initial = {
            "rows": options.row_step,
            "embedding": options.embedding_step,
            "regressor": options.regressor_step,
        }
        self.log_steps = nn.ParameterDict(
            {name: torch.full((options.steps,), size).log() for name, size in initial.items()}
        )
        self.second_order = options.second_order

    def box_deltas(self, box_embeddings: Tensor, task: Task) -> Tensor:
        return F.linear(box_embeddings, task["regressor_weight"], task["regressor_bias"])

    def initial_task(self, embeddings: Tensor, support: Support) -> Task:
        """The task before the first step: initial rows, and the meta-learned weights of fc7 and box regressor."""
        regressor = {
            "regressor_weight": self.boxes.regressor.weight,
            "regressor_bias": self.boxes.regressor.bias,
        }
        return {"rows": self.initial_rows(embeddings, support), **self.fc7_weights(), **regressor}

    def initial_rows(self, embeddings: Tensor, support: Support) -> Tensor:
        """[1 + N, D], a differentiable function of the embeddings."""
        return self.prototypes(embeddings, support)

    def inner_loss(self, embeddings: Tensor, support: Support, task: Task) -> Tensor:
        deltas = self.box_deltas(self.split(embeddings)[2], task)
        class_loss = super().inner_loss(embeddings, support, task)
        return class_loss + box_loss(deltas, support.labels, support.deltas)

    def step_size(self, name: str, step: int, n_way: int) -> Tensor:
        log_sizes = self.log_steps[name.split("_")[0]]
        size = log_sizes[min(step, len(log_sizes) - 1)].exp()
        return size * n_way if name == "rows" else size

    def update(self, task: Task, inner: InnerGradient, state: Task) -> tuple[Task, Task]:
        """Step along v, the state of the rule."""
        velocity = inner.gradients
        if state:
            momentum = self.options.momentum
            velocity = {name: momentum * state[name] + new for name, new in velocity.items()}
        return super().update(task, replace(inner, gradients=velocity), state)[0], velocity
