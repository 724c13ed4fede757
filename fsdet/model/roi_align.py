"""RoIAlign as a sparse matrix times the feature map: on a CPU, faster than torchvision's."""

import warnings

import torch
import torchvision
from torch import Tensor


def roi_align(
    features: Tensor, rois: Tensor, side: int, scale: float, sampling: int, aligned: bool = False
) -> Tensor:
    """torchvision's `roi_align`, equal up to rounding, with gradients of the features.

    He et al. 2017, "Mask R-CNN": a cell of a region is the mean of sampling x sampling bilinear samples. Each
    sample weighs four pixels, so all regions together are one sparse matrix [R P P, N H W]. Its product with
    features that are stored channels last reads whole rows of C numbers; torchvision's CPU code first copies the
    features, then reads number by number. On large features several times as fast, forward and backward; on small
    ones backward alone (benchmarks/roi_align.py).

    Args:
        features: [N, C, H, W], float32; quickest channels last.
        rois: [R, 5], image index, x1, y1, x2, y2, in pixels of the image.
        side: P, cells of a region along each axis.
        scale: pixels of the features for one of the image.
        sampling: samples per cell and axis; 0: as many as the region has pixels in the cell.
        aligned: pixels have their centres at half coordinates, and a region may be smaller than one of them.

    Returns:
        [R, C, P, P], channels last.
    """
    on_cpu = features.device.type == "cpu" and torch.backends.mkl.is_available()
    if not on_cpu or not sampling or torch.onnx.is_in_onnx_export():
        return torchvision.ops.roi_align(features, rois, side, scale, sampling, aligned)
    batch, channels, height, width = features.shape
    start, end = (rois[:, 1:] * scale - 0.5 * aligned).split(2, 1)
    extent = end - start if aligned else (end - start).clamp(min=1)
    rows, row_weights = _axis(start[:, 1], extent[:, 1], side, sampling, height)
    columns, column_weights = _axis(start[:, 0], extent[:, 0], side, sampling, width)
    # [R, P, P, 2 S, 2 S]: the pixels of each cell
    pixels = rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    pixels = pixels + (rois[:, 0].int() * (height * width))[:, None, None, None, None]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    per_cell = (2 * sampling) ** 2
    ends = torch.arange(0, weights.numel() + 1, per_cell, dtype=torch.int32)
    # Sparse products are in fp32 alone.
    with warnings.catch_warnings(), torch.autocast("cpu", enabled=False):
        warnings.simplefilter("ignore")  # "beta state"
        matrix = torch.sparse_csr_tensor(
            ends,
            pixels.flatten(),
            weights.flatten(),
            (len(ends) - 1, batch * height * width),
            check_invariants=False,
        )
        pooled = matrix @ features.permute(0, 2, 3, 1).reshape(-1, channels)
    return pooled.view(len(rois), side, side, channels).permute(0, 3, 1, 2)


def _axis(
    start: Tensor, extent: Tensor, side: int, sampling: int, length: int
) -> tuple[Tensor, Tensor]:
    """Positions [R, P, 2 S] int32 along one axis of the features, and their bilinear weights."""
    cells = torch.arange(side, device=start.device)[:, None]
    samples = torch.arange(sampling, device=start.device) + 0.5
    cell = (extent / side)[:, None, None]
    # In torchvision's order of operations, for the same rounding.
    at = start[:, None, None] + cells * cell + samples * cell / sampling
    inside = (at >= -1) & (at <= length)  # samples further out are zero
    at = at.clamp(0, length - 1)
    below = at.int()
    above = (below + 1).clamp(max=length - 1)
    share = at - below
    weights = torch.stack([1 - share, share], -1) * (inside / sampling)[..., None]
    return torch.stack([below, above], -1).flatten(2), weights.flatten(2)
