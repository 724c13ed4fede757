"""FiLM: prototypes of region embeddings, modulated by an embedding of the support."""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.layers import RegionShape, unit
from fsdet.heads.metric.prototype import Prototype
from fsdet.heads.support import class_means
from fsdet.types import Support, Task


class Film(Prototype):
    """Perez et al. 2018 (FiLM) by a task's embedding, as in Oreshkin et al. 2018 (TADAM) and Requeima et al.
    2019 (CNAPs): z' = gamma * z + beta, scaled to unit length, for support and query alike; then prototypes.

    The embedding is a network over sets (Zaheer et al. 2017, "Deep Sets"), of regions and then of labels:

        e_c = relu(B mean of relu(A z) over the regions of c);  t = [mean of e_c over the categories, e_0]
        (gamma - 1, beta) = W t

    so order, names and N do not matter, and categories of many and of few regions have the same weight. W starts
    at 0: gamma at 1, beta at 0.

    Differs from the papers: they modulate all layers of a network. Here only the class embedding is modulated;
    it is computed once per test region for all tasks. The learned background rows belong to no task and
    are compared with z.
    """

    class Options(Prototype.Options):
        hidden: PositiveInt = 128  # length of e_c

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        self.of_regions = nn.Linear(self.length, options.hidden)
        self.of_labels = nn.Linear(options.hidden, options.hidden)
        self.generate = nn.Linear(2 * options.hidden, 2 * self.length)
        nn.init.zeros_(self.generate.weight)
        nn.init.zeros_(self.generate.bias)

    def task_embedding(self, embeddings: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """[S, D], [S] -> t [2 hidden]."""
        of_regions = class_means(F.relu(self.of_regions(embeddings)), labels, n_way)
        of_labels = F.relu(self.of_labels(of_regions))  # [1 + N, hidden]
        present = torch.bincount(labels, minlength=1 + n_way)[1:, None] > 0
        categories = (of_labels[1:] * present).sum(0) / present.sum().clamp(min=1)
        return torch.cat([categories, of_labels[0]])

    def learn(self, support: Support) -> Task:
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            embeddings = self.class_embeddings(support.embeddings)
            t = self.task_embedding(embeddings, support.labels, support.n_way)
            gamma_offset, beta = self.generate(t).chunk(2)
            modulated = unit((1 + gamma_offset) * embeddings + beta)
            rows = class_means(modulated, support.labels, support.n_way)
            return {"gamma": 1 + gamma_offset, "beta": beta, "rows": unit(rows)}

    def logits(self, embeddings: Tensor, task: Task) -> Tensor:
        # cos(gamma * z + beta, row) without computing gamma * z + beta of every region, which is slower.
        gamma, beta, rows = task["gamma"], task["beta"], task["rows"]
        products = embeddings @ torch.cat([gamma * rows, 2 * (gamma * beta)[None]]).T
        length = embeddings.square() @ gamma.square() + products[:, -1] + beta.square().sum()
        cosine = (products[:, :-1] + rows @ beta) / (length[:, None].clamp(min=0) + 1e-12).sqrt()
        scale = self.log_scale.exp()
        return self.background(embeddings, scale * cosine, scale)
