"""How a region is described, for categories to be told apart by angles."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.types import Features


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


class Background(nn.Module):
    """Background is many things and has no mean worth the name: it has learned rows beside the support's.

    Args:
        rows: how many.
        length: D of a description.
    """

    def __init__(self, rows: int, length: int):
        super().__init__()
        self.rows = nn.Parameter(torch.randn(rows, length))

    def forward(self, what: Tensor, logits: Tensor, scale: Tensor) -> Tensor:
        """Logits [R, 1 + N] under a task -> the same, background's the greatest of its own and the rows'."""
        empty = torch.cat([logits[:, :1], scaled_cosine(what, self.rows, scale)], 1)
        return torch.cat([empty.amax(1, keepdim=True), logits[:, 1:]], 1)
