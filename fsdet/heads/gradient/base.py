"""Heads that learn a task by steps along the gradient of the support's loss."""

from abc import abstractmethod
from dataclasses import dataclass

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.base import Head
from fsdet.heads.layers import RegionShape, averages, beside, unit
from fsdet.heads.options import (
    STRICT,
    Count,
    CountOrZero,
    NonNegative,
    Positive,
    ShareOptions,
)
from fsdet.heads.support import category_weights, class_means
from fsdet.types import Features, Prediction, Support, Task


@dataclass(frozen=True)
class Slope:
    """What an update rule knows of a step: the loss where the task stands, and which way it falls."""

    step: int  # j, from 0
    n_way: int
    loss: Tensor  # []
    gradients: Task  # dL / dtheta, by the names of the task's tensors


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)
class GradientOptions(ShareOptions):
    """Options of heads that adapt by gradient steps."""

    steps: Count = 5  # inner steps in training
    test_steps: CountOrZero = 10  # inner steps outside of training
    scale: Positive = 20.0  # of the cosine; learned from this start
    background: NonNegative = 4.0  # number of categories that background counts for in L


class GradientHead(Head):
    """theta_0 = `start`, theta_{j+1} = `move`(theta_j, dL(support; theta_j) / dtheta_j); the task is the last.

    L is the mean cross-entropy of the categories, background counting as several of them. In training mode the
    outer gradient passes through every inner one (`second_order`), or takes them for constants.

    Logits are scaled cosines of rows and the region's plain averages beside fc7. A row sees hardly more than
    its own category, one of N under the mean, so its steps are N times longer: any N is learned alike. The box
    regressor is no part of theta unless a head says so: a few boxes are not enough to learn from how far a
    region is off.
    """

    Options = GradientOptions

    second_order = True

    def __init__(self, shape: RegionShape, width: int, options: GradientOptions):
        super().__init__(shape, width)
        self.log_scale = nn.Parameter(torch.tensor(options.scale).log())
        self.log_share = nn.Parameter(torch.tensor(options.share).log())
        self.steps, self.test_steps = options.steps, options.test_steps
        self.background = options.background
        self.length = shape.averages + width  # D of a row
        self._widths = [shape.averages, width, width]

    def embed(self, features: Features) -> Tensor:
        parts = [averages(features), self.trunk.hidden(features), self.boxes(features)]
        return torch.cat(parts, 1)

    def parts(self, embeddings: Tensor) -> tuple[Tensor, ...]:
        """[R, ...] -> plain averages [R, C + E], what the task's fc7 reads [R, D], the box branch [R, D]."""
        return embeddings.split(self._widths, dim=1)

    def learned(self, hidden: Tensor, task: Task) -> Tensor:
        """fc7 under a task: [R, D] -> [R, D]."""
        return F.relu(F.linear(hidden, task["embedding_weight"], task["embedding_bias"]))

    def logits(self, plain: Tensor, hidden: Tensor, task: Task) -> Tensor:
        """[R, C + E], [R, D] -> [R, 1 + N] under a task."""
        learned = self.learned(hidden, task)
        # The cosine of `beside(...)` with the rows, in an order that touches [R, D] as seldom as it can.
        rows, share = unit(task["rows"]), self.log_share.exp()
        plain_rows, learned_rows = rows.split([plain.shape[1], learned.shape[1]], dim=1)
        length = (learned.square().sum(1, keepdim=True) + 1e-12).sqrt()  # smooth where all is 0
        cosine = plain @ plain_rows.T + share * (learned @ learned_rows.T) / length
        return self.log_scale.exp() * cosine / (1 + share.square()).sqrt()

    def refined(self, where: Tensor, task: Task) -> Tensor:
        """The box branch [R, D] -> deltas [R, 4] under a task."""
        return self.boxes.regressor(where)

    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        plain, hidden, where = self.parts(embeddings)
        return Prediction(self.logits(plain, hidden, task), self.refined(where, task))

    def fc7(self) -> Task:
        """The part of theta_0 that is fc7, as meta-learned."""
        return {"embedding_weight": self.trunk.last.weight, "embedding_bias": self.trunk.last.bias}

    def prototypes(self, embeddings: Tensor, support: Support) -> Tensor:
        """Rows that are class means under the meta-learned weights: [1 + N, D], of unit length."""
        plain, hidden, _ = self.parts(embeddings)
        what = beside(plain, self.learned(hidden, self.fc7()), self.log_share)
        return unit(class_means(what, support.labels, support.n_way))

    @abstractmethod
    def start(self, embeddings: Tensor, support: Support) -> Task:
        """theta_0: the tensors that steps move, `rows` [1 + N, D] among them."""

    def inner_loss(self, embeddings: Tensor, support: Support, task: Task) -> Tensor:
        """L of the support under a task on its way."""
        weights = category_weights(support.labels, support.n_way, self.background)
        plain, hidden, _ = self.parts(embeddings)
        logits = self.logits(plain, hidden, task)
        each = F.cross_entropy(logits, support.labels, reduction="none")
        return weights.to(each) @ each

    @abstractmethod
    def step_size(self, name: str, step: int, n_way: int) -> Tensor | float:
        """a_j of a tensor of the task, N times longer for rows: a number, or one for every element."""

    def move(self, task: Task, slope: Slope, memory: Task) -> tuple[Task, Task]:
        """theta_j -> theta_{j+1} = theta_j - a_j dL / dtheta_j, and what the rule remembers: nothing."""
        moved = {
            name: value - self.step_size(name, slope.step, slope.n_way) * slope.gradients[name]
            for name, value in task.items()
        }
        return moved, memory

    def learn(self, support: Support) -> Task:
        second = self.training and self.second_order
        with torch.enable_grad():
            embeddings = support.embeddings if self.training else support.embeddings.detach()
            task, memory = self.start(embeddings, support), Task()
            for step in range(self.steps if self.training else self.test_steps):
                loss = self.inner_loss(embeddings, support, task)
                found = torch.autograd.grad(
                    loss, list(task.values()), retain_graph=self.training, create_graph=second
                )
                gradients = dict(zip(task, found, strict=True))
                slope = Slope(step, support.n_way, loss, gradients)
                task, memory = self.move(task, slope, memory)
                if not self.training:
                    task = {name: value.detach().requires_grad_() for name, value in task.items()}
                    memory = detached(memory)
        return task if self.training else detached(task)


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)
class FixedStepOptions(GradientOptions):
    """Options of plain gradient descent."""

    inner_step: Positive = 0.01  # a; N times longer for rows


class FixedStepHead(GradientHead):
    """Plain descent: theta_{j+1} = theta_j - a dL(support; theta_j) / dtheta_j, one a for all tensors and steps."""

    Options = FixedStepOptions

    def __init__(self, shape: RegionShape, width: int, options: FixedStepOptions):
        super().__init__(shape, width, options)
        self.inner_step = options.inner_step

    def step_size(self, name: str, step: int, n_way: int) -> Tensor | float:
        return self.inner_step * n_way if name == "rows" else self.inner_step


class StartRows(nn.Module):
    """One learned row for background and one that every category starts from: any N, and no order of them.

    What counts of a row is its direction, so that its length is how far a step turns it: learned as well.
    Both rows begin at the diagonal, near all embeddings, which have hardly a negative element. The first steps
    then go where regions differ; from random rows they go, too far, where all regions are.
    """

    def __init__(self, length: int):
        super().__init__()
        self.rows = nn.Parameter(torch.full((2, length), length**-0.5))

    def forward(self, n_way: int) -> Tensor:
        """[1 + N, D]."""
        return torch.cat([self.rows[:1], self.rows[1:].expand(n_way, -1)])


def detached(task: Task) -> Task:
    """The same values without their history."""
    return {name: value.detach() for name, value in task.items()}
