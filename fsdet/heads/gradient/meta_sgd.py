"""Meta-SGD: MAML with a learned step size for every parameter."""

import torch
from pydantic import NonNegativeInt
from torch import Tensor, nn

from fsdet.heads.gradient.base import expand_rows
from fsdet.heads.gradient.finn_maml import FinnMaml
from fsdet.heads.layers import RegionShape


class MetaSgd(FinnMaml):
    """Li et al. 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning".

    theta_{j+1} = theta_j - alpha o dL(support; theta_j) / dtheta_j, where alpha has a learned step for every
    element of theta: it learns the direction of a step, not only its length. theta_0 is learned as in MAML. All
    categories share the [D] steps of their rows; background has its own.

    alpha = `inner_step` * factors, and factors start at 1. Differs from the paper: it draws alpha from 0.005 to
    0.1, lets it change sign (so no logarithm is used here either) and takes one step. A meta-step
    changes a factor by a small share of alpha, so the learning rate of the layers fits the factors too.
    """

    class Options(FinnMaml.Options):
        test_steps: NonNegativeInt = 5

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        theta = self.shared_parameters()
        self.factors = nn.ParameterDict({name: torch.ones_like(v) for name, v in theta.items()})

    def step_size(self, name: str, step: int, n_way: int) -> Tensor | float:
        factors = self.factors[name]
        if name == "rows":
            factors = expand_rows(factors, n_way)
        return super().step_size(name, step, n_way) * factors
