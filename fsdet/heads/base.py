"""The task side: what every method answers, and the pieces that two or more of them use."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.types import Prediction, Regions, Task


class Head(nn.Module, ABC):
    """Embeds a region, scores it against a task's categories and refines its box.

    A head is used in three steps: `embed` does what no task changes (once per region, whatever is asked of
    it afterwards), `adapt` turns support regions into a task, `predict` answers for embedded regions under
    a task. Nothing of a task is kept on the head, so a head serves any number of tasks side by side.
    """

    @abstractmethod
    def embed(self, features: Tensor) -> Tensor:
        """[R, C, P, P] -> [R, D]: the part of the work that is the same for every task."""

    @abstractmethod
    def adapt(self, support: Regions) -> Task:
        """Learn `support.n_way` categories, and background, from labelled regions.

        Differentiable with respect to the head's parameters where the method is meta-trained.
        """

    @abstractmethod
    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        """[R, D] -> logits [R, 1 + N] and deltas [R, 4] under `task`."""

    def forward(self, features: Tensor, task: Task) -> Prediction:
        """[R, C, P, P] -> logits [R, 1 + N] and deltas [R, 4] under `task`."""
        return self.predict(self.embed(features), task)

    def loss(self, query: Regions, task: Task) -> dict[str, Tensor]:
        """Fast R-CNN's two losses of labelled regions under a task."""
        return region_losses(self(query.features, task), query.labels, query.deltas)


def region_losses(prediction: Prediction, labels: Tensor, deltas: Tensor) -> dict[str, Tensor]:
    """Cross-entropy over all regions and smooth L1 over foreground ones (Girshick 2015).

    Equal to `torchvision.models.detection.roi_heads.fastrcnn_loss` for class-agnostic boxes: the box loss
    is summed over coordinates and divided by the number of all regions.
    """
    foreground = labels > 0
    box = F.smooth_l1_loss(
        prediction.deltas[foreground], deltas[foreground], beta=1 / 9, reduction="sum"
    )
    return {
        "loss_class": F.cross_entropy(prediction.logits, labels),
        "loss_box": box / max(len(labels), 1),
    }


class Trunk(nn.Sequential):
    """Two fully connected layers over a pooled region: [R, C, P, P] -> [R, D] (Faster R-CNN's fc6, fc7)."""

    def __init__(self, in_features: int, width: int):
        super().__init__(
            nn.Flatten(),
            nn.Linear(in_features, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
        )


def box_regressor(width: int) -> nn.Linear:
    """[R, D] -> [R, 4], class-agnostic, starting near zero as Fast R-CNN does."""
    layer = nn.Linear(width, 4)
    nn.init.normal_(layer.weight, std=0.001)
    nn.init.zeros_(layer.bias)
    return layer


def class_means(embeddings: Tensor, labels: Tensor, n_way: int) -> Tensor:
    """[S, D], [S] 0..N -> [1 + N, D], background first; zero where a class has no region."""
    one_hot = F.one_hot(labels, 1 + n_way).to(embeddings.dtype)  # [S, 1 + N]
    counts = one_hot.sum(0).clamp(min=1)
    return (one_hot.T @ embeddings) / counts[:, None]


def scaled_cosine(embeddings: Tensor, rows: Tensor, scale: Tensor | float) -> Tensor:
    """[R, D], [1 + N, D] -> [R, 1 + N]: `scale` times the cosine between every region and every row."""
    return scale * F.normalize(embeddings, dim=-1) @ F.normalize(rows, dim=-1).T


def balanced_weights(labels: Tensor, n_way: int, background: float) -> Tensor:
    """[S] -> [S] weights that sum to 1: background gets the share `background`, the categories the rest equally."""
    counts = torch.bincount(labels, minlength=1 + n_way).to(torch.float32)
    share = torch.where(counts > 0, (1 - background) / max(int((counts[1:] > 0).sum()), 1), 0.0)
    share[0] = background if counts[0] > 0 else 0.0
    weights = (share / counts.clamp(min=1))[labels]
    return weights / weights.sum()
