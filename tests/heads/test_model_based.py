"""Model-based heads: against hand-written loops."""

import math

import pytest
import torch
from helpers.heads import build_head, double, regions, rows_of
from torch import nn
from torch.nn import functional as F

from fsdet.heads.layers import unit


def randomized(name: str, *layers: str, **args) -> nn.Module:
    """A float64 head with random values in layers that are initialised to constants."""
    head = build_head(name, **args).double()
    torch.manual_seed(1)
    for layer in layers:
        parameter = head.get_parameter(layer)
        nn.init.normal_(parameter.detach(), mean=parameter.mean().item(), std=0.3)
    return head


def test_mann_matches_the_equations():
    head = randomized(
        "mann", "correct.1.weight", slots=2, rounds=4, gate=2.0, focus=5.0, memory=3.0
    )
    head.eta.data.fill_(0.7)
    head.log_sharpness.data.fill_(2.0)
    support, query = double(regions(per_category=6, noise=1.0)), double(regions(seed=1))
    keys = head.class_embeddings(head.embed(support.features))
    query_embeddings = head.class_embeddings(head.embed(query.features))
    gate, gamma, sharp = 2 / 3, 3 / 4, math.exp(2.0)
    expected = torch.zeros(len(query), 4, dtype=torch.float64)
    for c in range(4):
        slots = [(torch.zeros(head.length).double(), 0.0, 0.0)] * 2  # key, how much, usage
        for i, run in enumerate(keys[support.labels == c].split([2, 1, 2, 1])):
            key = F.normalize(run.mean(0), dim=0)
            content = [
                v * math.exp(5 * F.cosine_similarity(m, key, dim=0).item()) for m, v, _ in slots
            ]
            read = [f / sum(content) if i else 0.0 for f in content]
            least = 0 if slots[0][2] <= slots[1][2] else 1
            for j, (m, v, u) in enumerate(slots):
                empty = j == least
                write = (gate * read[j] if i else 0.0) + (1 - gate * (i > 0)) * empty
                keep = 0.0 if empty else 1.0
                slots[j] = (
                    keep * m + write * key,
                    keep * v + write,
                    gamma * u + read[j] + write,
                )
        shares = [v * u**0.7 for _, v, u in slots]
        for r, k in enumerate(query_embeddings):
            terms = [
                s / sum(shares) * math.exp(sharp * F.cosine_similarity(m, k, dim=0).item())
                for (m, _, _), s in zip(slots, shares, strict=True)
            ]
            expected[r, c] = 20 / sharp * math.log(sum(terms))
    rows = 20 * query_embeddings @ unit(head.background.rows).T
    expected[:, 0] = torch.maximum(expected[:, 0], rows.amax(1))
    logits = head(query.features, head.adapt(support)).logits
    assert torch.allclose(logits, expected, atol=1e-5)  # scales are computed in float32


def test_usage_of_slots_decays():
    head = build_head("mann", memory=3.0)
    empty = head.empty_slots(torch.zeros(1, head.length), 2)
    keys = unit(torch.randn(3, head.length))
    before = head.write(empty, keys, torch.tensor([True, True, False]))
    assert before.usage.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0] * 4]
    later = head.write(before, keys, torch.tensor([False, True, False]))
    assert later.usage[0].tolist() == pytest.approx([0.75, 0, 0, 0])
    assert later.usage[1].sum().item() == pytest.approx(0.75 + 1 + 1)  # decayed, read, write
    assert torch.equal(later.keys[0], before.keys[0]) and later.usage[2].sum() == 0


@pytest.mark.parametrize(
    ("name", "args"),
    [("mann", {"gate": 1e3}), ("reweighting", {}), ("film", {}), ("recurrent", {})],
)
def test_initial_head_equals_prototypes(name, args):
    head, prototype, support = (
        build_head(name, **args),
        build_head("prototype"),
        regions(per_category=4),
    )
    prototype.inherit(head)
    prototype.background.load_state_dict(head.background.state_dict())
    if name == "recurrent":
        nn.init.zeros_(head.correct.weight)  # initialised near zero
    logits, expected = (h(support.features, h.adapt(support)).logits for h in (head, prototype))
    assert torch.allclose(logits, expected, atol=1e-3)


def test_recurrent_matches_a_hand_written_gru_loop():
    head = randomized("recurrent", "weigh.weight", "correct.weight", hidden=8, rounds=4)
    support = double(regions(per_category=6, noise=1.0))
    embeddings, scale = head.class_embeddings(head.embed(support.features)), head.log_scale.exp()
    cell = nn.GRUCell(10, 8).double()
    cell.load_state_dict(head.cell.state_dict())
    states, totals = torch.zeros(4, 8).double(), torch.zeros(4, head.length).double()
    weights, rows = torch.zeros(4).double(), torch.zeros(4, head.length).double()
    runs = [embeddings[support.labels == c].split([2, 1, 2, 1]) for c in range(4)]
    for t in range(4):
        before = rows.clone()
        for c in range(4):
            z, n = runs[c][t].mean(0), len(runs[c][t])
            probabilities = (scale * unit(before) @ z).softmax(0)
            rival = max(p for d, p in enumerate(probabilities) if d != c)
            inputs = torch.cat([head.project(z), torch.stack([probabilities[c], rival])])
            states[c] = cell(inputs[None], states[c][None])[0]
            weight = n * head.weigh(states[c]).exp()[0]
            totals[c], weights[c] = totals[c] + weight * z, weights[c] + weight
            rows[c] = totals[c] / weights[c] + head.correct(states[c])
    assert torch.allclose(head.adapt(support)["rows"], rows, atol=1e-10)
    reversed_support = rows_of(support, torch.arange(len(support)).flip(0))
    assert not torch.allclose(head.adapt(reversed_support)["rows"], rows, atol=1e-3)


def test_film_modulates_support_and_query():
    head = randomized("film", "generate.weight", "generate.bias")
    support, query = double(regions(noise=1.0)), double(regions(seed=1))
    embeddings, query_embeddings = (
        head.class_embeddings(head.embed(r.features)) for r in (support, query)
    )
    task = head.adapt(support)
    gamma, beta = task["gamma"], task["beta"]
    assert (gamma - 1).abs().min() > 1e-4 and beta.abs().min() > 1e-4
    embedded = []
    for c in range(4):
        hidden = torch.stack([head.of_regions(z).relu() for z in embeddings[support.labels == c]])
        embedded.append(head.of_labels(hidden.mean(0)).relu())
    expected = head.generate(torch.cat([torch.stack(embedded[1:]).mean(0), embedded[0]]))
    assert torch.allclose(torch.cat([gamma - 1, beta]), expected)
    modulated, query_embeddings = (
        unit(gamma * embeddings + beta),
        unit(gamma * query_embeddings + beta),
    )
    means = torch.stack([modulated[support.labels == c].mean(0) for c in range(4)])
    expected = 20 * F.cosine_similarity(query_embeddings[:, None], means[None], dim=-1)
    logits = head(query.features, task).logits
    assert torch.allclose(logits[:, 1:], expected[:, 1:], atol=1e-5)


def test_reweighting_product_equals_the_loop_over_categories():
    names = ("gate.2.weight", "gate.2.bias", "shared", "bias")
    head = randomized("reweighting", *names[:3])
    head.bias.data.fill_(0.3)
    support, query = double(regions(noise=1.0)), double(regions(seed=1))
    embeddings, query_embeddings = (
        head.class_embeddings(head.embed(r.features)) for r in (support, query)
    )
    logits = head(query.features, head.adapt(support)).logits
    for c in range(1, 4):
        mean = unit(embeddings[support.labels == c].mean(0))
        attentive = 2 * torch.sigmoid(head.gate(mean)) * mean
        for r, z in enumerate(query_embeddings):
            expected = 20 * (head.shared * (z * attentive)).sum() + 0.3
            assert logits[r, c].item() == pytest.approx(expected.item(), abs=1e-4)
