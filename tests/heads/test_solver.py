"""Solver heads: against scikit-learn, and conditions of an optimum."""

import numpy as np
import pytest
import torch
from helpers.heads import build_head, double, regions, set_options
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.svm import LinearSVC
from torch.nn import functional as F

from fsdet.heads.solver.crammer_singer import crammer_singer, project_simplex, solve_dual
from fsdet.heads.solver.ridge import ridge
from fsdet.heads.support import category_weights
from fsdet.types import Regions

EXACT = {"tolerance": 1e-11, "steps": 10_000}


def noisy(seed: int = 0) -> Regions:
    """Regions in float64, far from separable."""
    return double(regions(seed=seed, noise=1.0))


def problem(rows: int = 24, length: int = 6, classes: int = 4, seed: int = 0):
    """x [S, D] around one centre per class, far from separable; labels, one-hot labels and costs."""
    torch.manual_seed(seed)
    labels = torch.arange(rows) % classes
    x = torch.randn(classes, length).double()[labels] + torch.randn(rows, length).double()
    costs = 0.5 + torch.rand(rows).double()
    return F.normalize(x, dim=1), labels, F.one_hot(labels, classes).double(), costs


@pytest.mark.parametrize("length", [6, 60], ids=["more regions", "more dimensions"])
def test_ridge_matches_scikit_learn_and_solves_the_normal_equations(length):
    x, _, targets, weights = problem(length=length)
    w = ridge(x, targets, weights, torch.tensor(0.3).double())
    left = x.T @ (weights[:, None] * x) + 0.3 * torch.eye(length)
    assert torch.allclose(left @ w, x.T @ (weights[:, None] * targets), atol=1e-10)
    reference = SklearnRidge(alpha=0.3, fit_intercept=False, solver="cholesky")
    reference.fit(x.numpy(), targets.numpy(), sample_weight=weights.numpy())
    assert np.allclose(w.T.numpy(), reference.coef_, atol=1e-9)


def test_ridge_head_matches_scikit_learn_on_its_embeddings():
    head, support, query = build_head("ridge").double(), noisy(), noisy(seed=1)
    z, z_query = (head.class_embeddings(head.embed(part.features)) for part in (support, query))
    weights = torch.where(support.labels > 0, 1 / 6, head.options.background / 6).double()
    reference = SklearnRidge(alpha=head.log_strength.exp().item(), fit_intercept=False)
    reference.fit(
        z.detach().numpy(), F.one_hot(support.labels).numpy(), sample_weight=weights.numpy()
    )
    expected = head.log_scale.exp() * torch.from_numpy(reference.predict(z_query.detach().numpy()))
    expected[:, 0] += head.log_odds.item()
    logits = head(query.features, head.adapt(support)).logits
    assert torch.allclose(logits, expected, atol=1e-6)


@given(
    st.lists(st.lists(st.floats(-5, 5, width=32), min_size=3, max_size=3), min_size=1, max_size=20)
)
def test_project_simplex_meets_the_variational_inequality(rows):
    points = torch.tensor(rows, dtype=torch.float64)
    projected = project_simplex(points)
    assert (projected >= 0).all() and torch.allclose(
        projected.sum(1), torch.ones(len(rows)).double()
    )
    to_corners = torch.eye(3)[None] - projected[:, None]  # [S, corner, K]
    assert ((points - projected)[:, None] * to_corners).sum(-1).max() < 1e-9


@pytest.mark.parametrize("cost", [0.3, 3.0, 30.0])
def test_crammer_singer_matches_scikit_learn(cost):
    x, labels, targets, costs = problem()
    w = crammer_singer(x, targets, cost * costs, **EXACT)
    reference = LinearSVC(
        C=cost, multi_class="crammer_singer", fit_intercept=False, tol=1e-10, max_iter=10**6
    )
    reference.fit(x.numpy(), labels.numpy(), sample_weight=costs.numpy())
    assert np.allclose(w.T.numpy(), reference.coef_, atol=1e-4 * cost**0.5)


def test_duality_gap_closes_with_the_tolerance():
    x, labels, targets, costs = problem()

    def gap(**options) -> float:
        p = solve_dual(x @ x.T, targets, 3 * costs, **options)
        a = 3 * costs[:, None] * (targets - p)
        w = x.T @ a
        scores = x @ w
        slack = (scores + 1 - targets).amax(1) - scores[torch.arange(len(x)), labels]
        primal = w.square().sum() / 2 + 3 * costs @ slack
        return (primal - ((targets * a).sum() - w.square().sum() / 2)).item()

    assert gap(**EXACT) == pytest.approx(0, abs=1e-8)
    assert 0 < gap(tolerance=1e-2, steps=500) < 1e-2 * 3 * costs.sum().item()
    assert gap(tolerance=0.0, steps=3) > 1e-2


@pytest.mark.slow
def test_derivative_of_crammer_singer_matches_finite_differences():
    x, _, targets, costs = problem(rows=12, length=4, classes=3)
    x.requires_grad_()
    weights = torch.randn(4, 3).double()

    def objective(x):
        return (weights * crammer_singer(x, targets, 2 * costs, **EXACT)).sum()

    assert torch.autograd.gradcheck(objective, x, eps=1e-5, atol=1e-4)
    (gradient,) = torch.autograd.grad(objective(x), x)
    assert gradient.abs().max() > 0.1


def test_metaoptnet_matches_scikit_learn_on_its_embeddings():
    head = build_head("metaoptnet", **EXACT).double()
    support, query = noisy(), noisy(seed=1)
    z, z_query = (head.class_embeddings(head.embed(part.features)) for part in (support, query))
    costs = torch.where(support.labels > 0, 1 / 6, head.options.background / 6)
    reference = LinearSVC(
        C=head.options.penalty,
        multi_class="crammer_singer",
        fit_intercept=False,
        tol=1e-10,
        max_iter=10**6,
    )
    reference.fit(z.detach().numpy(), support.labels.numpy(), sample_weight=costs.numpy())
    expected = head.log_scale.exp() * torch.from_numpy(
        reference.decision_function(z_query.detach().numpy())
    )
    logits = head(query.features, head.adapt(support)).logits
    assert torch.allclose(logits, expected, atol=0.02)


@pytest.mark.slow
def test_linear_fine_tuning_starts_at_zero_and_converges_to_logistic_regression():
    head = build_head("linear", steps=3000, weight_decay=0.05).double()
    support, query = noisy(), noisy(seed=1)
    z, z_query = (head.embed(part.features).chunk(2, 1)[0].detach() for part in (support, query))
    weights = category_weights(support.labels, 3, head.options.background).double()
    # Weight decay applies to the biases too: a constant feature of the same length.
    ones = torch.ones(len(z), 1).double()
    inputs = (
        torch.cat([head.options.scale * z, ones], 1),
        torch.cat([head.options.scale * z_query, ones], 1),
    )
    reference = LogisticRegression(C=1 / (2 * 0.05), fit_intercept=False, tol=1e-12, max_iter=10**5)
    reference.fit(inputs[0].numpy(), support.labels.numpy(), sample_weight=weights.numpy())
    expected = torch.from_numpy(reference.decision_function(inputs[1].numpy()))
    logits = head(query.features, head.adapt(support)).logits
    assert torch.allclose(logits.softmax(1), expected.softmax(1), atol=1e-3)
    set_options(head, steps=0)
    assert not head(query.features, head.adapt(support)).logits.any()
