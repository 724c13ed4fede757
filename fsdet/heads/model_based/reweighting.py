"""A classifier that all categories share, over regions whose channels each category weighs its own way."""

import torch
from torch import Tensor, nn

from fsdet.heads.base import above_zero
from fsdet.heads.layers import RegionShape, unit
from fsdet.heads.metric.prototype import Prototype
from fsdet.heads.support import class_means
from fsdet.types import Support, Task


class Reweighting(Prototype):
    """Yan et al. 2019, "Meta R-CNN": class-attentive vectors and channel-wise reweighting.

    logit_c = scale * u . (z * v_c) + b, v_c = 2 sigmoid(G p_c) * p_c, p_c = the mean of z over the support
    regions of class c, of unit length; G is two layers. There v_c is the sigmoid alone, from layers trained
    with all others, and the shared classifier u is asked whether a region so reweighted is of the category;
    here the gate multiplies the mean itself, so that u = 1 and G = 0, where training starts, are the
    cosine to prototypes. The classifier being linear, u . (z * v_c) = z . (u * v_c): one product for all
    regions and categories, where the paper goes through its box head once for every category.

    Background has its mean, gated alike, and learned rows beside it; b is of the categories against these.

    Args:
        shape, width: as of every head.
        hidden: width of G's inner layer.
        n_background, scale, share: as of `Prototype`.
    """

    def __init__(
        self,
        shape: RegionShape,
        width: int,
        hidden: int = 128,
        n_background: int = 8,
        scale: float = 20.0,
        share: float = 1.2,
    ):
        super().__init__(shape, width, n_background, scale, share)
        above_zero(hidden=hidden)
        last = nn.Linear(hidden, self.length)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.gate = nn.Sequential(nn.Linear(self.length, hidden), nn.ReLU(), last)
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
