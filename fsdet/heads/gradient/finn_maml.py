"""MAML as published: a start that a few plain gradient steps turn into any task."""

from torch import Tensor

from fsdet.heads.gradient.base import FixedStepHead, FixedStepOptions, StartRows
from fsdet.heads.layers import RegionShape
from fsdet.types import Support, Task


class FinnMaml(FixedStepHead):
    """Finn et al. 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks" (MAML).

    theta_{j+1} = theta_j - a dL(support; theta_j) / dtheta_j, with one a for all tensors and steps; meta-training
    descends L(query; theta_k) in theta_0, through the inner gradients. theta is the class rows and fc7. The
    paper's last layer has a start of its own for each of N outputs, which have a fixed N and an order; here all
    categories start from one learned row, background from another.
    """

    def __init__(self, shape: RegionShape, width: int, options: FixedStepOptions):
        super().__init__(shape, width, options)
        self.start_rows = StartRows(self.length)

    def start(self, embeddings: Tensor, support: Support) -> Task:
        return {"rows": self.start_rows(support.n_way), **self.fc7()}


class Fomaml(FinnMaml):
    """First-order MAML, section 5.2 of the same paper: meta-training takes the inner gradients for constants.

    dL(query; theta_k) / dtheta_0 is then dL / dtheta where theta is theta_k.
    """

    second_order = False
