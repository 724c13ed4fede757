"""How much of their gradient proposals and regions send back to the image side (DeFRCN)."""

from typing import Any

import torch
from torch import Tensor, nn


class Decoupling(nn.Module):
    """Qiao et al. 2021, "DeFRCN: Decoupled Faster R-CNN", its gradient decoupled layer.

    Forward y = w * x + b, channel by channel, w from 1 and b from 0; backward, what x gets of dL/dx is `scale`
    of it, while w and b learn by the whole. 0 parts what comes after from what came before; there, backbone and
    proposals are told apart by 0, backbone and regions by 0.75 in base training and by 0.001 to 0.01 after it.

    Args:
        channels: of every level.
        scale: 0 to 1.
    """

    def __init__(self, channels: int, scale: float):
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, levels: dict[str, Tensor]) -> dict[str, Tensor]:
        """Level -> [B, C, H, W], in and out."""
        weight, bias = self.weight[:, None, None], self.bias[:, None, None]
        return {
            name: torch.addcmul(bias, scaled_back(level, self.scale), weight)
            for name, level in levels.items()
        }


def scaled_back(value: Tensor, scale: float) -> Tensor:
    """The value itself, whose gradient is `scale` of what it would be."""
    return _Scaled.apply(value, scale)


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0] * ctx.scale, None
