"""Losses of labelled regions, and the transfer of base layers between heads."""

import copy

import pytest
import torch
from helpers.heads import build_head
from torchvision.models.detection.roi_heads import fastrcnn_loss

from fsdet.heads.base import region_losses
from fsdet.types import Prediction


def test_losses_match_torchvision_for_class_agnostic_boxes():
    torch.manual_seed(0)
    logits, deltas, targets = torch.randn(20, 4), torch.randn(20, 4), torch.randn(20, 4)
    labels = torch.randint(0, 4, (20,))
    losses = region_losses(Prediction(logits, deltas), labels, targets)
    class_loss, box_loss = fastrcnn_loss(logits, deltas.repeat(1, 4), [labels], [targets])
    assert losses["loss_class"].item() == pytest.approx(class_loss.item(), rel=1e-6)
    assert losses["loss_box"].item() == pytest.approx(box_loss.item(), rel=1e-6)


def test_inherit_copies_layers_and_interpolate_moves_towards_them():
    base, head = build_head("cosine"), build_head("maml")
    head.inherit(base)
    assert torch.equal(head.trunk.first.weight, base.trunk.first.weight)
    before = copy.deepcopy(head)
    with torch.no_grad():
        head.trunk.last.bias += 1.0
        head.log_scale += 1.0
    head.interpolate(before, 0.25)
    assert torch.allclose(head.trunk.last.bias, before.trunk.last.bias + 0.75)
    assert torch.equal(head.log_scale, before.log_scale + 1.0)
