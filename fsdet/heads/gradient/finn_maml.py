"""MAML as published: meta-learned initial weights and a few plain gradient steps."""

from torch import Tensor

from fsdet.heads.gradient.base import FixedStepHead, StartRows
from fsdet.heads.layers import RegionShape
from fsdet.types import Support, Task


class FinnMaml(FixedStepHead):
    """Finn et al. 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks" (MAML).

    theta_{j+1} = theta_j - a dL(support; theta_j) / dtheta_j, with one a for all tensors and steps; meta-training
    minimises L(query; theta_k) in theta_0, through the inner gradients. theta is the class rows and fc7.

    Differs from the paper: its last layer has initial weights for each of N ordered outputs. Here all
    categories start from one learned row and background from another, for any N.
    """

    def __init__(self, shape: RegionShape, width: int, options: FixedStepHead.Options):
        super().__init__(shape, width, options)
        self.start_rows = StartRows(self.length)

    def initial_task(self, embeddings: Tensor, support: Support) -> Task:
        return {"rows": self.start_rows(support.n_way), **self.fc7_weights()}

    def shared_parameters(self) -> Task:
        """The meta-learned theta_0: rows [2, D], background's first, and fc7."""
        return {"rows": self.start_rows.rows, **self.fc7_weights()}


class Fomaml(FinnMaml):
    """First-order MAML, section 5.2 of the same paper: meta-training takes the inner gradients as constants.

    dL(query; theta_k) / dtheta_0 is then dL / dtheta at theta_k.
    """

    second_order = False
