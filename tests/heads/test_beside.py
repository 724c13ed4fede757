"""Beside: kept categories stay as they are, whatever is registered."""

import torch
from helpers.heads import SHAPE, build_head, regions
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdet import build
from fsdet import config as cfg
from fsdet.heads.layers import RegionShape, mean_features
from fsdet.types import Features, Regions

KEPT = 4


def keeping(kind="linear", **options):
    """A head with random kept rows, as an import makes it."""
    torch.manual_seed(2)
    arguments = {"cosine": 20.0 if kind == "cosine" else 0.0, "class_boxes": True, **options}
    shape = RegionShape(SHAPE.channels, SHAPE.side, SHAPE.means, "2fc")
    head = build.head(cfg.Head("beside", arguments), shape, 16, KEPT).eval()
    for name, value in head.kept.named_buffers():
        if name != "folded":
            value.normal_()
    head.kept.folded.fill_(False)
    return head


def support(n_new=2, seed=0):
    """Regions of new categories, whose labels follow the kept ones, and background."""
    examples = regions(seed=seed)
    keep = examples.labels <= n_new
    labels = examples.labels[keep]
    return Regions(
        examples.features[keep],
        torch.where(labels > 0, labels + KEPT, 0),
        examples.deltas[keep],
        KEPT + n_new,
    )


def random_features(rows=20, seed=9):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(rows, SHAPE.channels, SHAPE.side, SHAPE.side, generator=generator)
    means = torch.randn(rows, sum(SHAPE.means), generator=generator)
    return Features(maps, torch.nn.functional.normalize(means, dim=1))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    n_new=st.integers(1, 3),
    kind=st.sampled_from(["linear", "cosine"]),
    scale=st.floats(1, 60),
)
def test_kept_scores_change_only_where_a_new_category_is_almost_certain(seed, n_new, kind, scale):
    head, features = keeping(kind, steps=5), random_features(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    task = {
        "weight": torch.randn(n_new, sum(SHAPE.means) + SHAPE.channels + 16, generator=generator),
        "offset": torch.randn(n_new, generator=generator) * scale / 20,
        "mixture": torch.rand(n_new, KEPT, generator=generator),
    }
    before = head(features, {"weight": torch.zeros(0, 1)})
    after = head(features, task)
    kept, new = after.probabilities().split([KEPT, n_new], 1)
    trained, claimed, sure = before.probabilities(), new.sum(1), head.options.sure
    unsure = claimed < sure - 1e-4
    assert torch.allclose(kept[unsure], trained[unsure], rtol=1e-5, atol=1e-7)
    assert (kept <= trained + 1e-6).all()
    # One factor for all kept categories: their order stays.
    factor = ((1 - claimed[:, None]) / (1 - sure)).clamp(max=1)
    assert torch.allclose(kept, trained * factor, atol=1e-5)
    assert (new >= 0).all() and (new.sum(1) <= 1 + 1e-6).all()
    assert torch.equal(after.deltas[:, :KEPT], before.deltas)


def test_new_categories_are_a_sigmoid_of_their_own_term():
    head, features = keeping(), random_features()
    examples = support(1)
    task = head.adapt(examples)
    prediction = head(features, task)
    fc7 = head.trunk(features)
    share = head.options.share
    z = torch.cat([mean_features(features), share * torch.nn.functional.normalize(fc7, dim=1)], 1)
    z = z / (1 + share**2) ** 0.5
    expected = torch.sigmoid(head.options.scale * (z @ task["weight"][0] - task["offset"][0]))
    assert torch.allclose(prediction.probabilities()[:, KEPT], expected, atol=1e-5)


def test_registered_categories_are_recognised():
    head, examples = keeping(), support(3)
    query = support(3, seed=5)
    labels = head(query.features, head.adapt(examples)).logits.argmax(1)
    assert (labels == query.labels)[query.labels > 0].float().mean() > 0.9


def test_forgetting_a_kept_category_adds_its_probability_to_background():
    head, features = keeping(), random_features()
    empty = {"weight": torch.zeros(0, 1)}
    before = head(features, empty).logits.softmax(1)
    other = head.without([1])
    after = other(features, empty)
    assert torch.allclose(after.logits.softmax(1)[:, 0], before[:, 0] + before[:, 2], atol=1e-6)
    assert torch.allclose(after.logits.softmax(1)[:, 1:], before[:, [1, 3, 4]], atol=1e-6)
    assert after.deltas.shape[1] == 3
    assert torch.equal(head(features, empty).logits.softmax(1), before)
    assert other.without([0]).n_kept == 2 and head.n_kept == KEPT


def test_box_mixture_is_the_ridge_solution_towards_the_prior():
    head, examples = keeping(box_decay=0.5), support(1)
    task = head.adapt(examples)
    embeddings = head.embed(examples.features)
    rows = examples.labels == KEPT + 1
    prior = head.kept.logits(embeddings[rows][:, :16])[:, 1:].softmax(1).mean(0).double()
    moved = rows & (examples.deltas != 0).any(1)
    a = head.kept.deltas(embeddings[moved][:, :16]).transpose(1, 2).flatten(0, 1).double()
    b = examples.deltas[moved].flatten().double()
    expected = torch.linalg.solve(
        a.T @ a + 0.5 * torch.eye(KEPT, dtype=torch.float64), a.T @ b + 0.5 * prior
    )
    assert torch.allclose(task["mixture"][0].double(), expected, atol=1e-4)


def test_a_head_of_base_training_keeps_its_rows():
    base = build_head("cosine")
    head = build_head("beside")
    assert head.n_kept == 0
    head.inherit(base)
    assert head.n_kept == len(base.rows) - 1
    features = random_features()
    ours = head(features, {"weight": torch.zeros(0, 1)})
    theirs = base(features, base.base_task())
    assert torch.allclose(ours.logits, theirs.logits.log_softmax(1), rtol=1e-3, atol=1e-3)
    assert torch.allclose(ours.deltas, theirs.deltas, atol=1e-5)
