"""Plain fine-tuning of a box head: what meta-learning one has to beat."""

import torch
from torch import Tensor
from torch.nn import functional as F

from fsdet.heads.base import RegionShape, above_zero
from fsdet.heads.embedding import unit
from fsdet.heads.second_stage import SecondStage
from fsdet.types import Features, Support, Task

CLASSIFIER_RATE = 10.0  # the classifier's learning rate as a multiple of fc7's


class FineTune(SecondStage):
    """The fine-tuned Faster R-CNN that few-shot methods are compared with (FRCN+ft of Yan et al. 2019 and
    Wang et al. 2020), image side and fc6 held still.

    logit_c = scale * w_c unit(fc7(h)) + b_c where h = fc6; the second stage moves fc7 from where base training
    left it, and w and b from 0. `Linear` is the same with fc7 held still.

    Args:
        shape, width: as of every head.
        scale: of fc7's output.
        steps, learning_rate, weight_decay, background, tune_boxes: of the second stage, as of `SecondStage`; the
            classifier learns ten times faster than fc7.
    """

    def __init__(
        self,
        shape: RegionShape,
        width: int,
        scale: float = 20.0,
        steps: int = 100,
        learning_rate: float = 0.002,
        weight_decay: float = 0.0,
        background: float = 4.0,
        tune_boxes: bool = False,
    ):
        super().__init__(shape, width, steps, learning_rate, weight_decay, background, tune_boxes)
        above_zero(scale=scale)
        self.scale = scale

    def embed(self, features: Features) -> Tensor:
        return torch.cat([self.trunk.hidden(features), self.boxes(features)], 1)

    def start(self, what: Tensor, support: Support) -> Task:
        n = 1 + support.n_way
        return {
            "fc7_weight": self.trunk.last.weight,
            "fc7_bias": self.trunk.last.bias,
            "rows": what.new_zeros(n, what.shape[1]),
            "biases": what.new_zeros(n),
        }

    def fc7(self, what: Tensor, task: Task) -> Tensor:
        """[R, D] of fc6 -> [R, D] of fc7 under a task, of unit length."""
        return unit(F.relu(F.linear(what, task["fc7_weight"], task["fc7_bias"])))

    def logits(self, what: Tensor, task: Task) -> Tensor:
        # Rows that are ten times shorter than they count for are moved ten times as far by a step of Adam.
        rows, biases = CLASSIFIER_RATE * task["rows"], CLASSIFIER_RATE * task["biases"]
        return torch.addmm(biases, self.fc7(what, task), self.scale * rows.T)
