"""Matching, siamese and relation networks: against their formulas."""

import math

import pytest
import torch
from helpers.heads import build_head, double, regions, relabelled, rows_of
from torch import nn
from torch.nn import functional as F

from fsdet.heads.layers import weighted_concat
from fsdet.types import Regions, Support


def uneven() -> Regions:
    """Categories of 6, 6, 2 and 1 regions, out of order."""
    everything = double(regions(noise=1.0))
    return rows_of(everything, torch.tensor([12, 3, 18, 0, 7, 1, 9, 2, 4, 13, 5, 6, 8, 10, 11]))


def class_embeddings(head, part: Regions) -> torch.Tensor:
    return head.class_embeddings(head.embed(part.features))


def test_matching_is_the_papers_attention_with_equal_category_weights():
    head, support, query = build_head("matching").double(), uneven(), double(regions(seed=1))
    logits = head(query.features, head.adapt(support)).logits
    keys, scale = class_embeddings(head, support), head.log_scale.exp().item()
    for z, row in zip(class_embeddings(head, query), logits, strict=True):
        kernel = [math.exp(scale * F.cosine_similarity(z, s, dim=0).item()) for s in keys]
        means = []
        for c in range(4):
            own = [
                k for k, label in zip(kernel, support.labels.tolist(), strict=True) if label == c
            ]
            means.append(sum(own) / len(own))
        expected = torch.tensor([math.log(m / sum(means)) for m in means], dtype=torch.float64)
        assert torch.allclose(row, expected, atol=1e-9)


def test_matching_is_the_papers_softmax_for_categories_of_equal_size():
    head, support, query = build_head("matching"), regions(), regions(seed=1)
    prediction = head(query.features, head.adapt(support))
    cosines = class_embeddings(head, query) @ class_embeddings(head, support).T
    attention = (head.log_scale.exp() * cosines).softmax(1)
    expected = attention @ F.one_hot(support.labels).float()
    assert torch.allclose(prediction.logits.exp(), expected, atol=1e-5)
    assert torch.allclose(prediction.probabilities(), expected[:, 1:], atol=1e-5)


def test_repeated_support_regions_change_nothing():
    """More support regions do not make a category more likely."""
    head, support, query = build_head("matching"), regions(), regions(seed=1)
    rows = torch.cat([torch.arange(24), torch.arange(6, 12)])
    twice = rows_of(support, rows)
    expected = head(query.features, head.adapt(support)).logits
    assert torch.allclose(head(query.features, head.adapt(twice)).logits, expected, atol=1e-3)


@pytest.mark.parametrize("name", ["matching", "matching-fce", "siamese", "relation"])
@pytest.mark.parametrize("scale", [1e-3, 20.0, 1e4])
def test_category_without_regions_is_never_predicted_at_any_scale(name, scale):
    head, support = build_head(name, scale=scale).train(), regions(noise=1.0)
    support = rows_of(support, support.labels != 2)
    query = regions(seed=1)
    logits = head(query.features, head.adapt(support)).logits
    assert logits.isfinite().all()
    if scale > 1:
        assert (logits.argmax(1) != 2).all()
    sum(head.episode(support, query).values()).backward()
    for key, parameter in head.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("name", ["matching", "siamese"])
def test_regions_and_background_limit_the_support(name):
    head = build_head(name, regions=2, background=3).double()
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


def test_full_context_embeddings_match_the_paper():
    head = build_head("matching-fce", context=5, steps=3).double()
    support, query = uneven(), double(regions(seed=1))
    keys, counts = class_embeddings(head, support), torch.bincount(support.labels)
    x = keys @ head.project.weight.T
    order = sorted(range(len(keys)), key=lambda i: (keys[i] @ keys.mean(0)).item())
    g = x.clone()
    for sequence, suffix in ((order, "_l0"), (order[::-1], "_l0_reverse")):
        h = c = torch.zeros(5, dtype=torch.float64)
        for i in sequence:
            h, c = sigmoid_lstm(head.reader, x[i], h, c, suffix)
            g[i] += h
    rows = torch.argsort(support.labels, stable=True)
    task = head.adapt(support)
    assert torch.allclose(task["context"], g[rows], atol=1e-9)
    weights = 1 / counts[support.labels].double()  # equal weight of categories
    contexts = []
    for z in class_embeddings(head, query):
        x, h, c = head.project.weight @ z, torch.zeros(5).double(), torch.zeros(5).double()
        for _ in range(3):
            attention = weights * torch.exp(g @ h)
            r = (attention[:, None] * g).sum(0) / attention.sum()
            h, c = sigmoid_lstm(head.cell, torch.cat([x, r]), h, c)
            h = h + x
        contexts.append(h)
    z, s = (
        weighted_concat(embeddings, context, head.log_context_share)
        for embeddings, context in (
            (class_embeddings(head, query), torch.stack(contexts)),
            (keys, g),
        )
    )
    kernel = torch.exp(head.log_scale.exp() * z @ s.T)
    means = torch.stack([kernel[:, support.labels == c].mean(1) for c in range(4)], 1)
    logits = head(query.features, task).logits
    assert torch.allclose(logits, (means / means.sum(1, keepdim=True)).log(), atol=1e-9)


def test_siamese_logits_are_distances_to_the_nearest_region():
    head, support, query = build_head("siamese").double(), uneven(), double(regions(seed=1))
    distances = torch.cdist(class_embeddings(head, query), class_embeddings(head, support))
    nearest = torch.stack([distances[:, support.labels == c].amin(1) for c in range(4)], 1)
    logits = head(query.features, head.adapt(support)).logits
    assert torch.allclose(logits, -head.log_scale.exp() * nearest.square(), atol=1e-6)


def test_siamese_loss_is_the_contrastive_loss_of_nearest_pairs():
    head, support, query = (
        build_head("siamese", margin=0.9).double().train(),
        uneven(),
        double(regions(seed=1)),
    )
    z, s = class_embeddings(head, query), class_embeddings(head, support)
    same_pairs, other_pairs = [], []
    for embedding, label in zip(z, query.labels.tolist(), strict=True):
        pairs = [
            ((embedding - t).norm().item(), int(m)) for t, m in zip(s, support.labels, strict=True)
        ]
        same_pairs.append(min(d for d, m in pairs if m == label) ** 2)
        other_pairs.append(max(0.0, 0.9 - min(d for d, m in pairs if m != label)) ** 2)
    expected = (sum(same_pairs) + sum(other_pairs)) / (2 * len(z))
    losses = head.episode(support, query)
    assert losses["loss_pairs"].item() == pytest.approx(expected, rel=1e-6)
    assert max(other_pairs) > 0  # some pairs are within the margin
    assert set(losses) == {"loss_pairs", "loss_class", "loss_box"}


def test_siamese_cross_entropy_trains_the_scale_alone():
    head, support, query = build_head("siamese").train(), regions(), regions(seed=1)
    losses = head.episode(support, query)
    trained = {}
    for name, loss in losses.items():
        head.zero_grad()
        loss.backward(retain_graph=True)
        trained[name] = {
            key
            for key, parameter in head.named_parameters()
            if parameter.grad is not None and parameter.grad.abs().sum() > 0
        }
    assert trained["loss_class"] == {"log_scale"}
    assert all(key.startswith("boxes.") for key in trained["loss_box"])
    assert trained["loss_pairs"] and all(
        k.startswith(("trunk.", "log_share")) for k in trained["loss_pairs"]
    )


def test_gradients_of_siamese_pairs_match_finite_differences():
    head, support, query = build_head("siamese").double().train(), uneven(), double(regions(seed=1))

    def pairs() -> torch.Tensor:
        return head.episode(support, query)["loss_pairs"]

    pairs().backward()
    for parameter, index in ((head.trunk.last.bias, 3), (head.log_share, ())):
        slope, step = parameter.grad[index].item(), 1e-6
        with torch.no_grad():
            parameter[index] += step
            up = pairs().item()
            parameter[index] -= 2 * step
            down = pairs().item()
            parameter[index] += step
        assert slope == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-8)


def test_identical_regions_have_finite_gradients():
    head, support = build_head("siamese").train(), regions()
    sum(head.episode(support, relabelled(support, torch.tensor([1, 2, 3, 0]))).values()).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters() if p.grad is not None)


def test_relation_starts_as_prototypes():
    relation, prototype = build_head("relation"), build_head("prototype")
    relation.inherit(prototype)
    support, query = regions(), regions(seed=1)
    logits = relation(query.features, relation.adapt(support)).logits
    expected = prototype(query.features, prototype.adapt(support)).logits
    assert torch.allclose(logits[:, 1:], expected[:, 1:], atol=1e-4)


def test_relation_adds_two_layers_over_region_and_mean():
    head, support, query = build_head("relation", hidden=7), regions(), regions(seed=1)
    nn.init.normal_(head.relation.weight)
    first = nn.Linear(2 * head.length, 7)
    with torch.no_grad():
        first.weight.copy_(torch.cat([head.of_region.weight, head.of_category.weight], 1))
        first.bias.copy_(head.of_region.bias)
    z, s = class_embeddings(head, query), class_embeddings(head, support)
    logits = head(query.features, head.adapt(support)).logits
    for c in range(4):
        mean = s[support.labels == c].mean(0)
        learned = head.relation(F.relu(first(torch.cat([z, mean.expand_as(z)], 1))))[:, 0]
        expected = head.log_scale.exp() * F.cosine_similarity(z, mean[None]) + learned
        assert torch.allclose(logits[:, c], expected, atol=1e-4)


def test_support_of_background_only():
    """No box of any category was annotated."""
    support = regions()
    rows = support.labels == 0
    for name in ("matching", "matching-fce", "siamese", "relation"):
        head = build_head(name)
        embeddings = head.embed(support.features)[rows]
        task = head.learn(Support(embeddings, support.labels[rows], support.deltas[rows], 3))
        assert head.predict(embeddings, task).logits.isfinite().all()
