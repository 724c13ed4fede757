"""RoIAlign as a sparse product: torchvision's values and gradients, and its pooling over a pyramid."""

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdet.model.pooling import RegionPool
from fsdet.model.roi_align import roi_align


def regions(count: int, images: int, generator: torch.Generator) -> torch.Tensor:
    """[R, 5]: inside, across the border, outside and thinner than a pixel."""
    corner = torch.rand(count, 2, generator=generator) * 160 - 40
    size = torch.rand(count, 2, generator=generator) ** 4 * 120
    index = torch.randint(images, (count, 1), generator=generator)
    return torch.cat([index.float(), corner, corner + size], 1)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(0, 12),
    st.sampled_from([1, 2, 7]),
    st.sampled_from([1, 2, 4]),
    st.booleans(),
    st.sampled_from([1.0, 0.5, 0.13]),
)
def test_values_and_gradients_are_torchvisions(seed, count, side, sampling, aligned, scale):
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(3, 5, 11, 17, generator=generator).requires_grad_()
    rois = regions(count, 3, generator)
    ours = roi_align(features, rois, side, scale, sampling, aligned)
    theirs = torchvision.ops.roi_align(features, rois, side, scale, sampling, aligned)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    weights = torch.rand(theirs.shape, generator=generator)
    (mine,) = torch.autograd.grad((ours * weights).sum(), features)
    (expected,) = torch.autograd.grad((theirs * weights).sum(), features)
    torch.testing.assert_close(mine, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("empty", [False, True])
def test_pooling_over_a_pyramid_is_torchvisions(empty):
    generator = torch.Generator().manual_seed(0)
    pyramid = {
        name: torch.rand(2, 4, 256 // stride, 320 // stride, generator=generator)
        for name, stride in {"0": 8, "1": 16, "2": 32, "pool": 64}.items()
    }
    corner = torch.rand(60, 2, generator=generator) * 100
    boxes = torch.cat([corner, corner + torch.rand(60, 2, generator=generator) ** 3 * 400], 1)
    split = [boxes[:0], boxes[:0]] if empty else [boxes[:25], boxes[25:]]
    theirs = torchvision.ops.MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    expected = theirs(pyramid, split, [(256, 320), (250, 300)])
    pooled = RegionPool(7)(pyramid, split, [(256, 320)])
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-5)


def test_a_sampling_by_size_is_torchvisions_own():
    generator = torch.Generator().manual_seed(1)
    features, rois = torch.rand(3, 5, 11, 17, generator=generator), regions(9, 3, generator)
    expected = torchvision.ops.roi_align(features, rois, 7, 0.5, 0, True)
    assert torch.equal(roi_align(features, rois, 7, 0.5, 0, True), expected)


def test_mixed_precision_pools_in_fp32():
    generator = torch.Generator().manual_seed(2)
    features = torch.rand(3, 5, 11, 17, generator=generator).requires_grad_()
    rois = regions(9, 3, generator)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = roi_align(features, rois, 7, 0.1, 2)
    pooled.square().sum().backward()
    assert torch.equal(pooled, roi_align(features, rois, 7, 0.1, 2)) and features.grad.any()
