"""Heads that read the support with networks of their own: against hand-written loops."""

import math

import pytest
import torch
from helpers.heads import in_order, made, regions
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from fsdet.heads.layers import unit
from fsdet.heads.support import in_rounds
from fsdet.types import Regions


def double(given: Regions) -> Regions:
    return Regions(given.features.to(torch.float64), given.labels, given.deltas.double(), 3)


def stirred(name: str, *layers: str, **more) -> nn.Module:
    """A head, in double precision, whose layers that start at nothing have learned something."""
    head = made(name, **more).double()
    torch.manual_seed(1)
    for layer in layers:
        parameter = head.get_parameter(layer)
        nn.init.normal_(parameter.detach(), mean=parameter.mean().item(), std=0.3)
    return head


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 12))
def test_rounds_put_every_region_where_it_belongs(labels, most):
    """Each label's regions in their order, one a round or, where they are too many, in even runs."""
    labels = torch.tensor(labels)
    what = torch.randn(len(labels), 3, dtype=torch.float64)
    rounds = in_rounds(what, labels, 4, most)
    assert rounds.counts.shape == rounds.what.shape[:2] and len(rounds.counts) <= most
    assert rounds.counts.sum() == len(labels)
    for c in range(5):
        counts = rounds.counts[:, c]
        mine = what[labels == c].split(counts.tolist())
        expected = torch.stack([run.sum(0) / max(len(run), 1) for run in mine])
        assert torch.allclose(rounds.what[:, c], expected)
        used = counts[counts > 0]
        assert len(used) == min(len(what[labels == c]), most)
        assert len(used) == 0 or used.max() - used.min() <= 1
        assert (counts[: len(used)] > 0).all()


def test_memory_is_written_and_read_as_by_the_papers_equations():
    head = stirred("mann", "correct.1.weight", slots=2, rounds=4, gate=2.0, focus=5.0, memory=3.0)
    head.eta.data.fill_(0.7)
    head.log_sharpness.data.fill_(2.0)
    support, query = double(regions(each=6, spread=1.0)), double(regions(seed=1))
    keys = head.describe(head.embed(support.features))
    asked = head.describe(head.embed(query.features))
    gate, gamma, sharp = 2 / 3, 3 / 4, math.exp(2.0)
    logits = torch.zeros(len(query), 4, dtype=torch.float64)
    for c in range(4):
        slots = [(torch.zeros(head.length).double(), 0.0, 0.0)] * 2  # key, how much, usage
        for i, run in enumerate(keys[support.labels == c].split([2, 1, 2, 1])):
            key = F.normalize(run.mean(0), dim=0)
            found = [
                v * math.exp(5 * F.cosine_similarity(m, key, dim=0).item()) for m, v, _ in slots
            ]
            read = [f / sum(found) if i else 0.0 for f in found]
            least = 0 if slots[0][2] <= slots[1][2] else 1
            for j, (m, v, u) in enumerate(slots):
                empty = j == least
                write = (gate * read[j] if i else 0.0) + (1 - gate * (i > 0)) * empty
                kept = 0.0 if empty else 1.0
                slots[j] = (
                    kept * m + write * key,
                    kept * v + write,
                    gamma * u + read[j] + write,
                )
        shares = [v * u**0.7 for _, v, u in slots]
        for r, k in enumerate(asked):
            terms = [
                s / sum(shares) * math.exp(sharp * F.cosine_similarity(m, k, dim=0).item())
                for (m, _, _), s in zip(slots, shares, strict=True)
            ]
            logits[r, c] = 20 / sharp * math.log(sum(terms))
    rows = 20 * asked @ unit(head.background.rows).T
    logits[:, 0] = torch.maximum(logits[:, 0], rows.amax(1))
    said = head(query.features, head.adapt(support)).logits
    assert torch.allclose(said, logits, atol=1e-5)  # scales were made in single precision


def test_usage_of_memory_decays_where_nothing_happens():
    head = made("mann", memory=3.0)
    memory = head.blank(torch.zeros(1, head.length), 2)
    keys = unit(torch.randn(3, head.length))
    memory = head.step(memory, keys, torch.tensor([True, True, False]))
    assert memory.usage.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0] * 4]
    later = head.step(memory, keys, torch.tensor([False, True, False]))
    assert later.usage[0].tolist() == pytest.approx([0.75, 0, 0, 0])
    assert later.usage[1].sum().item() == pytest.approx(0.75 + 1 + 1)  # what was, read, write
    assert torch.equal(later.keys[0], memory.keys[0]) and later.usage[2].sum() == 0


@pytest.mark.parametrize(
    ("name", "more"),
    [("mann", {"gate": 1e9}), ("reweighting", {}), ("film", {}), ("recurrent", {})],
)
def test_each_starts_as_prototypes(name, more):
    head, prototype, support = made(name, **more), made("prototype"), regions(each=4)
    prototype.inherit(head)
    prototype.background.load_state_dict(head.background.state_dict())
    if name == "recurrent":
        nn.init.zeros_(head.correct.weight)  # near zero at the start
    ours, theirs = (one(support.features, one.adapt(support)).logits for one in (head, prototype))
    assert torch.allclose(ours, theirs, atol=1e-3)


def test_recurrent_is_a_gru_cell_stepped_by_hand():
    head = stirred("recurrent", "weigh.weight", "correct.weight", hidden=8, rounds=4)
    support = double(regions(each=6, spread=1.0))
    what, scale = head.describe(head.embed(support.features)), head.log_scale.exp()
    cell = nn.GRUCell(10, 8).double()
    cell.load_state_dict(head.cell.state_dict())
    states, totals = torch.zeros(4, 8).double(), torch.zeros(4, head.length).double()
    weights, rows = torch.zeros(4).double(), torch.zeros(4, head.length).double()
    runs = [what[support.labels == c].split([2, 1, 2, 1]) for c in range(4)]
    for t in range(4):
        before = rows.clone()
        for c in range(4):
            z, n = runs[c][t].mean(0), len(runs[c][t])
            said = (scale * unit(before) @ z).softmax(0)
            rival = max(p for d, p in enumerate(said) if d != c)
            shown = torch.cat([head.project(z), torch.stack([said[c], rival])])
            states[c] = cell(shown[None], states[c][None])[0]
            weight = n * head.weigh(states[c]).exp()[0]
            totals[c], weights[c] = totals[c] + weight * z, weights[c] + weight
            rows[c] = totals[c] / weights[c] + head.correct(states[c])
    assert torch.allclose(head.adapt(support)["rows"], rows, atol=1e-10)
    turned = in_order(support, torch.arange(len(support)).flip(0))
    assert not torch.allclose(head.adapt(turned)["rows"], rows, atol=1e-3)


def test_film_modulates_support_and_query_alike():
    head = stirred("film", "generate.weight", "generate.bias")
    support, query = double(regions(spread=1.0)), double(regions(seed=1))
    what, asked = (head.describe(head.embed(r.features)) for r in (support, query))
    task = head.adapt(support)
    gamma, beta = task["gamma"], task["beta"]
    assert (gamma - 1).abs().min() > 1e-4 and beta.abs().min() > 1e-4
    embedded = []
    for c in range(4):
        seen = torch.stack([head.of_regions(z).relu() for z in what[support.labels == c]])
        embedded.append(head.of_labels(seen.mean(0)).relu())
    expected = head.generate(torch.cat([torch.stack(embedded[1:]).mean(0), embedded[0]]))
    assert torch.allclose(torch.cat([gamma - 1, beta]), expected)
    mine, asked = unit(gamma * what + beta), unit(gamma * asked + beta)
    means = torch.stack([mine[support.labels == c].mean(0) for c in range(4)])
    logits = 20 * F.cosine_similarity(asked[:, None], means[None], dim=-1)
    said = head(query.features, task).logits
    assert torch.allclose(said[:, 1:], logits[:, 1:], atol=1e-5)


def test_reweightings_one_product_is_the_loop_over_categories():
    names = ("gate.2.weight", "gate.2.bias", "shared", "bias")
    head = stirred("reweighting", *names[:3])
    head.bias.data.fill_(0.3)
    support, query = double(regions(spread=1.0)), double(regions(seed=1))
    what, asked = (head.describe(head.embed(r.features)) for r in (support, query))
    said = head(query.features, head.adapt(support)).logits
    for c in range(1, 4):
        mean = unit(what[support.labels == c].mean(0))
        attentive = 2 * torch.sigmoid(head.gate(mean)) * mean
        for r, z in enumerate(asked):
            expected = 20 * (head.shared * (z * attentive)).sum() + 0.3
            assert said[r, c].item() == pytest.approx(expected.item(), abs=1e-4)
