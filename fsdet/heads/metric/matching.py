"""Attention over support regions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.base import above_zero
from fsdet.heads.layers import RegionShape
from fsdet.heads.metric.base import NearestRegionsHead
from fsdet.types import Task


class Matching(NearestRegionsHead):
    """Vinyals et al. 2016, "Matching Networks for One Shot Learning", over regions.

    p(c|z) is proportional to the mean of exp(scale * cos(z, s_i)) over the support regions i of category c;
    logit_c = log p(c|z), background included. The paper attends to all of the support with one softmax and
    adds up each category's part, which is this times its number of support regions. In its tasks these are
    equal; here a base category may have thirty regions, a novel one three and background hundreds, and how
    many there are in the support says nothing of how many there are in an image. So categories count alike.

    Args:
        shape, width: as of every head.
        scale: of the cosine, learned from there on.
        share: weight of the learned layers beside the plain averages, learned from there on.
        regions, background: support regions of a category and of background, at most.
    """

    def __init__(
        self,
        shape: RegionShape,
        width: int,
        scale: float = 20.0,
        share: float = 1.2,
        regions: int = 30,
        background: int = 128,
    ):
        super().__init__(shape, width, share, regions, background)
        above_zero(scale=scale)
        self.log_scale = nn.Parameter(torch.tensor(scale).log())

    def logits(self, what: Tensor, task: Task) -> Tensor:
        scale = self.log_scale.exp()
        sums = self.reduced(what, task, lambda part: torch.logsumexp(scale * part, -2))
        counts = task["counts"].clamp(min=1).double().log().to(sums)
        return F.log_softmax(sums - counts, dim=-1)
