"""Categories that nobody annotated: one part of a region of one category, the rest of another's."""

import torch
from torch import Tensor
from torch.nn import functional as F

from fsdet.types import Regions


def splice(first: Regions, second: Regions, mask: Tensor, levels: tuple[int, ...]) -> Regions:
    """Regions that show `first` where the mask is true and `second` elsewhere; labels are those of `first`.

    A dozen base categories are soon known by heart, and an embedding that knows them by heart tells nothing
    else apart. Two of them cut together make a category more, and there are hundreds of pairs; the idea is
    CutMix's (Yun et al. 2019), with a label of its own for what comes out. The average over a spliced region
    is that of its parts, so means are mixed by area; so are box targets, each side being near its own
    object's.

    Args:
        mask: [R, P, P] bool; all true leaves a region as it is.
        levels: channels of each level in the means, which are scaled to unit length by level.
    """
    share = mask.float().mean((1, 2))[:, None]  # [R, 1]
    mixed = share * first.features.means + (1 - share) * second.features.means
    means = torch.cat([F.normalize(level, dim=-1) for level in mixed.split(levels, 1)], 1)
    maps = torch.where(mask[:, None], first.features.maps, second.features.maps)
    deltas = share * first.deltas + (1 - share) * second.deltas
    features = type(first.features)(maps, means)
    return Regions(features, first.labels, deltas, first.n_way)
