"""Boxes of another detector in the place of an RPN's, and the parts of a detector that needs no own ones."""

from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from fsdet.errors import InputError
from fsdet.model.backbones import Pyramid
from fsdet.model.rpn import RPN, Levels, Proposals


@dataclass(frozen=True)
class GivenBoxes:
    """A `ProposalGenerator` for one batch of images, whose boxes are known beforehand."""

    boxes: list[
        Tensor
    ]  # of each image [R, 4] in its pixels before resizing, most object-like first
    sizes: list[tuple[int, int]]  # height and width of each image before resizing
    most: int

    def propose(self, images: ImageList, pyramid: Levels) -> list[Proposals]:
        per_image = []
        for boxes, size, resized in zip(self.boxes, self.sizes, images.image_sizes, strict=True):
            scale = torch.tensor([resized[1] / size[1], resized[0] / size[0]]).repeat(2)
            scaled = boxes[: self.most].float() * scale.to(boxes.device)
            per_image.append(Proposals(scaled.to(images.tensors.device)))
        return per_image


def windows(height: int, width: int) -> Tensor:
    """[25, 4] boxes all over an image: three by three of half its sides, four by four of a quarter.

    They are background to learn from where another detector proposes nothing but objects.
    """
    boxes = []
    for parts, count in ((2, 3), (4, 4)):
        starts = torch.linspace(0, 1 - 1 / parts, count)
        y, x = (grid.flatten() for grid in torch.meshgrid(starts, starts, indexing="ij"))
        boxes.append(torch.stack([x, y, x + 1 / parts, y + 1 / parts], 1))
    return torch.cat(boxes) * torch.tensor([width, height, width, height])


def with_windows(given: GivenBoxes) -> GivenBoxes:
    """The boxes of every image, then `windows` all over it."""
    boxes = [
        torch.cat([own[: given.most], windows(*size)])
        for own, size in zip(given.boxes, given.sizes, strict=True)
    ]
    return GivenBoxes(boxes, given.sizes, max(map(len, boxes)))


class NoBackbone(Pyramid):
    """The backbone of a detector that only describes given boxes: no pyramid, no levels."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.body, self.out_channels, self.body_channels = nn.Identity(), 0, ()

    def forward(self, images: Tensor) -> tuple[Levels, list[Tensor]]:
        return {}, []


class NoMaps(nn.Module):
    """Region pooling without a pyramid: maps [R, 0, 1, 1]."""

    def forward(self, pyramid: Levels, boxes: list[Tensor], sizes: list[tuple[int, int]]) -> Tensor:
        return boxes[0].new_zeros(sum(map(len, boxes)), 0, 1, 1)


class NoRPN(RPN):
    """The RPN of a detector without own boxes.

    Args:
        most: maximum number of given boxes of an image.
    """

    def __init__(self, most: int):
        nn.Module.__init__(self)
        self.most = most

    def forward(self, images: ImageList, pyramid: Levels, targets: object = None) -> NoReturn:
        """Raise an InputError: boxes must be given."""
        raise InputError(
            "the detector has no boxes of its own; expected those of another one: fsdet.load(FILE,"
            " proposals=FUNCTION), or data.proposals=FILE in an experiment"
        )
