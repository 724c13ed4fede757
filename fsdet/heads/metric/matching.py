"""Attention over support regions."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.layers import RegionShape
from fsdet.heads.metric.base import NearestRegionsHead, NearestRegionsOptions
from fsdet.heads.options import (
    STRICT,
    Positive,
)
from fsdet.types import Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MatchingOptions(NearestRegionsOptions):
    """Options of matching networks."""

    scale: Positive = 20.0  # of the cosine; learned from this start


class Matching(NearestRegionsHead):
    """Vinyals et al. 2016, "Matching Networks for One Shot Learning", over regions.

    p(c|z) is proportional to the mean of exp(scale * cos(z, s_i)) over the support regions i of category c;
    logit_c = log p(c|z), background included. The paper attends to all of the support with one softmax and
    adds up each category's part, which is this times its number of support regions. In its tasks these are
    equal; here a base category may have thirty regions, a novel one three and background hundreds, and how
    many there are in the support says nothing of how many there are in an image. So categories count alike.
    """

    Options = MatchingOptions

    def __init__(self, shape: RegionShape, width: int, options: MatchingOptions):
        super().__init__(shape, width, options)
        self.log_scale = nn.Parameter(torch.tensor(options.scale).log())

    def logits(self, what: Tensor, task: Task) -> Tensor:
        scale = self.log_scale.exp()
        sums = self.reduced(what, task, lambda part: torch.logsumexp(scale * part, -2))
        counts = task["counts"].clamp(min=1).double().log().to(sums)
        return F.log_softmax(sums - counts, dim=-1)
