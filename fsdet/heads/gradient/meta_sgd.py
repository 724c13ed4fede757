"""MAML that learns the step of every parameter."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from fsdet.heads.gradient.base import FixedStepOptions
from fsdet.heads.gradient.finn_maml import FinnMaml
from fsdet.heads.layers import RegionShape
from fsdet.heads.options import (
    STRICT,
    CountOrZero,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MetaSgdOptions(FixedStepOptions):
    """Options of Meta-SGD; `inner_step` is the start of every alpha. The paper takes one step."""

    test_steps: CountOrZero = 5


class MetaSgd(FinnMaml):
    """Li et al. 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning".

    theta_{j+1} = theta_j - alpha o dL(support; theta_j) / dtheta_j, where alpha has a learned step for every
    element of theta, and so not only a length but a direction; theta_0 is learned as in MAML. Rows of any N
    share theirs: [D] for every category, [D] for background.

    alpha = `inner_step` * factors, which start at 1. The paper draws alpha from 0.005 to 0.1 and lets it change
    sign, so that it is kept as it is here, not as a logarithm. As a factor a step changes by a thousandth of
    itself where a layer's weight changes by a thousandth, and is learned at the same rate.
    """

    Options = MetaSgdOptions

    def __init__(self, shape: RegionShape, width: int, options: MetaSgdOptions):
        super().__init__(shape, width, options)
        theta = {"rows": self.start_rows.rows, **self.fc7()}
        self.factors = nn.ParameterDict({name: torch.ones_like(v) for name, v in theta.items()})

    def step_size(self, name: str, step: int, n_way: int) -> Tensor | float:
        factors = self.factors[name]
        if name == "rows":
            factors = torch.cat([factors[:1], factors[1:].expand(n_way, -1)])
        return super().step_size(name, step, n_way) * factors
