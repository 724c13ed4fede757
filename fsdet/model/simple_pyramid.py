"""ViTDet's simple pyramid: all levels from the last map of a backbone that has one stride."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool


class SimplePyramid(nn.Module):
    """Levels made side by side from one map, without a top-down path.

    Li et al. 2022, "Exploring Plain Vision Transformer Backbones for Object Detection": a finer level comes from
    transposed convolutions that double the sides and halve the channels, a coarser one from pooling; then a 1x1
    and a 3x3 convolution, each with layer normalisation.

    Args:
        channels: of the map.
        stride: of the map, a power of two.
        levels: stages to make; stage l has stride 4 * 2^l.
        out_channels: C of every level.
        extra: add a coarser level by pooling the last.
    """

    def __init__(
        self, channels: int, stride: int, levels: Sequence[int], out_channels: int, extra: bool
    ):
        super().__init__()
        self.branches = nn.ModuleDict(
            {str(level): _branch(channels, stride, 4 * 2**level, out_channels) for level in levels}
        )
        self.extra = LastLevelMaxPool() if extra else None

    def forward(self, body: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The only map of `body`, [B, channels, H, W], -> levels by name, [B, C, H', W'] each."""
        (features,) = body.values()
        levels = [branch(features) for branch in self.branches.values()]
        names = list(self.branches)
        if self.extra:
            levels, names = self.extra(levels, levels, names)
        return OrderedDict(zip(names, levels, strict=True))


def _branch(channels: int, stride: int, wanted: int, out_channels: int) -> nn.Sequential:
    """From a map of `stride` to the level of stride `wanted`."""
    doublings = max(stride // wanted, 1).bit_length() - 1
    widths = [channels // 2**n for n in range(doublings + 1)]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        if layers:
            layers += [LayerNorm2d(before, eps=1e-6), nn.GELU()]
        layers.append(nn.ConvTranspose2d(before, after, 2, 2))
    if wanted > stride:
        layers.append(nn.MaxPool2d(wanted // stride))
    return nn.Sequential(
        *layers,
        nn.Conv2d(widths[-1], out_channels, 1, bias=False),
        LayerNorm2d(out_channels, eps=1e-6),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        LayerNorm2d(out_channels, eps=1e-6),
    )
