"""Layers that embed regions, and the cosine that compares embeddings."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.types import Features


def unit(x: Tensor) -> Tensor:
    """x / |x| along the last dimension, with finite derivatives of every order at 0.

    A category without support regions has a mean of 0.
    """
    return x / (x.square().sum(-1, keepdim=True) + 1e-12).sqrt()


def log_parameter(value: float) -> nn.Parameter:
    """Create a learned positive number, kept as its logarithm."""
    return nn.Parameter(torch.tensor(value).log())


def mean_features(features: Features) -> Tensor:
    """Mean-pooled features of all levels of pyramid and backbone: [R, C + E] of unit length."""
    pyramid = F.normalize(features.maps.mean((2, 3)), dim=-1)
    return F.normalize(torch.cat([pyramid, features.means], 1), dim=-1)


def weighted_concat(means: Tensor, learned: Tensor, log_share: Tensor) -> Tensor:
    """[R, C + E], [R, D] -> [R, C + E + D] of unit length; `learned` has exp(log_share) times the weight.

    Layers trained on base categories discard most of what distinguishes other categories. The mean-pooled
    features keep it.
    """
    share = log_share.exp()
    return torch.cat([means, share * unit(learned)], 1) / (1 + share.square()).sqrt()


def scaled_cosine(embeddings: Tensor, rows: Tensor, scale: Tensor | float) -> Tensor:
    """[R, D] of unit length, [1 + N, D] -> [R, 1 + N]: `scale` times the cosine of every region and row."""
    return embeddings @ (scale * F.normalize(rows, dim=-1)).T


@dataclass(frozen=True)
class RegionShape:
    """The sizes of region features."""

    channels: int  # C of the maps
    side: int  # P of the maps
    means: tuple[int, ...]  # channels of every level of the backbone; E is their sum
    # after pooling: fsdet, 2fc or 4conv1fc of a published detector, or averages: none
    layers: str = "fsdet"

    @property
    def mean_length(self) -> int:
        """C + E, the length of `mean_features`."""
        return self.channels + sum(self.means)

    @property
    def bytes(self) -> int:
        """Size of the stored float16 features of one region."""
        return 2 * (self.channels * self.side**2 + sum(self.means))


class Trunk(nn.Module):
    """Faster R-CNN's fc6 and fc7 over maps and means: features of R regions -> [R, D]."""

    first: nn.Module

    def __init__(self, shape: RegionShape, width: int):
        super().__init__()
        self.first = nn.Linear(shape.channels * shape.side**2 + sum(shape.means), width)
        self.last = nn.Linear(width, width)

    def hidden(self, features: Features) -> Tensor:
        """The output of fc6: [R, D]."""
        return F.relu(self.first(torch.cat([features.maps.flatten(1), features.means], 1)))

    def forward(self, features: Features) -> Tensor:
        return F.relu(self.last(self.hidden(features)))


class BoxBranch(nn.Module):
    """Class-agnostic box regression: flattened maps -> [R, D] -> deltas [R, 4]."""

    first: nn.Module

    def __init__(self, shape: RegionShape, width: int):
        super().__init__()
        self.first = nn.Linear(shape.channels * shape.side**2, width)
        self.regressor = nn.Linear(width, 4)
        nn.init.normal_(self.regressor.weight, std=0.001)
        nn.init.zeros_(self.regressor.bias)

    def forward(self, features: Features) -> Tensor:
        """The input of the regressor, [R, D]; a task may have a regressor of its own."""
        return F.relu(self.first(features.maps.flatten(1)))

    @torch.no_grad()
    def fit(self, objects: Features, deltas: Tensor, decay: float = 10.0) -> None:
        """Fit the regressor by ridge regression.

        Args:
            objects: features of R regions of objects.
            deltas: their targets, [R, 4].
            decay: added to the diagonal of the normal equations.
        """
        inputs = self(objects).double()
        inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)
        gram = inputs.T @ inputs
        gram.diagonal().add_(decay)
        solved = torch.linalg.solve(gram, inputs.T @ deltas.to(inputs)).to(deltas.dtype)
        self.regressor.weight.copy_(solved[:-1].T)
        self.regressor.bias.copy_(solved[-1])


class Background(nn.Module):
    """Learned background rows, used with the background row of a task.

    Background is too varied for one mean.

    Args:
        rows: number of learned rows.
        length: D of a class embedding.
    """

    def __init__(self, rows: int, length: int):
        super().__init__()
        self.rows = nn.Parameter(torch.randn(rows, length))

    def forward(self, embeddings: Tensor, logits: Tensor, scale: Tensor) -> Tensor:
        """Raise the background logit of [R, 1 + N] to the greatest of its own and those of the learned rows."""
        background = torch.cat([logits[:, :1], scaled_cosine(embeddings, self.rows, scale)], 1)
        return torch.cat([background.amax(1, keepdim=True), logits[:, 1:]], 1)
