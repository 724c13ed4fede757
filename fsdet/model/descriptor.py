"""Descriptor: a frozen network whose averages describe regions, while another network proposes them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList


class Descriptor(nn.Module):
    """A frozen second body of a detector; it sees the images of the first, under its own pixel statistics.

    Training a backbone on base categories costs its averages much of what they knew of other categories. So one
    network is trained for boxes, and another stays as it is for descriptions (the layout of DE-ViT, Zhang et al.
    2023).

    Args:
        body: images [B, 3, H, W] -> an ordered dict of levels.
        channels: number of channels of each level.
        statistics: mean and deviation of pixels in 0..1 that the body expects.
        given: mean and deviation that the images are normalised with.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        body: nn.Module,
        channels: Sequence[int],
        statistics: tuple[Sequence[float], Sequence[float]],
        given: tuple[Sequence[float], Sequence[float]],
    ):
        super().__init__()
        self.body, self.channels = body.requires_grad_(False), tuple(channels)
        (mean, std), (given_mean, given_std) = (map(torch.tensor, s) for s in (statistics, given))
        self.register_buffer("scale", (given_std / std)[:, None, None], persistent=False)
        shift = ((given_mean - mean) / std)[:, None, None]
        self.register_buffer("shift", shift, persistent=False)

    def train(self, mode: bool = True) -> "Descriptor":
        """Stay in evaluation mode: statistics of normalisation layers are frozen too."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: ImageList) -> list[Tensor]:
        """Levels [B, C, H, W] of normalised images; padding stays zero."""
        height, width = images.tensors.shape[-2:]
        rows, columns = (torch.arange(n, device=images.tensors.device) for n in (height, width))
        inside = [(rows < h)[:, None] & (columns < w) for h, w in images.image_sizes]
        pixels = (images.tensors * self.scale + self.shift) * torch.stack(inside)[:, None]
        levels = self.body(pixels.contiguous(memory_format=torch.channels_last))
        return [level.float() for level in levels.values()]
