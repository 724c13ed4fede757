"""Linear fine-tuning: what every few-shot method has to beat."""

import torch
from torch import Tensor

from fsdet.heads.finetuning.base import FineTunedHead
from fsdet.types import Support, Task


class Linear(FineTunedHead):
    """Chen et al. 2019, "A Closer Look at Few-shot Classification" (Baseline); TFA w/fc of Wang et al. 2020.

    logit_c = scale * w_c z + b_c with z = fc7, of unit length, as base training left it. Every w_c and b_c
    starts at 0: whatever they say is the support's.
    """

    def start(self, what: Tensor, support: Support) -> Task:
        n = 1 + support.n_way
        return {"rows": what.new_zeros(n, what.shape[1]), "biases": what.new_zeros(n)}

    def logits(self, described: Tensor, task: Task) -> Tensor:
        return torch.addmm(task["biases"], described, self.scale * task["rows"].T)
