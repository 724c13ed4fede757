"""The task side: what every method answers, and the pieces that two or more of them use."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from fsdet.heads.layers import BoxBranch, RegionShape, Trunk, unit
from fsdet.heads.options import Options
from fsdet.types import Features, Prediction, Regions, Support, Task


class Head(nn.Module, ABC):
    """Embeds a region, scores it against a task's categories and refines its box.

    A head is used in three steps: `embed` does what no task changes (once per region, whatever is asked of
    it afterwards), `learn` (`adapt`, from plain regions) turns a support set into a task, `predict` answers
    for embedded regions under a task. Nothing of a task is kept on the head, so a head serves any number of
    tasks side by side.

    Args:
        shape: of the features.
        width: D, of every layer; an embedding is two halves of it, one for the category, one for the box.

    Attributes:
        learns_from_episodes: whether the head profits from meta-training.
        Options: the dataclass of the head's options.
        version: raise it when a change alters what the class computes; experiments then compute their
            cached results again.
    """

    learns_from_episodes = True
    version = 1
    Options: type[Options] = Options

    def __init__(self, shape: RegionShape, width: int):
        super().__init__()
        self.trunk = Trunk(shape, width)
        self.boxes = BoxBranch(shape, width)

    @classmethod
    def create(cls, shape: RegionShape, width: int, n_base: int, options: Any) -> "Head":
        """A head with its options; heads with rows of the `n_base` base categories override this."""
        return cls(shape, width, options)  # type: ignore[call-arg]

    def inherit(self, base: "Head") -> None:
        """Start from the layers that another head, of the same shape and width, has learned."""
        self.trunk.load_state_dict(base.trunk.state_dict())
        self.boxes.load_state_dict(base.boxes.state_dict())

    @torch.no_grad()
    def retreat(self, before: "Head", share: float) -> None:
        """Go the `share` of the way back to the layers that training started from (WiSE-FT, Wortsman 2022).

        Episodes on few categories teach to learn, and to learn these categories by heart; half-way there the
        first is kept and most of the second lost.
        """
        for mine, start in ((self.trunk, before.trunk), (self.boxes, before.boxes)):
            for parameter, old in zip(mine.parameters(), start.parameters(), strict=True):
                parameter.lerp_(old.to(parameter), share)

    def embed(self, features: Features) -> Tensor:
        """Features of R regions -> [R, 2 D]: the part of the work that is the same for every task.

        The half for the category is of unit length: categories are told apart by angles.
        """
        return torch.cat([unit(self.trunk(features)), self.boxes(features)], 1)

    @abstractmethod
    def learn(self, support: Support) -> Task:
        """Learn `support.n_way` categories, and background, from embedded regions with labels.

        Differentiable with respect to the embeddings, and to the head's parameters, where the method is
        meta-trained and the head in training mode.
        """

    def adapt(self, support: Regions) -> Task:
        """Learn `support.n_way` categories, and background, from labelled regions: embed, then `learn`."""
        embeddings = self.embed(support.features)
        return self.learn(Support(embeddings, support.labels, support.deltas, support.n_way))

    @abstractmethod
    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        """[R, 2 D] -> logits [R, 1 + N] and deltas [R, 4] under `task`."""

    def forward(self, features: Features, task: Task) -> Prediction:
        """Features of R regions -> logits [R, 1 + N] and deltas [R, 4] under `task`."""
        return self.predict(self.embed(features), task)

    def loss(self, query: Regions, task: Task) -> dict[str, Tensor]:
        """Fast R-CNN's two losses of labelled regions under a task."""
        return region_losses(self(query.features, task), query.labels, query.deltas)

    def episode(self, support: Regions, query: Regions) -> dict[str, Tensor]:
        """What an episode costs: named losses, whose sum meta-training descends."""
        return self.loss(query, self.adapt(support))

    def optimizer(
        self, rate: float, own_rate: float, scalar_rate: float, decay: float
    ) -> Optimizer:
        """Who moves the head in meta-training from the bank.

        The box branch stays what base training made it, from far more boxes than a bank holds.

        Args:
            rate: of the layers that base training has made.
            own_rate: of layers that only this head has, which start from nothing.
            scalar_rate: of scales and step sizes, which heads keep as logarithms, in parameters `log_...`:
                they are few and far from overfitting.
            decay: weight decay of layers.
        """
        layers, own, scalars = [], [], []
        for name, parameter in self.named_parameters():
            if any(part.startswith("log_") for part in name.split(".")):
                scalars.append(parameter)
            elif name.startswith("trunk."):
                layers.append(parameter)
            elif not name.startswith("boxes."):
                own.append(parameter)
        groups = [
            {"params": layers, "lr": rate, "weight_decay": decay},
            {"params": own, "lr": own_rate, "weight_decay": decay},
            {"params": scalars, "lr": scalar_rate, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW([group for group in groups if group["params"]])


def region_losses(prediction: Prediction, labels: Tensor, deltas: Tensor) -> dict[str, Tensor]:
    """Cross-entropy over all regions and smooth L1 over foreground ones (Girshick 2015).

    Equal to `torchvision.models.detection.roi_heads.fastrcnn_loss` for class-agnostic boxes: the box loss
    is summed over coordinates and divided by the number of all regions.
    """
    return {
        "loss_class": F.cross_entropy(prediction.logits, labels),
        "loss_box": box_loss(prediction.deltas, labels, deltas),
    }


def box_loss(predicted: Tensor, labels: Tensor, deltas: Tensor) -> Tensor:
    """Smooth L1 of [R, 4] over foreground regions, summed over coordinates, divided by all regions."""
    objects = labels > 0
    loss = F.smooth_l1_loss(predicted[objects], deltas[objects], beta=1 / 9, reduction="sum")
    return loss / max(len(labels), 1)
