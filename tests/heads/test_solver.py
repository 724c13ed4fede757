"""Heads that solve for a task: against scikit-learn, conditions of an optimum, and torch's own SGD."""

import numpy as np
import pytest
import torch
from helpers.heads import made, regions
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as LeastSquares
from sklearn.svm import LinearSVC
from torch.nn import functional as F

from fsdet.heads.solver.crammer_singer import dual, largest_margin, onto_simplex
from fsdet.heads.solver.ridge import ridge
from fsdet.heads.support import category_weights, spread
from fsdet.types import Regions, Support

EXACT = {"tolerance": 1e-11, "steps": 20_000}


def doubles(seed: int = 0, spread: float = 1.0) -> Regions:
    given = regions(seed=seed, spread=spread)
    return Regions(given.features.to(torch.float64), given.labels, given.deltas.double(), 3)


def problem(rows: int = 24, length: int = 6, classes: int = 4, seed: int = 0):
    """x [S, D] about a point a class, far from separable; labels, one-hot labels and costs."""
    torch.manual_seed(seed)
    labels = torch.arange(rows) % classes
    x = torch.randn(classes, length).double()[labels] + torch.randn(rows, length).double()
    costs = 0.5 + torch.rand(rows).double()
    return F.normalize(x, dim=1), labels, F.one_hot(labels, classes).double(), costs


@pytest.mark.parametrize("length", [6, 60], ids=["more regions", "more dimensions"])
def test_ridge_is_scikit_learns_and_solves_the_normal_equations(length):
    x, _, targets, weights = problem(length=length)
    w = ridge(x, targets, weights, torch.tensor(0.3).double())
    left = x.T @ (weights[:, None] * x) + 0.3 * torch.eye(length)
    assert torch.allclose(left @ w, x.T @ (weights[:, None] * targets), atol=1e-10)
    theirs = LeastSquares(alpha=0.3, fit_intercept=False, solver="cholesky")
    theirs.fit(x.numpy(), targets.numpy(), sample_weight=weights.numpy())
    assert np.allclose(w.T.numpy(), theirs.coef_, atol=1e-9)


def test_a_ridge_head_is_the_closed_form_of_its_descriptions():
    head, support, query = made("ridge").double(), doubles(), doubles(seed=1)
    z, asked = (head.describe(head.embed(one.features)) for one in (support, query))
    weights = torch.where(support.labels > 0, 1 / 6, head.background / 6).double()
    theirs = LeastSquares(alpha=head.log_strength.exp().item(), fit_intercept=False)
    theirs.fit(z.detach().numpy(), F.one_hot(support.labels).numpy(), sample_weight=weights.numpy())
    expected = head.log_scale.exp() * torch.from_numpy(theirs.predict(asked.detach().numpy()))
    expected[:, 0] += head.log_odds.item()
    logits = head(query.features, head.adapt(support)).logits
    assert torch.allclose(logits, expected, atol=1e-6)


@given(
    st.lists(st.lists(st.floats(-5, 5, width=32), min_size=3, max_size=3), min_size=1, max_size=20)
)
def test_the_nearest_point_of_the_simplex_leaves_no_corner_nearer(rows):
    given_rows = torch.tensor(rows, dtype=torch.float64)
    point = onto_simplex(given_rows)
    assert (point >= 0).all() and torch.allclose(point.sum(1), torch.ones(len(rows)).double())
    towards = torch.eye(3)[None] - point[:, None]  # [S, corner, K]
    assert ((given_rows - point)[:, None] * towards).sum(-1).max() < 1e-9


@pytest.mark.parametrize("cost", [0.3, 3.0, 30.0])
def test_the_largest_margin_is_scikit_learns(cost):
    x, labels, targets, costs = problem()
    w = largest_margin(x, targets, cost * costs, **EXACT)
    theirs = LinearSVC(
        C=cost, multi_class="crammer_singer", fit_intercept=False, tol=1e-10, max_iter=10**6
    )
    theirs.fit(x.numpy(), labels.numpy(), sample_weight=costs.numpy())
    assert np.allclose(w.T.numpy(), theirs.coef_, atol=1e-4 * cost**0.5)


def test_the_dual_is_the_primal_at_the_optimum_and_short_of_it_before():
    x, labels, targets, costs = problem()

    def gap(**how) -> float:
        p = dual(x @ x.T, targets, 3 * costs, **how)
        a = 3 * costs[:, None] * (targets - p)
        w = x.T @ a
        scores = x @ w
        slack = (scores + 1 - targets).amax(1) - scores[torch.arange(len(x)), labels]
        primal = w.square().sum() / 2 + 3 * costs @ slack
        return (primal - ((targets * a).sum() - w.square().sum() / 2)).item()

    assert gap(**EXACT) == pytest.approx(0, abs=1e-8)
    assert 0 < gap(tolerance=1e-2, steps=500) < 1e-2 * 3 * costs.sum().item()
    assert gap(tolerance=0.0, steps=3) > 1e-2


def test_the_derivative_of_the_largest_margin_is_that_of_differences():
    x, _, targets, costs = problem(rows=12, length=4, classes=3)
    x.requires_grad_()
    weigh = torch.randn(4, 3).double()

    def said(x):
        return (weigh * largest_margin(x, targets, 2 * costs, **EXACT)).sum()

    assert torch.autograd.gradcheck(said, x, eps=1e-5, atol=1e-4)
    (slope,) = torch.autograd.grad(said(x), x)
    assert slope.abs().max() > 0.1


def test_metaoptnet_is_the_machine_of_its_descriptions():
    head = made("metaoptnet", **EXACT).double()
    support, query = doubles(), doubles(seed=1)
    z, asked = (head.describe(head.embed(one.features)) for one in (support, query))
    costs = torch.where(support.labels > 0, 1 / 6, head.background / 6)
    theirs = LinearSVC(
        C=head.penalty, multi_class="crammer_singer", fit_intercept=False, tol=1e-10, max_iter=10**6
    )
    theirs.fit(z.detach().numpy(), support.labels.numpy(), sample_weight=costs.numpy())
    expected = head.log_scale.exp() * torch.from_numpy(
        theirs.decision_function(asked.detach().numpy())
    )
    logits = head(query.features, head.adapt(support)).logits
    assert torch.allclose(logits, expected, atol=0.02)


def test_the_machine_sees_regions_of_every_object_where_there_are_too_many():
    labels = torch.tensor([1] * 10 + [2] * 3 + [0] * 7)
    support = Support(torch.arange(20.0)[:, None], labels, torch.zeros(20, 4), 2)
    few = spread(support, 5, 2)
    assert torch.bincount(few.labels).tolist() == [2, 5, 3]
    assert few.embeddings[:5, 0].tolist() == [1, 3, 5, 7, 9]


def test_linear_fine_tuning_starts_at_nothing_and_ends_at_logistic_regression():
    head = made("linear", steps=3000, weight_decay=0.05).double()
    support, query = doubles(), doubles(seed=1)
    z, asked = (head.embed(one.features).chunk(2, 1)[0].detach() for one in (support, query))
    weights = category_weights(support.labels, 3, head.background).double()
    # Its biases are pulled to nothing too: a constant feature as long as the others.
    ones = torch.ones(len(z), 1).double()
    long = torch.cat([head.scale * z, ones], 1), torch.cat([head.scale * asked, ones], 1)
    theirs = LogisticRegression(C=1 / (2 * 0.05), fit_intercept=False, tol=1e-12, max_iter=10**5)
    theirs.fit(long[0].numpy(), support.labels.numpy(), sample_weight=weights.numpy())
    expected = torch.from_numpy(theirs.decision_function(long[1].numpy()))
    logits = head(query.features, head.adapt(support)).logits
    assert torch.allclose(logits.softmax(1), expected.softmax(1), atol=1e-3)
    head.steps = 0
    assert not head(query.features, head.adapt(support)).logits.any()
