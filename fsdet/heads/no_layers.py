"""Layers of heads on a detector that only describes given boxes: there is nothing to train them on.

The averages take the place of fc7, and boxes stay as they are.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.errors import InputError
from fsdet.heads.layers import BoxBranch, RegionShape, Trunk
from fsdet.types import Features


class Averages(Trunk):
    """The means themselves, [R, E], padded with zeros to [R, D]: angles between regions stay.

    `last` is the identity, for heads that adapt a layer.

    Raises:
        InputError: E is above `width`.
    """

    def __init__(self, shape: RegionShape, width: int):
        nn.Module.__init__(self)
        if sum(shape.means) > width:
            raise InputError(
                f"detector.width: expected at least {sum(shape.means)}, the length of the"
                f" descriptor's averages, got {width}"
            )
        self.first, self.last = nn.Identity(), nn.Linear(width, width)
        nn.init.eye_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def hidden(self, features: Features) -> Tensor:
        means = features.means
        return F.pad(means, (0, self.last.in_features - means.shape[1]))

    def forward(self, features: Features) -> Tensor:
        return self.hidden(features)


class Unrefined(BoxBranch):
    """Deltas of zero."""

    def __init__(self, width: int):
        nn.Module.__init__(self)
        self.first, self.regressor = nn.Identity(), nn.Linear(width, 4)
        for parameter in self.regressor.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Features) -> Tensor:
        return features.means.new_zeros(len(features), self.regressor.in_features)
