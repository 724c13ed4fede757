"""A support set by category: means, weights, and no more regions than wanted."""

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
    """[S] -> [S] weights: 1/N for the mean over each category's regions, `background`/N for that of background."""
    counts = torch.bincount(labels, minlength=1 + n_way).clamp(min=1)
    share = torch.full((1 + n_way,), 1.0 / n_way, device=labels.device)
    share[0] *= background
    return (share / counts)[labels]


def places(groups: Tensor) -> Tensor:
    """[R] -> [R]: how many of the same group come before each row."""
    order = torch.argsort(groups, stable=True)
    ranked = groups[order]
    place = torch.empty_like(groups)
    place[order] = torch.arange(len(groups), device=groups.device) - torch.searchsorted(
        ranked, ranked
    )
    return place


def spread(support: Support, regions: int, background: int) -> Support:
    """`regions` of each category at most and `background` of background, evenly spaced, in the same order.

    The regions of an object follow each other: where there are more objects than one in this many, none is
    left out.
    """
    counts = torch.bincount(support.labels, minlength=1 + support.n_way)
    limit = counts.clamp(max=regions)
    limit[0] = counts[0].clamp(max=background)
    share, place = (limit / counts.clamp(min=1)).double()[support.labels], places(support.labels)
    keep = ((place + 1) * share + 1e-6).floor() > (place * share + 1e-6).floor()
    return Support(
        support.embeddings[keep], support.labels[keep], support.deltas[keep], support.n_way
    )


@dataclass(frozen=True)
class Rounds:
    """What is read side by side, round after round; T of them."""

    what: Tensor  # [T, 1 + N, D]; zero where a label has no region left
    counts: Tensor  # [T, 1 + N] int64: how many regions that is the mean of, 0 where none is left


def in_rounds(what: Tensor, labels: Tensor, n_way: int, most: int) -> Rounds:
    """[S, D], [S] 0..N -> round t holds the t-th region of every label, in the order of the support.

    A label with more than `most` regions, most of them of a few objects, has them cut into `most` runs of
    neighbours, as even as can be; a round holds the mean of one, so that all are read.
    """
    sizes = torch.bincount(labels, minlength=1 + n_way)
    length = int(sizes.max().clamp(max=most))
    turn = places(labels) * length // sizes.clamp(min=length)[labels]
    cells = turn * (1 + n_way) + labels
    counts = torch.bincount(cells, minlength=length * (1 + n_way))
    means = class_means(what, cells, length * (1 + n_way) - 1)
    return Rounds(means.view(length, 1 + n_way, -1), counts.view(length, 1 + n_way))
