"""Region pooling: RoIAlign on the pyramid level that fits a region's size."""

import math

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align
from torchvision.ops.poolers import LevelMapper, MultiScaleRoIAlign

CANONICAL_SIZE, CANONICAL_LEVEL = 224, 4  # a region of 224 pixels is pooled at stride 2^4 (FPN)


class AlignedPool(nn.Module):
    """RoIAlign with half-pixel offset and as many samples as a region has pixels.

    He et al. 2017, "Mask R-CNN", as detectron2 (ROIAlignV2) and mmdetection compute it. torchvision's
    `MultiScaleRoIAlign` has no offset and a fixed number of samples.

    Args:
        side: P of the pooled maps.
        sampling: samples per cell and axis; 0: as many as the region has pixels in the cell.
    """

    def __init__(self, side: int, sampling: int = 0):
        super().__init__()
        self.side, self.sampling = side, sampling

    def forward(
        self, pyramid: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]
    ) -> Tensor:
        """[R, C, P, P] of the boxes of all images, on the first four levels of the pyramid."""
        maps = list(pyramid.values())[:4]
        strides = [2 ** round(math.log2(sizes[0][0] / level.shape[-2])) for level in maps]
        first, last = (int(math.log2(strides[i])) for i in (0, len(maps) - 1))
        levels = LevelMapper(first, last, CANONICAL_SIZE, CANONICAL_LEVEL)(boxes)
        image = torch.repeat_interleave(torch.tensor([len(b) for b in boxes], device=levels.device))
        rois = torch.cat([image[:, None].to(boxes[0]), torch.cat(boxes)], 1)
        pooled = maps[0].new_zeros(len(rois), maps[0].shape[1], self.side, self.side)
        for level, (features, stride) in enumerate(zip(maps, strides, strict=True)):
            rows = torch.where(levels == level)[0]
            pooled[rows] = roi_align(
                features, rois[rows], self.side, 1 / stride, self.sampling, aligned=True
            )
        return pooled


def region_pool(side: int, aligned: bool) -> nn.Module:
    """torchvision's pooling, or the one of detectron2 and mmdetection (`aligned`)."""
    return AlignedPool(side) if aligned else MultiScaleRoIAlign(["0", "1", "2", "3"], side, 2)
