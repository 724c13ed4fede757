"""Matching, siamese and relation networks: against their formulas, written out."""

import math

import pytest
import torch
from helpers.heads import SHAPE, made, regions, renamed
from torch import nn
from torch.nn import functional as F

from fsdet import build
from fsdet import config as cfg
from fsdet.errors import InputError
from fsdet.heads.layers import beside
from fsdet.types import Regions, Support


def doubles(given: Regions) -> Regions:
    return Regions(
        given.features.to(torch.float64), given.labels, given.deltas.double(), given.n_way
    )


def uneven() -> Regions:
    """Categories of 6, 6, 2 and 1 regions, out of order."""
    whole = doubles(regions(spread=1.0))
    rows = torch.tensor([12, 3, 18, 0, 7, 1, 9, 2, 4, 13, 5, 6, 8, 10, 11])
    return Regions(whole.features[rows], whole.labels[rows], whole.deltas[rows], 3)


def described(head, given: Regions) -> torch.Tensor:
    return head.describe(head.embed(given.features))


def test_matching_is_the_attention_of_the_paper_with_categories_counted_alike():
    head, support, query = made("matching").double(), uneven(), doubles(regions(seed=1))
    logits = head(query.features, head.adapt(support)).logits
    keys, scale = described(head, support), head.log_scale.exp().item()
    for z, said in zip(described(head, query), logits, strict=True):
        kernel = [math.exp(scale * F.cosine_similarity(z, s, dim=0).item()) for s in keys]
        means = []
        for c in range(4):
            mine = [
                k for k, label in zip(kernel, support.labels.tolist(), strict=True) if label == c
            ]
            means.append(sum(mine) / len(mine))
        expected = torch.tensor([math.log(m / sum(means)) for m in means], dtype=torch.float64)
        assert torch.allclose(said, expected, atol=1e-9)


def test_matching_is_the_papers_softmax_over_the_support_where_categories_are_equal():
    head, support, query = made("matching"), regions(), regions(seed=1)
    prediction = head(query.features, head.adapt(support))
    cosines = described(head, query) @ described(head, support).T
    attention = (head.log_scale.exp() * cosines).softmax(1)
    expected = attention @ F.one_hot(support.labels).float()
    assert torch.allclose(prediction.logits.exp(), expected, atol=1e-5)
    assert torch.allclose(prediction.probabilities(), expected[:, 1:], atol=1e-5)


def test_regions_seen_twice_count_once():
    """A category is not more likely for having more support regions."""
    head, support, query = made("matching"), regions(), regions(seed=1)
    rows = torch.cat([torch.arange(24), torch.arange(6, 12)])
    twice = Regions(support.features[rows], support.labels[rows], support.deltas[rows], 3)
    plain = head(query.features, head.adapt(support)).logits
    assert torch.allclose(head(query.features, head.adapt(twice)).logits, plain, atol=1e-3)


@pytest.mark.parametrize("name", ["matching", "matching-fce", "siamese", "relation"])
@pytest.mark.parametrize("scale", [1e-3, 20.0, 1e4])
def test_a_category_without_regions_is_never_meant_and_nothing_is_lost(name, scale):
    head, support = made(name, scale=scale).train(), regions(spread=1.0)
    rows = support.labels != 2
    support = Regions(support.features[rows], support.labels[rows], support.deltas[rows], 3)
    query = regions(seed=1)
    said = head(query.features, head.adapt(support)).logits
    assert said.isfinite().all()
    if scale > 1:
        assert (said.argmax(1) != 2).all()
    sum(head.episode(support, query).values()).backward()
    for key, parameter in head.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("name", ["matching", "siamese"])
def test_no_more_regions_are_compared_than_asked(name):
    head = made(name, regions=2, background=3).double()
    task = head.adapt(uneven())
    assert task["counts"].tolist() == [3, 2, 2, 1] and len(task["keys"]) == 8


def sigmoid_lstm(cell, x, h, c, suffix=""):
    """One step of an LSTM, gate by gate (Hochreiter and Schmidhuber 1997, with forget gates)."""
    weights = [
        getattr(cell, f"{name}{suffix}")
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    gates = weights[0] @ x + weights[1] @ h + weights[2] + weights[3]
    i, f, g, o = gates.chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def test_full_context_embeddings_are_the_papers():
    head = made("matching-fce", context=5, steps=3).double()
    support, query = uneven(), doubles(regions(seed=1))
    keys, counts = described(head, support), torch.bincount(support.labels)
    x = keys @ head.project.weight.T
    order = sorted(range(len(keys)), key=lambda i: (keys[i] @ keys.mean(0)).item())
    g = x.clone()
    for places, suffix in ((order, "_l0"), (order[::-1], "_l0_reverse")):
        h = c = torch.zeros(5, dtype=torch.float64)
        for place in places:
            h, c = sigmoid_lstm(head.reader, x[place], h, c, suffix)
            g[place] += h
    rows = torch.argsort(support.labels, stable=True)
    task = head.adapt(support)
    assert torch.allclose(task["context"], g[rows], atol=1e-9)
    weights = 1 / counts[support.labels].double()  # every category alike
    seen = []
    for z in described(head, query):
        x, h, c = head.project.weight @ z, torch.zeros(5).double(), torch.zeros(5).double()
        for _ in range(3):
            attention = weights * torch.exp(g @ h)
            r = (attention[:, None] * g).sum(0) / attention.sum()
            h, c = sigmoid_lstm(head.cell, torch.cat([x, r]), h, c)
            h = h + x
        seen.append(h)
    z, s = (
        beside(what, context, head.log_context_share)
        for what, context in ((described(head, query), torch.stack(seen)), (keys, g))
    )
    kernel = torch.exp(head.log_scale.exp() * z @ s.T)
    means = torch.stack([kernel[:, support.labels == c].mean(1) for c in range(4)], 1)
    logits = head(query.features, task).logits
    assert torch.allclose(logits, (means / means.sum(1, keepdim=True)).log(), atol=1e-9)


def test_siamese_finds_the_nearest_region_of_every_category():
    head, support, query = made("siamese").double(), uneven(), doubles(regions(seed=1))
    distances = torch.cdist(described(head, query), described(head, support))
    nearest = torch.stack([distances[:, support.labels == c].amin(1) for c in range(4)], 1)
    logits = head(query.features, head.adapt(support)).logits
    assert torch.allclose(logits, -head.log_scale.exp() * nearest.square(), atol=1e-6)


def test_siamese_loss_is_hadsells_over_the_nearest_pairs():
    head, support, query = (
        made("siamese", margin=0.9).double().train(),
        uneven(),
        doubles(regions(seed=1)),
    )
    z, s = described(head, query), described(head, support)
    same_pairs, other_pairs = [], []
    for one, label in zip(z, query.labels.tolist(), strict=True):
        pairs = [((one - t).norm().item(), int(m)) for t, m in zip(s, support.labels, strict=True)]
        same_pairs.append(min(d for d, m in pairs if m == label) ** 2)
        other_pairs.append(max(0.0, 0.9 - min(d for d, m in pairs if m != label)) ** 2)
    expected = (sum(same_pairs) + sum(other_pairs)) / (2 * len(z))
    losses = head.episode(support, query)
    assert losses["loss_pairs"].item() == pytest.approx(expected, rel=1e-6)
    assert max(other_pairs) > 0  # the margin is not idle here
    assert set(losses) == {"loss_pairs", "loss_class", "loss_box"}


def test_cross_entropy_moves_the_scale_of_siamese_alone_and_pairs_the_rest():
    head, support, query = made("siamese").train(), regions(), regions(seed=1)
    losses = head.episode(support, query)
    moved = {}
    for name, loss in losses.items():
        head.zero_grad()
        loss.backward(retain_graph=True)
        moved[name] = {
            key
            for key, parameter in head.named_parameters()
            if parameter.grad is not None and parameter.grad.abs().sum() > 0
        }
    assert moved["loss_class"] == {"log_scale"}
    assert all(key.startswith("boxes.") for key in moved["loss_box"])
    assert moved["loss_pairs"] and all(
        k.startswith(("trunk.", "log_share")) for k in moved["loss_pairs"]
    )


def test_gradients_of_siamese_pairs_agree_with_finite_differences():
    head, support, query = made("siamese").double().train(), uneven(), doubles(regions(seed=1))

    def pairs() -> torch.Tensor:
        return head.episode(support, query)["loss_pairs"]

    pairs().backward()
    for parameter, place in ((head.trunk.last.bias, 3), (head.log_share, ())):
        slope, step = parameter.grad[place].item(), 1e-6
        with torch.no_grad():
            parameter[place] += step
            up = pairs().item()
            parameter[place] -= 2 * step
            down = pairs().item()
            parameter[place] += step
        assert slope == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-8)


def test_a_region_on_top_of_another_has_a_finite_gradient():
    head, support = made("siamese").train(), regions()
    sum(head.episode(support, renamed(support, torch.tensor([1, 2, 3, 0]))).values()).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters() if p.grad is not None)


def test_relation_starts_as_the_cosine_to_class_means():
    relation, prototype = made("relation"), made("prototype")
    relation.inherit(prototype)
    support, query = regions(), regions(seed=1)
    ours = relation(query.features, relation.adapt(support)).logits
    theirs = prototype(query.features, prototype.adapt(support)).logits
    assert torch.allclose(ours[:, 1:], theirs[:, 1:], atol=1e-4)


def test_relation_is_two_layers_over_a_region_and_a_mean():
    head, support, query = made("relation", hidden=7), regions(), regions(seed=1)
    nn.init.normal_(head.relation.weight)
    first = nn.Linear(2 * head.length, 7)
    with torch.no_grad():
        first.weight.copy_(torch.cat([head.of_region.weight, head.of_category.weight], 1))
        first.bias.copy_(head.of_region.bias)
    z, s = described(head, query), described(head, support)
    logits = head(query.features, head.adapt(support)).logits
    for c in range(4):
        mean = s[support.labels == c].mean(0)
        learned = head.relation(F.relu(first(torch.cat([z, mean.expand_as(z)], 1))))[:, 0]
        expected = head.log_scale.exp() * F.cosine_similarity(z, mean[None]) + learned
        assert torch.allclose(logits[:, c], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("matching", {"regions": 0}, "regions: expected above 0, got 0"),
        ("matching", {"background": 0}, "background: expected above 0, got 0"),
        ("matching", {"scale": 0}, "scale: expected above 0, got 0"),
        ("matching-fce", {"steps": 0}, "steps: expected above 0, got 0"),
        ("matching-fce", {"context": 2.5}, "context: expected a whole number, got 2.5"),
        ("matching-fce", {"context_share": 0}, "context_share: expected above 0, got 0"),
        ("siamese", {"margin": 0}, "margin: expected above 0, got 0"),
        ("siamese", {"share": 0}, "share: expected above 0, got 0"),
        ("relation", {"hidden": 0}, "hidden: expected above 0, got 0"),
        ("relation", {"scale": 0}, "scale: expected above 0, got 0"),
    ],
)
def test_arguments_out_of_range_are_named(name, args, message):
    with pytest.raises(InputError, match=f"head.args.{message}"):
        build.head(cfg.Head(name, args), SHAPE, 16, 3)


def test_an_empty_support_is_answered_for_too():
    """Only background, say: no box of any category was there."""
    support = regions()
    rows = support.labels == 0
    for name in ("matching", "matching-fce", "siamese", "relation"):
        head = made(name)
        embeddings = head.embed(support.features)[rows]
        task = head.learn(Support(embeddings, support.labels[rows], support.deltas[rows], 3))
        assert head.predict(embeddings, task).logits.isfinite().all()
