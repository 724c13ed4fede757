"""Chimeras: regions that join parts of two categories and count as a category of their own."""

import torch
from torch import Tensor
from torch.nn import functional as F

from fsdet.types import Regions


def splice(first: Regions, second: Regions, mask: Tensor, levels: tuple[int, ...]) -> Regions:
    """Regions that show `first` where the mask is true and `second` elsewhere, with the labels of `first`.

    A head memorises a dozen base categories, and an embedding that memorised them does not separate others.
    Pairs of them add hundreds of categories. The idea is CutMix's (Yun et al. 2019), but each pair has a label of
    its own. The mean feature of a spliced region is the mean of its parts weighted by area. Box targets are
    weighted by area too: each part is near the box of its own object.

    Args:
        mask: [R, P, P] bool; all true leaves a region unchanged.
        levels: channels of each level in the mean features, which are normalised by level.
    """
    share = mask.float().mean((1, 2))[:, None]  # [R, 1]
    mixed = share * first.features.means + (1 - share) * second.features.means
    means = torch.cat([F.normalize(level, dim=-1) for level in mixed.split(levels, 1)], 1)
    maps = torch.where(mask[:, None], first.features.maps, second.features.maps)
    deltas = share * first.deltas + (1 - share) * second.deltas
    features = type(first.features)(maps, means)
    return Regions(features, first.labels, deltas, first.n_way)
