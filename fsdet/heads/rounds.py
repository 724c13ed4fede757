"""A support set as a sequence: in every round one region of each label."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fsdet.heads.support import class_means, places


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
