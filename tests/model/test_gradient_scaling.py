"""DeFRCN's gradient decoupled layer: values pass, their gradient is scaled."""

import copy

import pytest
import torch
from helpers import tiny

from fsdet import build
from fsdet.model.gradient_scaling import Decoupling, scaled_back
from fsdet.types import Shots, Target


def test_scaled_back_keeps_the_value_and_scales_the_gradient():
    value = torch.randn(3, requires_grad=True)
    out = scaled_back(value, 0.25)
    assert torch.equal(out, value)
    (out**2).sum().backward()
    torch.testing.assert_close(value.grad, 0.25 * 2 * value.detach())


def test_the_affine_layer_gets_the_full_gradient():
    layer, x = Decoupling(2, 0.0), torch.randn(1, 2, 3, 3, requires_grad=True)
    out = layer({"0": x})["0"]
    assert torch.equal(out, x)  # before it has learned anything
    out.square().sum().backward()
    assert x.grad is not None and not x.grad.any()
    torch.testing.assert_close(layer.weight.grad, 2 * x.detach().square().sum((0, 2, 3)))
    torch.testing.assert_close(layer.bias.grad, 2 * x.detach().sum((0, 2, 3)))


def gradients(model) -> dict[str, torch.Tensor]:
    """Gradients of the backbone from the losses of the RPN, and from the region features."""
    images = [torch.rand((3, 64, 64), generator=torch.Generator().manual_seed(0))]
    boxes = torch.tensor([[8.0, 8.0, 40.0, 44.0]])
    shots = Shots(images, [Target(boxes=boxes, labels=torch.tensor([1]))], ("a",))
    per_part = {}
    for part in ("rpn", "regions"):
        torch.manual_seed(0)
        model.zero_grad()
        regions, losses = model.train().sample(shots)
        if part == "regions":
            losses = {"sum": regions.features.maps.sum() + regions.features.means.sum()}
        sum(losses.values()).backward()
        flat = [p.grad.flatten() for p in model.backbone.parameters() if p.grad is not None]
        per_part[part] = torch.cat(flat)
    return per_part


@pytest.mark.parametrize("shares", [(0.0, 0.75), (1.0, 0.0)])
def test_backbone_gradients_of_proposals_and_regions_are_scaled(shares):
    config = tiny.config()
    plain = tiny.model(config)
    config.detector.gradients = list(shares)
    torch.manual_seed(0)
    other = build.detector(config.detector, config.head, 15, pretrained=False)
    other.load_state_dict(plain.state_dict(), strict=False)
    whole, ours = gradients(plain), gradients(copy.deepcopy(other))
    for part, share in zip(("rpn", "regions"), shares, strict=True):
        assert (ours[part] - share * whole[part]).norm() < 1e-4 * whole[part].norm()
