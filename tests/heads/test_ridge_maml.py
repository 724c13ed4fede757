"""MAML from the rows of ridge regression: ridge without steps, then descent; exact outer gradients."""

import torch
from helpers.heads import SHAPE, build_head, check_outer_gradient, double, regions

from fsdet.heads.gradient.ridge_maml import RidgeMaml
from fsdet.types import Support


def test_without_steps_it_is_ridge():
    support = regions()
    maml = build_head("ridge-maml", test_steps=0, strength=0.7, odds=0.4, scale=15.0)
    ridge = build_head("ridge", strength=0.7, odds=0.4, scale=15.0)
    maml.inherit(ridge)
    ours = maml(support.features, maml.adapt(support))
    theirs = ridge(support.features, ridge.adapt(support))
    torch.testing.assert_close(ours.logits, theirs.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.deltas, theirs.deltas)


def test_steps_descend_from_there():
    support = double(regions())
    head = build_head("ridge-maml", steps=4, test_steps=4).double()
    embedded = Support(head.embed(support.features).detach(), support.labels, support.deltas, 3)
    start = head.initial_task(embedded.embeddings, embedded)
    before = head.inner_loss(embedded.embeddings, embedded, start)
    after = head.inner_loss(embedded.embeddings, embedded, head.adapt(support))
    assert after < before
    assert head.adapt(support)["rows"].shape == (4, head.length)


def test_outer_gradient_matches_finite_differences():
    options = RidgeMaml.Options(steps=2, row_step=0.01, embedding_step=0.05)
    torch.manual_seed(1)
    head = RidgeMaml(SHAPE, 6, options)
    layers = [(head.trunk.last.bias, 0), (head.log_steps["rows"], 1)]
    check_outer_gradient(head, [*layers, (head.log_strength, ()), (head.log_odds, ())])
