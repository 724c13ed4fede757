"""The box head moved by gradient steps that it was meta-trained to profit from."""

from dataclasses import replace

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.base import box_loss
from fsdet.heads.gradient.base import GradientHead, GradientOptions, Slope
from fsdet.heads.layers import RegionShape
from fsdet.heads.options import (
    STRICT,
    CountOrZero,
    NonNegative,
    Positive,
)
from fsdet.types import Support, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MamlOptions(GradientOptions):
    """Options of MAML with learned step sizes; steps after `steps` are as long as the last."""

    test_steps: CountOrZero = 20
    row_step: Positive = 0.03  # start of the learned step size of the rows
    embedding_step: Positive = 0.01  # of fc7
    regressor_step: Positive = 1e-6  # of the box regressor
    momentum: NonNegative = 0.9  # m
    second_order: bool = True  # whether meta-training differentiates through the inner gradients


class Maml(GradientHead):
    """Finn et al. 2017 (MAML) with rows that start from prototypes (Triantafillou et al. 2020, Proto-MAML)
    and learned step sizes, one for every tensor and step (Antoniou et al. 2019, MAML++).

    v_{j+1} = m v_j + dL(support; theta_j) / dtheta_j;  theta_{j+1} = theta_j - a_j v_{j+1}, where theta is the
    region embedding (fc7), the class rows and the box regressor, and L the mean cross-entropy of the
    categories, background counting as several of them, plus the box loss. A row sees hardly more than its own
    category, so its steps are N times longer; the first step of fc7 sees too that the rows start from what fc7
    makes of the support. In training mode the outer gradient passes through the inner
    one (`second_order`), or does not.

    The embedding that a row is compared with has the region's plain averages beside fc7, which knows the base
    categories best; the regressor looks through layers of its own: box losses and class losses pull an
    embedding apart when a few boxes are all there is. It hardly moves at first: a few boxes are not enough to
    learn from how far a region is off.
    """

    Options = MamlOptions

    def __init__(self, shape: RegionShape, width: int, options: MamlOptions):
        super().__init__(shape, width, options)
        starts = {
            "rows": options.row_step,
            "embedding": options.embedding_step,
            "regressor": options.regressor_step,
        }
        self.log_steps = nn.ParameterDict(
            {name: torch.full((options.steps,), start).log() for name, start in starts.items()}
        )
        self.momentum, self.second_order = options.momentum, options.second_order

    def refined(self, where: Tensor, task: Task) -> Tensor:
        return F.linear(where, task["regressor_weight"], task["regressor_bias"])

    def start(self, embeddings: Tensor, support: Support) -> Task:
        """The task before the first step: the class means as rows, and the meta-learned weights."""
        regressor = {
            "regressor_weight": self.boxes.regressor.weight,
            "regressor_bias": self.boxes.regressor.bias,
        }
        return {"rows": self.prototypes(embeddings, support), **self.fc7(), **regressor}

    def inner_loss(self, embeddings: Tensor, support: Support, task: Task) -> Tensor:
        deltas = self.refined(self.parts(embeddings)[2], task)
        classes = super().inner_loss(embeddings, support, task)
        return classes + box_loss(deltas, support.labels, support.deltas)

    def step_size(self, name: str, step: int, n_way: int) -> Tensor:
        sizes = self.log_steps[name.split("_")[0]]
        size = sizes[min(step, len(sizes) - 1)].exp()
        return size * n_way if name == "rows" else size

    def move(self, task: Task, slope: Slope, memory: Task) -> tuple[Task, Task]:
        """Along v, which is remembered."""
        speed = slope.gradients
        if memory:
            speed = {name: self.momentum * memory[name] + new for name, new in speed.items()}
        return super().move(task, replace(slope, gradients=speed), memory)[0], speed
