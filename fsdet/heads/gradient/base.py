"""Base of heads that learn a task by gradient steps on the support's loss."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.base import Head
from fsdet.heads.layers import RegionShape, log_parameter, mean_features, unit, weighted_concat
from fsdet.heads.support import category_weights, class_means
from fsdet.types import Features, Prediction, Support, Task


@dataclass(frozen=True)
class InnerGradient:
    """Loss and gradients of one inner step: the input of an update rule."""

    step: int  # j, from 0
    n_way: int
    loss: Tensor  # []
    gradients: Task  # dL / dtheta, by the names of the task's tensors


class GradientHead(Head):
    """theta_0 = `initial_task`, theta_{j+1} = `update`(theta_j, dL(support; theta_j) / dtheta_j).

    The task is the last theta. L is the mean cross-entropy of the categories, with background counting as
    several of them. In training mode the outer gradient passes through every inner one (`second_order`), or
    takes them as constants.

    Logits are scaled cosines of rows with the region's mean-pooled features and fc7. A row's gradient comes
    mostly from its own category, which is one of N in the mean, so its steps are N times longer: learning is
    then the same for any N. Theta has no box regressor unless a head adds one: a few boxes are too few to
    learn box refinement from.
    """

    class Options(Head.Options):
        steps: PositiveInt = 5  # inner steps in training
        test_steps: NonNegativeInt = 10  # inner steps in evaluation
        scale: PositiveFloat = 20.0  # initial scale of the cosine
        share: PositiveFloat = 1.2  # initial weight of fc7 relative to the mean-pooled features
        background: NonNegativeFloat = 4.0  # number of categories that background counts as in L

    options: Options
    second_order = True

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        self.log_scale = log_parameter(options.scale)
        self.log_share = log_parameter(options.share)
        self.length = shape.mean_length + width  # D of a row
        self._widths = [shape.mean_length, width, width]

    def embed(self, features: Features) -> Tensor:
        parts = [mean_features(features), self.trunk.hidden(features), self.boxes(features)]
        return torch.cat(parts, 1)

    def split(self, embeddings: Tensor) -> tuple[Tensor, ...]:
        """Mean-pooled features [R, C + E], input of the task's fc7 [R, D], box branch [R, D]."""
        return embeddings.split(self._widths, dim=1)

    def fc7(self, hidden: Tensor, task: Task) -> Tensor:
        """Apply the fc7 of a task: [R, D] -> [R, D]."""
        return F.relu(F.linear(hidden, task["embedding_weight"], task["embedding_bias"]))

    def logits(self, means: Tensor, hidden: Tensor, task: Task) -> Tensor:
        """Mean-pooled features [R, C + E] and input of fc7 [R, D] -> logits [R, 1 + N] under a task."""
        return self.scaled_products(means, hidden, task, unit(task["rows"]))

    def scaled_products(self, means: Tensor, hidden: Tensor, task: Task, rows: Tensor) -> Tensor:
        """`scale` times the scalar products of class embeddings of regions and rows [1 + N, D]: [R, 1 + N].

        Equal to those of `weighted_concat`, with as few passes over [R, D] as possible.
        """
        learned, share = self.fc7(hidden, task), self.log_share.exp()
        mean_rows, learned_rows = rows.split([means.shape[1], learned.shape[1]], dim=1)
        length = (learned.square().sum(1, keepdim=True) + 1e-12).sqrt()  # smooth at 0
        sums = means @ mean_rows.T + share * (learned @ learned_rows.T) / length
        return self.log_scale.exp() * sums / (1 + share.square()).sqrt()

    def box_deltas(self, box_embeddings: Tensor, task: Task) -> Tensor:
        """Output of the box branch [R, D] -> deltas [R, 4] under a task."""
        return self.boxes.regressor(box_embeddings)

    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        means, hidden, box_embeddings = self.split(embeddings)
        return Prediction(self.logits(means, hidden, task), self.box_deltas(box_embeddings, task))

    def fc7_weights(self) -> Task:
        """The fc7 part of theta_0, meta-learned."""
        return {"embedding_weight": self.trunk.last.weight, "embedding_bias": self.trunk.last.bias}

    def class_embeddings(self, embeddings: Tensor) -> Tensor:
        """[R, D] of unit length under the meta-learned fc7."""
        means, hidden, _ = self.split(embeddings)
        return weighted_concat(means, self.fc7(hidden, self.fc7_weights()), self.log_share)

    def prototypes(self, embeddings: Tensor, support: Support) -> Tensor:
        """Class means under the meta-learned weights: rows [1 + N, D] of unit length."""
        means = class_means(self.class_embeddings(embeddings), support.labels, support.n_way)
        return unit(means)

    @abstractmethod
    def initial_task(self, embeddings: Tensor, support: Support) -> Task:
        """theta_0: the tensors that steps move, `rows` [1 + N, D] among them."""

    def inner_loss(self, embeddings: Tensor, support: Support, task: Task) -> Tensor:
        """L of the support under an intermediate task."""
        weights = category_weights(support.labels, support.n_way, self.options.background)
        means, hidden, _ = self.split(embeddings)
        logits = self.logits(means, hidden, task)
        losses = F.cross_entropy(logits, support.labels, reduction="none")
        return weights.to(losses) @ losses

    @abstractmethod
    def step_size(self, name: str, step: int, n_way: int) -> Tensor | float:
        """a_j of a tensor of the task, N times longer for rows: a number, or one for every element."""

    def update(self, task: Task, inner: InnerGradient, state: Task) -> tuple[Task, Task]:
        """Return theta_{j+1} = theta_j - a_j dL / dtheta_j and the new state of the rule (none here)."""
        updated = {
            name: value - self.step_size(name, inner.step, inner.n_way) * inner.gradients[name]
            for name, value in task.items()
        }
        return updated, state

    def learn(self, support: Support) -> Task:
        second_order = self.training and self.second_order
        options = self.options
        with torch.enable_grad():
            embeddings = support.embeddings if self.training else support.embeddings.detach()
            task, state = self.initial_task(embeddings, support), Task()
            for step in range(options.steps if self.training else options.test_steps):
                loss = self.inner_loss(embeddings, support, task)
                gradients = torch.autograd.grad(
                    loss,
                    list(task.values()),
                    retain_graph=self.training,
                    create_graph=second_order,
                )
                by_name = dict(zip(task, gradients, strict=True))
                inner = InnerGradient(step, support.n_way, loss, by_name)
                task, state = self.update(task, inner, state)
                if not self.training:
                    task = {name: value.detach().requires_grad_() for name, value in task.items()}
                    state = detached(state)
        return task if self.training else detached(task)


class FixedStepHead(GradientHead):
    """Plain descent: theta_{j+1} = theta_j - a dL(support; theta_j) / dtheta_j, one a for all tensors and steps."""

    class Options(GradientHead.Options):
        inner_step: PositiveFloat = 0.01  # a; N times longer for rows

    options: Options

    def step_size(self, name: str, step: int, n_way: int) -> Tensor | float:
        return self.options.inner_step * n_way if name == "rows" else self.options.inner_step


class StartRows(nn.Module):
    """One learned row for background and one that every category starts from, for any N and order.

    Only the direction of a row affects logits; its learned length sets how far a step turns it. Both rows start
    at the diagonal, near all embeddings, which have few negative elements. The first steps then follow
    differences between regions. Random rows would first move, too far, towards the mean of all regions.
    """

    def __init__(self, length: int):
        super().__init__()
        self.rows = nn.Parameter(torch.full((2, length), length**-0.5))

    def forward(self, n_way: int) -> Tensor:
        """[1 + N, D]."""
        return expand_rows(self.rows, n_way)


def expand_rows(rows: Tensor, n_way: int) -> Tensor:
    """Background's row and the one that categories share: [2, D] -> [1 + N, D]."""
    return torch.cat([rows[:1], rows[1:].expand(n_way, -1)])


def detached(task: Task) -> Task:
    """The same values without gradient history."""
    return {name: value.detach() for name, value in task.items()}
