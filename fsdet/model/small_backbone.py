"""A residual network with group normalisation, trained from scratch."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn


class Small(nn.Module):
    """A residual network with group normalisation, made to train from scratch.

    Stages 0 to 3 have strides 4, 8, 16, 32 and 1, 2, 4, 4 times `width` channels. The network ends with the last of
    `levels` and returns the maps of all `levels`.
    """

    def __init__(self, levels: Sequence[int] = (0, 1, 2, 3), width: int = 32):
        super().__init__()
        self.stem = nn.Sequential(_convolution(3, width, 2), _convolution(width, width, 2))
        widths = [width, 2 * width, 4 * width, 4 * width][: max(levels) + 1]
        self.stages = nn.ModuleList(
            _Residual(before, after, stride)
            for before, after, stride in zip([width, *widths], widths, (1, 2, 2, 2), strict=False)
        )
        self.levels, self.out_channels = tuple(levels), [widths[level] for level in levels]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features, stages = self.stem(images), []
        for stage in self.stages:
            features = stage(features)
            stages.append(features)
        return OrderedDict((str(level), stages[level]) for level in self.levels)


class _Residual(nn.Module):
    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(_convolution(before, after, stride), _convolution(after, after))
        self.skip = nn.Conv2d(before, after, 1, stride) if (before, 1) != (after, stride) else None

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + (self.skip(x) if self.skip else x)


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.GroupNorm(8, after), nn.ReLU(True)
    )
