"""A classifier that all categories share, over regions whose channels each category weighs its own way."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from fsdet.heads.layers import RegionShape, unit
from fsdet.heads.metric.prototype import Prototype, PrototypeOptions
from fsdet.heads.options import (
    STRICT,
    Count,
)
from fsdet.heads.support import class_means
from fsdet.types import Support, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReweightingOptions(PrototypeOptions):
    """Options of channel reweighting."""

    hidden: Count = 128  # width of the inner layer of G


class Reweighting(Prototype):
    """Yan et al. 2019, "Meta R-CNN": class-attentive vectors and channel-wise reweighting.

    logit_c = scale * u . (z * v_c) + b, v_c = 2 sigmoid(G p_c) * p_c, p_c = the mean of z over the support
    regions of class c, of unit length; G is two layers. There v_c is the sigmoid alone, from layers trained
    with all others, and the shared classifier u is asked whether a region so reweighted is of the category;
    here the gate multiplies the mean itself, so that u = 1 and G = 0, where training starts, are the
    cosine to prototypes. The classifier being linear, u . (z * v_c) = z . (u * v_c): one product for all
    regions and categories, where the paper goes through its box head once for every category.

    Background has its mean, gated alike, and learned rows beside it; b is of the categories against these.
    """

    Options = ReweightingOptions

    def __init__(self, shape: RegionShape, width: int, options: ReweightingOptions):
        super().__init__(shape, width, options)
        last = nn.Linear(options.hidden, self.length)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.gate = nn.Sequential(nn.Linear(self.length, options.hidden), nn.ReLU(), last)
        self.shared = nn.Parameter(torch.ones(self.length))
        self.bias = nn.Parameter(torch.zeros(()))

    def learn(self, support: Support) -> Task:
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            what = self.describe(support.embeddings)
            means = unit(class_means(what, support.labels, support.n_way))
            return {"attentive": 2 * self.gate(means).sigmoid() * means}

    def logits(self, what: Tensor, task: Task) -> Tensor:
        scale = self.log_scale.exp()
        said = what @ (scale * self.shared * task["attentive"]).T
        said = torch.cat([said[:, :1], said[:, 1:] + self.bias], 1)
        return self.background(what, said, scale)
