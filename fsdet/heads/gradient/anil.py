"""MAML whose inner steps move the class rows alone."""

import torch
from torch import Tensor

from fsdet.heads.gradient.finn_maml import FinnMaml
from fsdet.heads.layers import averages
from fsdet.types import Features, Support, Task


class Anil(FinnMaml):
    """Raghu et al. 2020, "Rapid Learning or Feature Reuse?" (ANIL, almost no inner loop).

    As MAML, where theta is the class rows: rows_{j+1} = rows_j - a dL(support; rows_j) / drows_j. fc7 is learned
    by the outer gradient alone; being the same for every task it is part of what embeds a region.
    """

    def embed(self, features: Features) -> Tensor:
        return torch.cat([averages(features), self.trunk(features), self.boxes(features)], 1)

    def learned(self, hidden: Tensor, task: Task) -> Tensor:
        return hidden  # fc7 has been here

    def start(self, embeddings: Tensor, support: Support) -> Task:
        return {"rows": self.start_rows(support.n_way)}
