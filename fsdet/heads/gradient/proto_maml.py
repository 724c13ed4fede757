"""MAML whose class rows start as prototypes."""

from torch import Tensor

from fsdet.heads.gradient.base import FixedStepHead
from fsdet.types import Support, Task


class ProtoMaml(FixedStepHead):
    """Triantafillou et al. 2020, "Meta-Dataset" (Proto-MAML).

    theta_{j+1} = theta_j - a dL(support; theta_j) / dtheta_j, theta being fc7 and the class rows, which start as
    the class means p_c of the support. Gradients pass through that start too: the outer one, and the first inner
    one of fc7, which sees that the rows are what fc7 makes of the support. In the paper, where logits are squared
    distances, it is w_c = 2 p_c and b_c = -|p_c|^2; under a cosine it is w_c = p_c.
    """

    def start(self, embeddings: Tensor, support: Support) -> Task:
        return {"rows": self.prototypes(embeddings, support), **self.fc7()}
