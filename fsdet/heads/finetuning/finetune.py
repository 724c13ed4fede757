"""Plain fine-tuning of a box head: what meta-learning one has to beat."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from fsdet.heads.finetuning.base import FineTunedOptions
from fsdet.heads.finetuning.linear import Linear
from fsdet.heads.layers import RegionShape, unit
from fsdet.heads.options import (
    STRICT,
    Positive,
)
from fsdet.types import Features, Support, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FineTuneOptions(FineTunedOptions):
    """Options of plain fine-tuning."""

    layer_rate: Positive = 0.002  # learning rate of fc7


class FineTune(Linear):
    """The fine-tuned Faster R-CNN that few-shot methods are compared with (FRCN+ft of Yan et al. 2019 and
    Wang et al. 2020), image side and fc6 held still.

    logit_c = scale * w_c unit(fc7(h)) + b_c where h = fc6; the second stage moves fc7 from where base training
    left it, and w and b from 0. `Linear` is the same with fc7 held still.
    """

    Options = FineTuneOptions

    def __init__(self, shape: RegionShape, width: int, options: FineTuneOptions):
        super().__init__(shape, width, options)
        self.layer_rate = options.layer_rate

    def embed(self, features: Features) -> Tensor:
        return torch.cat([self.trunk.hidden(features), self.boxes(features)], 1)

    def fc7(self) -> Task:
        """The layer that moves, as base training left it."""
        return {"fc7_weight": self.trunk.last.weight, "fc7_bias": self.trunk.last.bias}

    def start(self, what: Tensor, support: Support) -> Task:
        return self.fc7() | super().start(what, support)

    def described(self, what: Tensor, task: Task) -> Tensor:
        """[R, D] of fc6 -> [R, D] of fc7 under a task, of unit length."""
        return unit(F.relu(F.linear(what, task["fc7_weight"], task["fc7_bias"])))

    def rate(self, name: str) -> float:
        classifier = {"rows", "biases", "weight", "bias"}
        return self.learning_rate if name in classifier else self.layer_rate
