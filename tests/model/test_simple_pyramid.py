"""ViTDet's simple pyramid: sides and widths of the levels, and each level computed again by hand."""

import pytest
import torch
from torch.nn import functional as F

from fsdet.model.simple_pyramid import SimplePyramid


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("levels", [(0, 1, 2, 3), (1, 2)])
def test_levels_have_the_strides_that_were_asked_for(stride, levels):
    features = torch.rand(2, 24, 256 // stride, 320 // stride)
    pyramid = SimplePyramid(24, stride, levels, 16, extra=True)({"tokens": features})
    assert list(pyramid) == [*map(str, levels), "pool"]
    for name, level in pyramid.items():
        step = 4 * 2 ** (levels[-1] + 1 if name == "pool" else int(name))
        assert level.shape == (2, 16, 256 // step, 320 // step)


def normed(x, weight, bias):
    """Layer normalisation over the channels of every place."""
    mean = x.mean(1, keepdim=True)
    deviation = (x.var(1, keepdim=True, unbiased=False) + 1e-6).sqrt()
    return (x - mean) / deviation * weight[:, None, None] + bias[:, None, None]


def refined(x, state, first):
    x = F.conv2d(x, state[f"{first}.weight"])
    x = normed(x, state[f"{first + 1}.weight"], state[f"{first + 1}.bias"])
    x = F.conv2d(x, state[f"{first + 2}.weight"], padding=1)
    return normed(x, state[f"{first + 3}.weight"], state[f"{first + 3}.bias"])


@torch.no_grad()
def test_levels_are_those_of_the_paper():
    """x4: deconvolution to half the channels, norm, GELU, deconvolution to a quarter; x2; x1; pooled to a half."""
    torch.manual_seed(0)
    pyramid = SimplePyramid(32, 16, (0, 1, 2, 3), 8, extra=False)
    for parameter in pyramid.parameters():
        parameter.normal_(std=0.3)
    features = torch.randn(1, 32, 6, 4)
    found = pyramid({"tokens": features})
    branches = [dict(pyramid.branches[str(level)].named_parameters()) for level in range(4)]

    finest, state = features, branches[0]
    finest = F.conv_transpose2d(finest, state["0.weight"], state["0.bias"], 2)
    finest = F.gelu(normed(finest, state["1.weight"], state["1.bias"]))
    finest = F.conv_transpose2d(finest, state["3.weight"], state["3.bias"], 2)
    assert finest.shape == (1, 8, 24, 16)
    finer, state = features, branches[1]
    finer = F.conv_transpose2d(finer, state["0.weight"], state["0.bias"], 2)
    assert finer.shape == (1, 16, 12, 8)
    expected = {
        "0": refined(finest, branches[0], 4),
        "1": refined(finer, branches[1], 1),
        "2": refined(features, branches[2], 0),
        "3": refined(F.max_pool2d(features, 2), branches[3], 1),
    }
    for name, level in expected.items():
        torch.testing.assert_close(found[name], level, rtol=1e-4, atol=1e-5)
