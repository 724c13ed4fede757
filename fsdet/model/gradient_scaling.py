"""Gradient scaling between image side, proposals and regions: DeFRCN's gradient decoupled layer."""

from typing import Any

import torch
from torch import Tensor, nn


class Decoupling(nn.Module):
    """Qiao et al. 2021, "DeFRCN: Decoupled Faster R-CNN", its gradient decoupled layer.

    y = w * x + b per channel, w starts at 1 and b at 0. The gradient to x is multiplied by `scale`; w and b get
    the full gradient. scale=0 detaches x. The paper takes 0 between backbone and RPN, and between backbone and
    regions 0.75 in base training and 0.001 to 0.01 in fine-tuning.

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
    """The value itself; its gradient is multiplied by `scale`."""
    return _Scaled.apply(value, scale)


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0] * ctx.scale, None
