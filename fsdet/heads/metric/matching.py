"""Matching networks: attention over support regions."""

import torch
from torch import Tensor
from torch.nn import functional as F

from fsdet.heads.metric.base import NearestRegionsHead
from fsdet.types import Task


class Matching(NearestRegionsHead):
    """Vinyals et al. 2016, "Matching Networks for One Shot Learning", over regions.

    p(c|z) is proportional to the mean of exp(scale * cos(z, s_i)) over the support regions i of category c;
    logit_c = log p(c|z), background included.

    Differs from the paper: the paper attends to the whole support with one softmax and adds up each
    category's part, which is this times its number of support regions. These numbers are equal in its tasks.
    Here a base category may have thirty regions, a novel one three and background hundreds, and they say
    nothing about frequencies in an image. So all categories have the same weight.
    """

    def logits(self, embeddings: Tensor, task: Task) -> Tensor:
        scale = self.log_scale.exp()
        sums = self.reduce_cosines(
            embeddings, task, lambda cosines: torch.logsumexp(scale * cosines, -2)
        )
        counts = task["counts"].clamp(min=1).double().log().to(sums)
        return F.log_softmax(sums - counts, dim=-1)
