"""Prototypes among regions that are described as the task wants them."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.layers import RegionShape, unit
from fsdet.heads.metric.prototype import Prototype, PrototypeOptions
from fsdet.heads.options import (
    STRICT,
    Count,
)
from fsdet.heads.support import class_means
from fsdet.types import Support, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FilmOptions(PrototypeOptions):
    """Options of FiLM."""

    hidden: Count = 128  # length of e_c


class Film(Prototype):
    """Perez et al. 2018 (FiLM) by a task's embedding, as in Oreshkin et al. 2018 (TADAM) and Requeima et al.
    2019 (CNAPs): z' = gamma * z + beta, scaled to unit length, for support and query alike; then prototypes.

    The embedding is a network over sets (Zaheer et al. 2017, "Deep Sets"), of regions and then of labels:

        e_c = relu(B mean of relu(A z) over the regions of c);  t = [mean of e_c over the categories, e_0]
        (gamma - 1, beta) = W t

    so that neither order nor names nor N matter, and a category of many regions counts as one of few. There
    all layers of a network are modulated; here the description is, which is what tasks have different
    uses for and what a test region has been turned into once, for all tasks. The learned background rows
    are no task's and stay with z. W starts at 0: gamma at 1, beta at 0.
    """

    Options = FilmOptions

    def __init__(self, shape: RegionShape, width: int, options: FilmOptions):
        super().__init__(shape, width, options)
        hidden = options.hidden
        self.of_regions = nn.Linear(self.length, hidden)
        self.of_labels = nn.Linear(hidden, hidden)
        self.generate = nn.Linear(2 * hidden, 2 * self.length)
        nn.init.zeros_(self.generate.weight)
        nn.init.zeros_(self.generate.bias)

    def task_embedding(self, what: Tensor, labels: Tensor, n_way: int) -> Tensor:
        """[S, D], [S] -> t [2 hidden]."""
        of_regions = class_means(F.relu(self.of_regions(what)), labels, n_way)
        of_labels = F.relu(self.of_labels(of_regions))  # [1 + N, hidden]
        there = torch.bincount(labels, minlength=1 + n_way)[1:, None] > 0
        categories = (of_labels[1:] * there).sum(0) / there.sum().clamp(min=1)
        return torch.cat([categories, of_labels[0]])

    def learn(self, support: Support) -> Task:
        with torch.set_grad_enabled(self.training and torch.is_grad_enabled()):
            what = self.describe(support.embeddings)
            embedded = self.task_embedding(what, support.labels, support.n_way)
            more, beta = self.generate(embedded).chunk(2)
            modulated = unit((1 + more) * what + beta)
            rows = class_means(modulated, support.labels, support.n_way)
            return {"gamma": 1 + more, "beta": beta, "rows": unit(rows)}

    def logits(self, what: Tensor, task: Task) -> Tensor:
        # cos(gamma * z + beta, row) without ever making a modulated region, which would take longer.
        gamma, beta, rows = task["gamma"], task["beta"], task["rows"]
        said = what @ torch.cat([gamma * rows, 2 * (gamma * beta)[None]]).T  # [R, 1 + N + 1]
        length = what.square() @ gamma.square() + said[:, -1] + beta.square().sum()
        cosine = (said[:, :-1] + rows @ beta) / (length[:, None].clamp(min=0) + 1e-12).sqrt()
        scale = self.log_scale.exp()
        return self.background(what, scale * cosine, scale)
