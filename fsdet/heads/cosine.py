"""TFA's cosine classifier: trained on base categories, fine-tuned on a few boxes of new ones."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.base import Head, RegionShape, above_zero, box_loss
from fsdet.heads.embedding import scaled_cosine
from fsdet.heads.support import category_weights, class_means
from fsdet.types import Prediction, Support, Task


class Cosine(Head):
    """Wang et al. 2020, "Frustratingly Simple Few-Shot Object Detection" (TFA w/cos).

    logit_c = scale * cos(z, w_c), background being a row like any other. Base training learns the embedding
    and the rows of the base categories (`base_task`); the second stage freezes the embedding and minimises
    the cross-entropy over a support set that weighs every category alike, starting each row at its class's
    mean direction (Qi et al. 2018), and, on demand, the box loss over the regressor.

    Args:
        shape, width: as of every head.
        n_base: how many categories base training has.
        scale: of the cosine.
        steps, learning_rate: of the second stage (Adam, full batch, cosine decay).
        weight_decay: pulls the rows towards where they started.
        background: how many categories background counts for in the second stage's loss.
        tune_boxes: whether the second stage moves the box regressor too.
    """

    learns_from_episodes = False  # its second stage is the fine-tuning in `adapt`

    def __init__(
        self,
        shape: RegionShape,
        width: int,
        n_base: int = 1,
        scale: float = 20.0,
        steps: int = 100,
        learning_rate: float = 0.02,
        weight_decay: float = 0.0,
        background: float = 4.0,
        tune_boxes: bool = False,
    ):
        super().__init__(shape, width)
        above_zero(scale=scale, learning_rate=learning_rate)
        self.rows = nn.Parameter(0.01 * torch.randn(1 + n_base, width))
        self.scale, self.steps, self.learning_rate = scale, steps, learning_rate
        self.weight_decay, self.background, self.tune_boxes = weight_decay, background, tune_boxes

    def base_task(self) -> Task:
        """The base categories as base training left them, differentiable."""
        regressor = self.boxes.regressor
        return {"rows": self.rows, "weight": regressor.weight, "bias": regressor.bias}

    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        what, where = embeddings.chunk(2, dim=1)
        return Prediction(
            scaled_cosine(what, task["rows"], self.scale),
            F.linear(where, task["weight"], task["bias"]),
        )

    def learn(self, support: Support) -> Task:
        what, where = (half.contiguous() for half in support.embeddings.detach().chunk(2, dim=1))
        start = F.normalize(class_means(what, support.labels, support.n_way), dim=-1)
        weights = category_weights(support.labels, support.n_way, self.background).to(what)
        regressor = self.boxes.regressor
        task = {"rows": start, "weight": regressor.weight, "bias": regressor.bias}
        moved = ["rows", "weight", "bias"] if self.tune_boxes else ["rows"]
        task = {n: v.detach().clone().requires_grad_(n in moved) for n, v in task.items()}
        optimizer = torch.optim.Adam([task[name] for name in moved], self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(self.steps, 1))
        for _ in range(self.steps):
            with torch.enable_grad():
                logits = scaled_cosine(what, task["rows"], self.scale)
                loss = weights @ F.cross_entropy(logits, support.labels, reduction="none")
                if self.tune_boxes:
                    deltas = F.linear(where, task["weight"], task["bias"])
                    loss = loss + box_loss(deltas, support.labels, support.deltas)
                if self.weight_decay:
                    loss = loss + self.weight_decay * (task["rows"] - start).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return {name: value.detach() for name, value in task.items()}
