"""Heads that learn a task by plain descent, from where base training ended."""

from abc import abstractmethod

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from fsdet.heads.base import Head, box_loss, region_losses
from fsdet.heads.layers import RegionShape
from fsdet.heads.options import (
    STRICT,
    CountOrZero,
    NonNegative,
    Options,
    Positive,
)
from fsdet.heads.support import category_weights
from fsdet.types import Prediction, Regions, Support, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FineTunedOptions(Options):
    """Options of the second stage: Adam on the full batch with a cosine schedule."""

    scale: Positive = 20.0  # of the logits
    steps: CountOrZero = 100
    learning_rate: Positive = 0.02
    weight_decay: NonNegative = 0.0  # towards the start
    background: NonNegative = 4.0  # number of categories that background counts for in the loss
    tune_boxes: bool = False  # whether the box regressor moves too


class FineTunedHead(Head):
    """A second stage that minimises the cross-entropy over a support set in what `start` gives, and that alone.

    Every category weighs alike in it, background as several. On demand the box regressor moves too.
    """

    Options = FineTunedOptions

    learns_from_episodes = False  # its second stage is the fine-tuning in `adapt`

    def __init__(self, shape: RegionShape, width: int, options: FineTunedOptions):
        super().__init__(shape, width)
        self.scale, self.steps = options.scale, options.steps
        self.learning_rate, self.weight_decay = options.learning_rate, options.weight_decay
        self.background, self.tune_boxes = options.background, options.tune_boxes

    def halves(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """What categories are told apart by, and what refines boxes."""
        what, where = embeddings.chunk(2, dim=1)
        return what, where

    @abstractmethod
    def start(self, what: Tensor, support: Support) -> Task:
        """All that moves but the regressor, before the first step, from the support's [S, D]."""

    def described(self, what: Tensor, task: Task) -> Tensor:
        """[R, D] -> [R, D], as layers that move see it: as it is."""
        return what

    @abstractmethod
    def logits(self, described: Tensor, task: Task) -> Tensor:
        """[R, D], by `described` -> [R, 1 + N]."""

    def more_losses(
        self, described: Tensor, support: Support, task: Task, step: int
    ) -> dict[str, Tensor]:
        """What else is minimised in a step, by name, from the support's [S, D], by `described`: nothing."""
        return {}

    def rate(self, name: str) -> float:
        """The learning rate of a tensor of the task."""
        return self.learning_rate

    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        what, where = self.halves(embeddings)
        deltas = F.linear(where, task["weight"], task["bias"])
        return Prediction(self.logits(self.described(what, task), task), deltas)

    def regressor(self) -> Task:
        """The part of a task that refines boxes, as base training left it."""
        return {"weight": self.boxes.regressor.weight, "bias": self.boxes.regressor.bias}

    def loss(self, query: Regions, task: Task) -> dict[str, Tensor]:
        embeddings = self.embed(query.features)
        support = Support(embeddings, query.labels, query.deltas, query.n_way)
        losses = region_losses(self.predict(embeddings, task), query.labels, query.deltas)
        described = self.described(self.halves(embeddings)[0], task)
        return losses | self.more_losses(described, support, task, step=0)

    def learn(self, support: Support) -> Task:
        what, where = self.halves(support.embeddings.detach())
        # A hundred steps in half the digits end elsewhere.
        with torch.enable_grad(), torch.autocast(support.embeddings.device.type, enabled=False):
            kind = torch.promote_types(what.dtype, torch.float32)
            what, where = what.to(kind).contiguous(), where.to(kind).contiguous()
            return self._descended(what, where, support)

    def _descended(self, what: Tensor, where: Tensor, support: Support) -> Task:
        weights = category_weights(support.labels, support.n_way, self.background).to(what)
        start, boxes = self.start(what, support), self.regressor()
        moved = {**start, **boxes} if self.tune_boxes else start
        task = {
            n: v.detach().clone().requires_grad_(n in moved) for n, v in (start | boxes).items()
        }
        optimizer = torch.optim.Adam([{"params": task[n], "lr": self.rate(n)} for n in moved])
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(self.steps, 1))
        for step in range(self.steps):
            described = self.described(what, task)
            logits = self.logits(described, task)
            loss = weights @ F.cross_entropy(logits, support.labels, reduction="none")
            loss = loss + sum(self.more_losses(described, support, task, step).values())
            if self.tune_boxes:
                deltas = F.linear(where, task["weight"], task["bias"])
                loss = loss + box_loss(deltas, support.labels, support.deltas)
            for name in start if self.weight_decay else ():
                loss = loss + self.weight_decay * (task[name] - start[name]).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return {name: value.detach() for name, value in task.items()}
