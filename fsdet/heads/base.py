"""The task side: what every method answers, and the pieces that two or more of them use."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.errors import InputError
from fsdet.types import Features, Prediction, Regions, Support, Task


@dataclass(frozen=True)
class RegionShape:
    """What a head must know of the features it gets."""

    channels: int  # C of the maps
    side: int  # P of the maps
    means: tuple[int, ...]  # channels of every level of the backbone; E is their sum

    @property
    def averages(self) -> int:
        """C + E."""
        return self.channels + sum(self.means)

    @property
    def bytes(self) -> int:
        """Of a region's features as they are stored, float16."""
        return 2 * (self.channels * self.side**2 + sum(self.means))


class Trunk(nn.Module):
    """What a region shows -> [R, D]: Faster R-CNN's fc6 and fc7, over the maps and the means."""

    def __init__(self, shape: RegionShape, width: int):
        super().__init__()
        self.first = nn.Linear(shape.channels * shape.side**2 + sum(shape.means), width)
        self.last = nn.Linear(width, width)

    def hidden(self, features: Features) -> Tensor:
        """The first layer: [R, D]."""
        return F.relu(self.first(torch.cat([features.maps.flatten(1), features.means], 1)))

    def forward(self, features: Features) -> Tensor:
        return F.relu(self.last(self.hidden(features)))


class BoxBranch(nn.Module):
    """Where in a region its object is: the flattened maps -> [R, D] -> deltas [R, 4], class-agnostic."""

    def __init__(self, shape: RegionShape, width: int):
        super().__init__()
        self.first = nn.Linear(shape.channels * shape.side**2, width)
        self.regressor = nn.Linear(width, 4)
        nn.init.normal_(self.regressor.weight, std=0.001)
        nn.init.zeros_(self.regressor.bias)

    def forward(self, features: Features) -> Tensor:
        """[R, D]; the regressor is the task's."""
        return F.relu(self.first(features.maps.flatten(1)))


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
    """

    learns_from_episodes = True

    def __init__(self, shape: RegionShape, width: int):
        super().__init__()
        self.trunk = Trunk(shape, width)
        self.boxes = BoxBranch(shape, width)

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


def above_zero(**arguments: float) -> None:
    """An InputError that names the first argument that is not above zero."""
    for name, value in arguments.items():
        if not value > 0:
            raise InputError(f"{name}: expected above 0, got {value}")


def class_means(embeddings: Tensor, labels: Tensor, n_way: int) -> Tensor:
    """[S, D], [S] 0..N -> [1 + N, D], background first; zero where a class has no region."""
    one_hot = F.one_hot(labels, 1 + n_way).to(embeddings.dtype)  # [S, 1 + N]
    counts = one_hot.sum(0).clamp(min=1)
    return (one_hot.T @ embeddings) / counts[:, None]


def unit(x: Tensor) -> Tensor:
    """x / |x| along the last dimension, with derivatives of every order at 0: a category may lack regions."""
    return x / (x.square().sum(-1, keepdim=True) + 1e-12).sqrt()


def averages(features: Features) -> Tensor:
    """[R, C + E]: the averages of every level of backbone and pyramid over a region, together of unit length."""
    pyramid = F.normalize(features.maps.mean((2, 3)), dim=-1)
    return F.normalize(torch.cat([pyramid, features.means], 1), dim=-1)


def beside(averages: Tensor, learned: Tensor, log_share: Tensor) -> Tensor:
    """[R, C + E], [R, D] -> [R, C + E + D] of unit length: `learned` weighs exp(log_share) times the averages.

    Layers that were trained on base categories tell these apart and little else; what they throw away is in
    the averages, beside them.
    """
    share = log_share.exp()
    return torch.cat([averages, share * unit(learned)], 1) / (1 + share.square()).sqrt()


def scaled_cosine(embeddings: Tensor, rows: Tensor, scale: Tensor | float) -> Tensor:
    """[R, D] of unit length, [1 + N, D] -> [R, 1 + N]: `scale` times the cosine of every region and every row."""
    return embeddings @ (scale * F.normalize(rows, dim=-1)).T


def category_weights(labels: Tensor, n_way: int, background: float) -> Tensor:
    """[S] -> [S] weights: 1/N for the mean over each category's regions, `background`/N for that of background."""
    counts = torch.bincount(labels, minlength=1 + n_way).clamp(min=1)
    share = torch.full((1 + n_way,), 1.0 / n_way, device=labels.device)
    share[0] *= background
    return (share / counts)[labels]
