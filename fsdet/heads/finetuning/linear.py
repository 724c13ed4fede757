"""Linear fine-tuning: a linear classifier trained on the support."""

import torch
from torch import Tensor

from fsdet.heads.finetuning.base import FineTunedHead
from fsdet.types import Support, Task


class Linear(FineTunedHead):
    """Chen et al. 2019, "A Closer Look at Few-shot Classification" (Baseline); TFA w/fc of Wang et al. 2020.

    logit_c = scale * w_c z + b_c with z = fc7 of base training, of unit length. Every w_c and b_c starts at 0, so
    they depend on the support alone. The larger the scale, the faster w_c learns compared with b_c.
    """

    def initial_task(self, embeddings: Tensor, support: Support) -> Task:
        n = 1 + support.n_way
        return {
            "rows": embeddings.new_zeros(n, embeddings.shape[1]),
            "biases": embeddings.new_zeros(n),
        }

    def logits(self, adapted: Tensor, task: Task) -> Tensor:
        return torch.addmm(task["biases"], adapted, self.options.scale * task["rows"].T)
