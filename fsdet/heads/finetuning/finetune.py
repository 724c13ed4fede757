"""Plain fine-tuning of a box head: fc7 and a linear classifier."""

import torch
from pydantic import PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from fsdet.heads.finetuning.linear import Linear
from fsdet.heads.layers import unit
from fsdet.types import Features, Support, Task


class Finetune(Linear):
    """The fine-tuned Faster R-CNN that few-shot methods are compared with (FRCN+ft of Yan et al. 2019 and
    Wang et al. 2020), with image side and fc6 frozen.

    logit_c = scale * w_c unit(fc7(h)) + b_c where h = fc6; the second stage trains fc7 from the weights of base
    training, and w and b from 0. `Linear` is the same with fc7 frozen.
    """

    class Options(Linear.Options):
        layer_rate: PositiveFloat = 0.002  # learning rate of fc7

    options: Options

    def embed(self, features: Features) -> Tensor:
        return torch.cat([self.trunk.hidden(features), self.boxes(features)], 1)

    def fc7_weights(self) -> Task:
        """fc7 of base training, as part of a task."""
        return {"fc7_weight": self.trunk.last.weight, "fc7_bias": self.trunk.last.bias}

    def initial_task(self, embeddings: Tensor, support: Support) -> Task:
        return self.fc7_weights() | super().initial_task(embeddings, support)

    def adapted(self, embeddings: Tensor, task: Task) -> Tensor:
        """Output of fc6 [R, D] -> output of the task's fc7 [R, D], of unit length."""
        return unit(F.relu(F.linear(embeddings, task["fc7_weight"], task["fc7_bias"])))

    def learning_rate(self, name: str) -> float:
        classifier = {"rows", "biases", "weight", "bias"}
        return self.options.learning_rate if name in classifier else self.options.layer_rate
