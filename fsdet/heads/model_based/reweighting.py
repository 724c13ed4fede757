"""Meta R-CNN: a shared classifier over features that each category reweights by channel."""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from fsdet.heads.layers import RegionShape, unit
from fsdet.heads.metric.prototype import Prototype
from fsdet.heads.support import class_means
from fsdet.types import Support, Task


class Reweighting(Prototype):
    """Yan et al. 2019, "Meta R-CNN": class-attentive vectors and channel-wise reweighting.

    logit_c = scale * u . (z * v_c) + b, v_c = 2 sigmoid(G p_c) * p_c, p_c = the mean of z over the support
    regions of class c, of unit length; G is two layers. The classifier is linear, so u . (z * v_c) = z . (u *
    v_c): one product for all regions and categories, where the paper runs its box head once per category.

    Differs from the paper: v_c there is the sigmoid alone, from layers trained with all others. Here the gate
    multiplies the mean itself, so training starts (u = 1 and G = 0) at the cosine to prototypes.

    Background has its mean, gated alike, and learned rows; b is added to the logits of categories only.
    """

    class Options(Prototype.Options):
        hidden: PositiveInt = 128  # width of G's inner layer

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        last = nn.Linear(options.hidden, self.length)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.gate = nn.Sequential(nn.Linear(self.length, options.hidden), nn.ReLU(), last)
        self.shared = nn.Parameter(torch.ones(self.length))
        self.bias = nn.Parameter(torch.zeros(()))

    def learn(self, support: Support) -> Task:
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            embeddings = self.class_embeddings(support.embeddings)
            means = unit(class_means(embeddings, support.labels, support.n_way))
            return {"attentive": 2 * self.gate(means).sigmoid() * means}

    def logits(self, embeddings: Tensor, task: Task) -> Tensor:
        scale = self.log_scale.exp()
        logits = embeddings @ (scale * self.shared * task["attentive"]).T
        logits = torch.cat([logits[:, :1], logits[:, 1:] + self.bias], 1)
        return self.background(embeddings, logits, scale)
