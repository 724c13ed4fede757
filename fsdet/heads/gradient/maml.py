"""The box head moved by gradient steps that it was meta-trained to profit from."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.base import above_zero, box_loss
from fsdet.heads.gradient.base import GradientHead, Slope
from fsdet.heads.layers import RegionShape
from fsdet.types import Support, Task


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

    Args:
        shape, width: as of every head.
        steps: inner steps in training.
        test_steps: inner steps outside of it; those after `steps` are as long as the last.
        row_step, embedding_step, regressor_step: where the learned step sizes start.
        momentum: m.
        scale: of the cosine, learned from there on.
        share: weight of fc7 beside the averages, learned from there on.
        background: how many categories background counts for in L.
        second_order: whether meta-training differentiates through the inner gradients.
    """

    def __init__(
        self,
        shape: RegionShape,
        width: int,
        steps: int = 5,
        test_steps: int = 20,
        row_step: float = 0.03,
        embedding_step: float = 0.01,
        regressor_step: float = 1e-6,
        momentum: float = 0.9,
        scale: float = 20.0,
        share: float = 1.2,
        background: float = 4.0,
        second_order: bool = True,
    ):
        super().__init__(shape, width, steps, test_steps, scale, share, background)
        starts = {"rows": row_step, "embedding": embedding_step, "regressor": regressor_step}
        above_zero(row_step=row_step, embedding_step=embedding_step, regressor_step=regressor_step)
        self.log_steps = nn.ParameterDict(
            {name: torch.full((steps,), start).log() for name, start in starts.items()}
        )
        self.momentum, self.second_order = momentum, second_order

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
