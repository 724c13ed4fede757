"""ANIL: MAML whose inner steps move the class rows alone."""

import torch
from torch import Tensor

from fsdet.heads.gradient.finn_maml import FinnMaml
from fsdet.heads.layers import mean_features
from fsdet.types import Features, Support, Task


class Anil(FinnMaml):
    """Raghu et al. 2020, "Rapid Learning or Feature Reuse?" (ANIL, almost no inner loop).

    MAML with the class rows as theta: rows_{j+1} = rows_j - a dL(support; rows_j) / drows_j. The outer gradient
    alone trains fc7. It is the same for every task, so it is part of `embed`.
    """

    def embed(self, features: Features) -> Tensor:
        return torch.cat([mean_features(features), self.trunk(features), self.boxes(features)], 1)

    def fc7(self, hidden: Tensor, task: Task) -> Tensor:
        return hidden  # `embed` has applied fc7

    def initial_task(self, embeddings: Tensor, support: Support) -> Task:
        return {"rows": self.start_rows(support.n_way)}
