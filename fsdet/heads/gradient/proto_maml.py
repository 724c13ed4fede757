"""Proto-MAML: MAML whose class rows start as prototypes."""

from torch import Tensor

from fsdet.heads.gradient.base import FixedStepHead
from fsdet.types import Support, Task


class ProtoMaml(FixedStepHead):
    """Triantafillou et al. 2020, "Meta-Dataset" (Proto-MAML).

    theta_{j+1} = theta_j - a dL(support; theta_j) / dtheta_j, where theta is fc7 and the class rows, which start
    as the class means p_c of the support. Gradients pass through these means: the outer one, and the first inner
    one of fc7, because the rows are means of its outputs.

    Differs from the paper: logits there are squared distances, so w_c = 2 p_c and b_c = -|p_c|^2. Under a
    cosine w_c = p_c.
    """

    def initial_task(self, embeddings: Tensor, support: Support) -> Task:
        return {"rows": self.prototypes(embeddings, support), **self.fc7_weights()}
