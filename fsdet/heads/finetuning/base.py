"""Base of heads that fine-tune a classifier on the support, from the weights of base training."""

from abc import abstractmethod

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from fsdet.heads.base import Head, box_loss, region_losses
from fsdet.heads.support import category_weights
from fsdet.types import Prediction, Regions, Support, Task


class FineTunedHead(Head):
    """A second stage that minimises the cross-entropy over a support set in the tensors of `initial_task`.

    Every category has the same weight, and background that of several. With `tune_boxes` the box regressor is
    fine-tuned too.
    """

    class Options(Head.Options):
        scale: PositiveFloat = 20.0  # of the embedding
        steps: NonNegativeInt = 100  # of the second stage (Adam, full batch, cosine decay)
        learning_rate: PositiveFloat = 0.02
        weight_decay: NonNegativeFloat = 0.0  # towards the initial task
        background: NonNegativeFloat = 4.0  # number of categories that background counts as
        tune_boxes: bool = False  # fine-tune the box regressor too

    options: Options
    learns_from_episodes = False  # its second stage is the fine-tuning in `adapt`

    def split(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Class embeddings, and the input of the box regressor."""
        class_half, box_half = embeddings.chunk(2, dim=1)
        return class_half, box_half

    @abstractmethod
    def initial_task(self, embeddings: Tensor, support: Support) -> Task:
        """The fine-tuned tensors before the first step, but the regressor, from class embeddings [S, D]."""

    def adapted(self, embeddings: Tensor, task: Task) -> Tensor:
        """Class embeddings [R, D] after the layers that the task fine-tunes (none here): [R, D]."""
        return embeddings

    @abstractmethod
    def logits(self, adapted: Tensor, task: Task) -> Tensor:
        """Adapted embeddings [R, D] -> [R, 1 + N]."""

    def extra_losses(
        self, adapted: Tensor, support: Support, task: Task, step: int
    ) -> dict[str, Tensor]:
        """Further named losses of a step, from the support's adapted embeddings [S, D] (none here)."""
        return {}

    def learning_rate(self, name: str) -> float:
        """The learning rate of a tensor of the task."""
        return self.options.learning_rate

    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        class_half, box_half = self.split(embeddings)
        deltas = F.linear(box_half, task["weight"], task["bias"])
        return Prediction(self.logits(self.adapted(class_half, task), task), deltas)

    def regressor(self) -> Task:
        """The box regressor of base training, as part of a task."""
        return {"weight": self.boxes.regressor.weight, "bias": self.boxes.regressor.bias}

    def loss(self, query: Regions, task: Task) -> dict[str, Tensor]:
        embeddings = self.embed(query.features)
        support = Support(embeddings, query.labels, query.deltas, query.n_way)
        losses = region_losses(self.predict(embeddings, task), query.labels, query.deltas)
        adapted = self.adapted(self.split(embeddings)[0], task)
        return losses | self.extra_losses(adapted, support, task, step=0)

    def learn(self, support: Support) -> Task:
        class_half, box_half = self.split(support.embeddings.detach())
        # A hundred steps accumulate the rounding errors of half precision.
        with torch.enable_grad(), torch.autocast(support.embeddings.device.type, enabled=False):
            dtype = torch.promote_types(class_half.dtype, torch.float32)
            class_half = class_half.to(dtype).contiguous()
            return self._fine_tune(class_half, box_half.to(dtype).contiguous(), support)

    def _fine_tune(self, class_half: Tensor, box_half: Tensor, support: Support) -> Task:
        options = self.options
        weights = category_weights(support.labels, support.n_way, options.background)
        weights = weights.to(class_half)
        start, regressor = self.initial_task(class_half, support), self.regressor()
        tuned = start | regressor if options.tune_boxes else start
        task = {
            name: value.detach().clone().requires_grad_(name in tuned)
            for name, value in (start | regressor).items()
        }
        optimizer = torch.optim.Adam(
            [{"params": task[name], "lr": self.learning_rate(name)} for name in tuned]
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(options.steps, 1))
        for step in range(options.steps):
            adapted = self.adapted(class_half, task)
            logits = self.logits(adapted, task)
            loss = weights @ F.cross_entropy(logits, support.labels, reduction="none")
            loss = loss + sum(self.extra_losses(adapted, support, task, step).values())
            if options.tune_boxes:
                deltas = F.linear(box_half, task["weight"], task["bias"])
                loss = loss + box_loss(deltas, support.labels, support.deltas)
            for name in start if options.weight_decay else ():
                loss = loss + options.weight_decay * (task[name] - start[name]).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return {name: value.detach() for name, value in task.items()}
