"""Head: the interface of every few-shot learner, and the losses of labelled regions."""

from abc import ABC, abstractmethod

import torch
from pydantic import BaseModel, ConfigDict, field_validator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from fsdet.heads.layers import RegionShape, unit
from fsdet.heads.published_layers import trunk_and_boxes
from fsdet.types import Features, Prediction, Regions, Support, Task

MOST = 10_000  # of any number in the options; steps of a file of others must end


class Head(nn.Module, ABC):
    """Embeds regions, scores them against the categories of a task and refines their boxes.

    A head is used in three steps. `embed` does the work that no task changes, once per region. `learn` (or
    `adapt`, from region features) turns a support set into a task. `predict` scores embedded regions under a
    task. The head stores nothing of a task, so it serves any number of tasks side by side.

    Args:
        shape: of the region features.
        width: D of every layer. An embedding has two halves of it: one for the category, one for the box.
        options: hyper-parameters of the method, an instance of the head's `Options`.

    Attributes:
        learns_from_episodes: whether meta-training improves the head.
        version: raise it when a change alters what the class computes; experiments then recompute their cached
            results of it and of its sub-classes.
    """

    class Options(BaseModel):
        """Hyper-parameters of a head: the names, types and ranges that `head.args` accepts."""

        model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

        @field_validator("*")
        @classmethod
        def _bounded(cls, value: object) -> object:
            if isinstance(value, int | float) and value > MOST:
                raise ValueError(f"expected at most {MOST}, got {value:.6g}")
            return value

    options: Options
    learns_from_episodes = True
    version: int = 1

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__()
        self.options = options
        self.trunk, self.boxes = trunk_and_boxes(shape, width)

    @classmethod
    def create(cls, shape: RegionShape, width: int, n_base: int, options: Options) -> "Head":
        """Construct the head; a head with a row for each of the `n_base` base categories overrides this."""
        return cls(shape, width, options)

    def inherit(self, base: "Head") -> None:
        """Copy trunk and box branch of another head with the same shape and width."""
        self.trunk.load_state_dict(base.trunk.state_dict())
        self.boxes.load_state_dict(base.boxes.state_dict())

    @torch.no_grad()
    def interpolate(self, base: "Head", share: float) -> None:
        """Move trunk and box branch towards `base` (WiSE-FT, Wortsman 2022); `share` 1 ends at its weights.

        Episodes on few categories teach both to learn and to memorise these categories. Half-way to the base
        weights most of the first remains and most of the second is lost.
        """
        for layers, base_layers in ((self.trunk, base.trunk), (self.boxes, base.boxes)):
            pairs = zip(layers.parameters(), base_layers.parameters(), strict=True)
            for parameter, base_parameter in pairs:
                parameter.lerp_(base_parameter.to(parameter), share)

    def embed(self, features: Features) -> Tensor:
        """Embed the features of R regions: [R, 2 D], the same for every task.

        The class half has unit length, because categories are compared by angles.
        """
        return torch.cat([unit(self.trunk(features)), self.boxes(features)], 1)

    @abstractmethod
    def learn(self, support: Support) -> Task:
        """Learn `support.n_way` categories and background from embedded, labelled regions.

        In training mode, meta-trained heads are differentiable with respect to the embeddings and their
        own parameters.
        """

    def adapt(self, support: Regions) -> Task:
        """Learn `support.n_way` categories and background from region features: `embed`, then `learn`."""
        embeddings = self.embed(support.features)
        return self.learn(Support(embeddings, support.labels, support.deltas, support.n_way))

    @abstractmethod
    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        """[R, 2 D] -> logits [R, 1 + N] and deltas [R, 4] under `task`."""

    def forward(self, features: Features, task: Task) -> Prediction:
        """Features of R regions -> logits [R, 1 + N] and deltas [R, 4] under `task`."""
        return self.predict(self.embed(features), task)

    def loss(self, query: Regions, task: Task) -> dict[str, Tensor]:
        """Compute Fast R-CNN's two losses of labelled regions under a task."""
        return region_losses(self(query.features, task), query.labels, query.deltas)

    def episode(self, support: Regions, query: Regions) -> dict[str, Tensor]:
        """Compute the named losses of an episode; meta-training minimises their sum."""
        return self.loss(query, self.adapt(support))

    def optimizer(
        self, rate: float, own_rate: float, scalar_rate: float, decay: float
    ) -> Optimizer:
        """Create the optimizer for meta-training from the region bank.

        The box branch is not trained: base training saw far more boxes than a bank holds.

        Args:
            rate: learning rate of the layers that base training trained.
            own_rate: learning rate of the layers that only this head has.
            scalar_rate: learning rate of parameters named `log_...`: scales and step sizes, kept as
                logarithms. They are few and do not overfit.
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
    foreground = labels > 0
    loss = F.smooth_l1_loss(predicted[foreground], deltas[foreground], beta=1 / 9, reduction="sum")
    return loss / max(len(labels), 1)
