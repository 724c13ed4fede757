"""How a region is described, for categories to be told apart by angles."""

import torch
from torch import Tensor
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
