"""Losses of labelled regions, and the transfer of base layers between heads."""

import copy

import numpy as np
import pytest
import torch
from helpers.heads import build_head, regions
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


def test_fitted_boxes_solve_the_normal_equations():
    head, some = build_head("cosine"), regions(5, 3)
    objects = some.labels > 0
    head.boxes.fit(some.features[objects], some.deltas[objects], decay=0.5)
    inputs = head.boxes(some.features[objects]).detach().double().numpy()
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1))], 1)
    gram = inputs.T @ inputs + 0.5 * np.eye(inputs.shape[1])
    expected = np.linalg.solve(gram, inputs.T @ some.deltas[objects].double().numpy())
    regressor = head.boxes.regressor
    solved = torch.cat([regressor.weight.T, regressor.bias[None]]).detach().numpy()
    np.testing.assert_allclose(solved, expected, atol=1e-4)
