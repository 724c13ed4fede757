"""MAML whose class rows start as the solution of ridge regression."""

import torch
from pydantic import PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from fsdet.heads.gradient.maml import Maml
from fsdet.heads.layers import RegionShape, log_parameter
from fsdet.heads.solver.ridge import ridge
from fsdet.heads.support import category_weights
from fsdet.types import Support, Task


class RidgeMaml(Maml):
    """MAML (Finn et al. 2017) that starts where R2-D2 ends (Bertinetto et al. 2019).

    rows_0 = argmin over W of sum_i w_i |W x_i - y_i|^2 + lambda |W|^2 under the meta-learned fc7, with y_i
    one-hot, background included. Then the inner steps of `Maml` move rows, fc7 and box regressor. logits =
    scale * W x + beta, where background alone has a beta, the logarithm of `odds`. Unlike those of a cosine,
    the rows have the lengths that regression gives them. With step sizes of 0 the head is `ridge`.

    The first gradient of fc7 includes its effect on the rows, which are a function of its outputs.
    """

    class Options(Maml.Options):
        strength: PositiveFloat = 0.3  # initial lambda, relative to a category's weight of 1
        odds: PositiveFloat = 0.5  # initial exp(beta)
        row_step: PositiveFloat = 0.003

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        self.log_strength = log_parameter(options.strength)
        self.log_odds = log_parameter(options.odds)

    def logits(self, means: Tensor, hidden: Tensor, task: Task) -> Tensor:
        logits = self.scaled_products(means, hidden, task, task["rows"])
        return torch.cat([logits[:, :1] + self.log_odds, logits[:, 1:]], 1)

    def initial_rows(self, embeddings: Tensor, support: Support) -> Tensor:
        n_way = support.n_way
        x = self.class_embeddings(embeddings)
        with torch.autocast(x.device.type, enabled=False):  # half precision spoils the solution
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            weights = n_way * category_weights(support.labels, n_way, self.options.background)
            targets = F.one_hot(support.labels, 1 + n_way).to(x)
            return ridge(x, targets, weights.to(x), self.log_strength.exp()).T
