"""The box head moved by gradient steps that it was meta-trained to profit from."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.base import Head, RegionShape, above_zero, box_loss
from fsdet.heads.embedding import averages, beside, unit
from fsdet.heads.support import category_weights, class_means
from fsdet.types import Features, Prediction, Support, Task


class Maml(Head):
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
        super().__init__(shape, width)
        starts = {"rows": row_step, "embedding": embedding_step, "regressor": regressor_step}
        above_zero(scale=scale, share=share, steps=steps, row_step=row_step)
        above_zero(embedding_step=embedding_step, regressor_step=regressor_step)
        self.log_scale = nn.Parameter(torch.tensor(scale).log())
        self.log_share = nn.Parameter(torch.tensor(share).log())
        self.log_steps = nn.ParameterDict(
            {name: torch.full((steps,), start).log() for name, start in starts.items()}
        )
        self.steps, self.test_steps, self.momentum = steps, test_steps, momentum
        self.background, self.second_order = background, second_order
        self._widths = [shape.averages, width, width]

    def embed(self, features: Features) -> Tensor:
        parts = [averages(features), self.trunk.hidden(features), self.boxes(features)]
        return torch.cat(parts, 1)

    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        plain, hidden, where = embeddings.split(self._widths, dim=1)
        learned = F.relu(F.linear(hidden, task["embedding_weight"], task["embedding_bias"]))
        # The cosine of `beside(...)` with the rows, in an order that touches [R, D] as seldom as it can.
        rows, share = unit(task["rows"]), self.log_share.exp()
        plain_rows, learned_rows = rows.split([plain.shape[1], learned.shape[1]], dim=1)
        length = (learned.square().sum(1, keepdim=True) + 1e-12).sqrt()  # smooth where all is 0
        cosine = plain @ plain_rows.T + share * (learned @ learned_rows.T) / length
        return Prediction(
            self.log_scale.exp() * cosine / (1 + share.square()).sqrt(),
            F.linear(where, task["regressor_weight"], task["regressor_bias"]),
        )

    def start(self, embeddings: Tensor, support: Support) -> Task:
        """The task before the first step: the meta-learned weights, and the class means as rows."""
        plain, hidden, _ = embeddings.split(self._widths, dim=1)
        what = beside(plain, F.relu(self.trunk.last(hidden)), self.log_share)
        return {
            "rows": unit(class_means(what, support.labels, support.n_way)),
            "embedding_weight": self.trunk.last.weight,
            "embedding_bias": self.trunk.last.bias,
            "regressor_weight": self.boxes.regressor.weight,
            "regressor_bias": self.boxes.regressor.bias,
        }

    def inner_loss(self, embeddings: Tensor, support: Support, task: Task) -> Tensor:
        """L of the support under a task on its way."""
        weights = category_weights(support.labels, support.n_way, self.background)
        prediction = self.predict(embeddings, task)
        each = F.cross_entropy(prediction.logits, support.labels, reduction="none")
        return weights.to(each) @ each + box_loss(prediction.deltas, support.labels, support.deltas)

    def step_size(self, name: str, step: int, n_way: int) -> Tensor:
        """a_j of a tensor of the task."""
        sizes = self.log_steps[name.split("_")[0]]
        size = sizes[min(step, len(sizes) - 1)].exp()
        return size * n_way if name == "rows" else size

    def learn(self, support: Support) -> Task:
        second = self.training and self.second_order
        with torch.enable_grad():
            embeddings = support.embeddings if self.training else support.embeddings.detach()
            task = self.start(embeddings, support)
            speed = {name: torch.zeros_like(value) for name, value in task.items()}
            for step in range(self.steps if self.training else self.test_steps):
                loss = self.inner_loss(embeddings, support, task)
                gradients = torch.autograd.grad(
                    loss, list(task.values()), retain_graph=self.training, create_graph=second
                )
                for name, gradient in zip(task, gradients, strict=True):
                    speed[name] = self.momentum * speed[name] + gradient
                task = {
                    name: value - self.step_size(name, step, support.n_way) * speed[name]
                    for name, value in task.items()
                }
                if not self.training:
                    task = {name: value.detach().requires_grad_() for name, value in task.items()}
        return task if self.training else {name: value.detach() for name, value in task.items()}
