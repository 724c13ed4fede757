"""Layers after region pooling in published Faster R-CNNs, for heads on imported detectors.

Heads of this project read maps and means (`fsdet.heads.layers`). Published detectors read maps alone, and regress
boxes from the layers that also classify.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.layers import BoxBranch, RegionShape, Trunk
from fsdet.heads.no_layers import Averages, Unrefined
from fsdet.types import Features


class TwoFc(Trunk):
    """fc6 and fc7 over maps: torchvision's `TwoMLPHead`, detectron2's `FastRCNNConvFCHead` with NUM_FC 2."""

    def __init__(self, shape: RegionShape, width: int):
        nn.Module.__init__(self)
        self.first = nn.Linear(shape.channels * shape.side**2, width)
        self.last = nn.Linear(width, width)

    def hidden(self, features: Features) -> Tensor:
        return F.relu(self.first(features.maps.flatten(1)))


class FourConvOneFc(Trunk):
    """Four 3x3 convolutions and one layer, of torchvision's `fasterrcnn_resnet50_fpn_v2`.

    Its batch normalisation is folded into the convolutions at import.
    """

    first: nn.Sequential

    def __init__(self, shape: RegionShape, width: int):
        nn.Module.__init__(self)
        self.first = nn.Sequential(
            *(nn.Conv2d(shape.channels, shape.channels, 3, padding=1) for _ in range(4))
        )
        self.last = nn.Linear(shape.channels * shape.side**2, width)

    def hidden(self, features: Features) -> Tensor:
        maps = features.maps
        for convolution in self.first.children():
            maps = F.relu(convolution(maps))
        return maps.flatten(1)


class PublishedBoxBranch(BoxBranch):
    """Class-agnostic box regression from a copy of the trunk's layers."""

    def __init__(self, layers: Trunk, width: int):
        nn.Module.__init__(self)
        self.first = layers
        self.regressor = nn.Linear(width, 4)

    def forward(self, features: Features) -> Tensor:
        return self.first(features)


_TRUNKS: dict[str, type[Trunk]] = {"2fc": TwoFc, "4conv1fc": FourConvOneFc}


def trunk_and_boxes(shape: RegionShape, width: int) -> tuple[Trunk, BoxBranch]:
    """The layers of a head for region features of this shape."""
    if shape.layers == "fsdet":
        return Trunk(shape, width), BoxBranch(shape, width)
    if shape.layers == "averages":
        return Averages(shape, width), Unrefined(width)
    kind = _TRUNKS[shape.layers]
    return kind(shape, width), PublishedBoxBranch(kind(shape, width), width)


def published_trunk(shape: RegionShape, width: int) -> Trunk:
    """The trunk without a box branch, for `shape.layers` 2fc or 4conv1fc."""
    return _TRUNKS[shape.layers](shape, width)
