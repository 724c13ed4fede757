"""Region pooling: RoIAlign on the pyramid level that fits a region's size."""

import math

import torch
from torch import Tensor, nn
from torchvision.ops.poolers import LevelMapper

from fsdet.model.roi_align import roi_align

CANONICAL_SIZE, CANONICAL_LEVEL = 224, 4  # a region of 224 pixels is pooled at stride 2^4 (FPN)
POOLED = ("0", "1", "2", "3")  # names of the pyramid's levels but for the coarser ones that it adds


class RegionPool(nn.Module):
    """RoIAlign of each region on one level of the pyramid, by the region's size.

    Lin et al. 2017, "Feature Pyramid Networks", equation 1. `sampling` 2 without `aligned` equals torchvision's
    `MultiScaleRoIAlign`; 0 with `aligned` is detectron2's ROIAlignV2, and mmdetection's.

    Args:
        side: P of the pooled maps.
        sampling: samples per cell and axis; 0: as many as the region has pixels in the cell.
        aligned: pixels have their centres at half coordinates.
    """

    def __init__(self, side: int, sampling: int = 2, aligned: bool = False):
        super().__init__()
        self.side, self.sampling, self.aligned = side, sampling, aligned

    def forward(
        self, pyramid: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]
    ) -> Tensor:
        """[R, C, P, P] of the boxes of all images.

        Args:
            pyramid: levels by name, fine to coarse.
            boxes: [R, 4] for each image.
            sizes: the padded size of the images, H and W, first.
        """
        maps = [level for name, level in pyramid.items() if name in POOLED]
        strides = [2 ** round(math.log2(sizes[0][0] / level.shape[-2])) for level in maps]
        first, last = (int(math.log2(strides[i])) for i in (0, len(maps) - 1))
        levels = LevelMapper(first, last, CANONICAL_SIZE, CANONICAL_LEVEL)(boxes)
        rois = with_image_index(boxes)
        pooled = maps[0].new_zeros(len(rois), maps[0].shape[1], self.side, self.side)
        for level, (features, stride) in enumerate(zip(maps, strides, strict=True)):
            rows = torch.where(levels == level)[0]
            pooled[rows] = roi_align(
                features, rois[rows], self.side, 1 / stride, self.sampling, self.aligned
            )
        return pooled


def with_image_index(boxes: list[Tensor]) -> Tensor:
    """Boxes [R, 4] for each image -> [R, 5] of all images, the index of the image first."""
    indices = [torch.full_like(image[:, :1], index) for index, image in enumerate(boxes)]
    return torch.cat([torch.cat(indices), torch.cat(boxes)], 1)
