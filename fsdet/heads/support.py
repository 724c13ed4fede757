"""Operations on a support set by category: means, weights, subsampling, rounds."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fsdet.types import Support


def class_means(embeddings: Tensor, labels: Tensor, n_way: int) -> Tensor:
    """[S, D], [S] 0..N -> [1 + N, D], background first; zero where a class has no region."""
    one_hot = F.one_hot(labels, 1 + n_way).to(embeddings.dtype)  # [S, 1 + N]
    counts = one_hot.sum(0).clamp(min=1)
    return (one_hot.T @ embeddings) / counts[:, None]


def category_weights(labels: Tensor, n_way: int, background: float) -> Tensor:
    """Weights [S] of regions: those of a category add up to 1/N, those of background to `background`/N."""
    counts = torch.bincount(labels, minlength=1 + n_way).clamp(min=1)
    share = torch.full((1 + n_way,), 1.0 / n_way, device=labels.device)
    share[0] *= background
    return (share / counts)[labels]


def index_in_group(groups: Tensor) -> Tensor:
    """[R] -> [R]: the number of earlier rows with the same group."""
    order = torch.argsort(groups, stable=True)
    ordered = groups[order]
    index = torch.empty_like(groups)
    index[order] = torch.arange(len(groups), device=groups.device) - torch.searchsorted(
        ordered, ordered
    )
    return index


def subsample(support: Support, regions: int, background: int) -> Support:
    """Keep at most `regions` of each category and `background` of background, evenly spaced, in order.

    Regions of an object are neighbours: a category with at most `regions` objects keeps some of each.
    """
    counts = torch.bincount(support.labels, minlength=1 + support.n_way)
    limit = counts.clamp(max=regions)
    limit[0] = counts[0].clamp(max=background)
    share = (limit / counts.clamp(min=1)).double()[support.labels]
    index = index_in_group(support.labels)
    keep = ((index + 1) * share + 1e-6).floor() > (index * share + 1e-6).floor()
    return Support(
        support.embeddings[keep], support.labels[keep], support.deltas[keep], support.n_way
    )


@dataclass(frozen=True)
class Rounds:
    """A support set as T rounds, each with at most one embedding per label."""

    means: Tensor  # [T, 1 + N, D]; zero where a label has no region left
    counts: Tensor  # [T, 1 + N] int64: number of regions in the mean, 0 where none is left


def to_rounds(embeddings: Tensor, labels: Tensor, n_way: int, max_rounds: int) -> Rounds:
    """[S, D], [S] 0..N -> round t holds the t-th region of every label, in the order of the support.

    A label with more than `max_rounds` regions has them cut into `max_rounds` runs of neighbours, as even as
    possible. Neighbours are mostly regions of one object. A round then holds the mean of one run.
    """
    sizes = torch.bincount(labels, minlength=1 + n_way)
    num_rounds = int(sizes.max().clamp(max=max_rounds))
    turn = index_in_group(labels) * num_rounds // sizes.clamp(min=num_rounds)[labels]
    cells = turn * (1 + n_way) + labels
    counts = torch.bincount(cells, minlength=num_rounds * (1 + n_way))
    means = class_means(embeddings, cells, num_rounds * (1 + n_way) - 1)
    return Rounds(means.view(num_rounds, 1 + n_way, -1), counts.view(num_rounds, 1 + n_way))
