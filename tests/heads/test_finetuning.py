"""Fine-tuning heads: what moves, how far, and FSCE's loss by its definition."""

import math

import pytest
import torch
from helpers.heads import WIDTH, made, regions
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torchvision.ops import box_iou

from fsdet.boxes import BOX_CODER
from fsdet.heads.finetuning.fsce import contrast, overlaps_of
from fsdet.heads.layers import unit
from fsdet.heads.support import category_weights


@torch.no_grad()
def loss(head, support, task) -> float:
    weights = category_weights(support.labels, support.n_way, head.background)
    logits = head(support.features, task).logits
    return float(weights @ F.cross_entropy(logits, support.labels, reduction="none"))


@pytest.mark.parametrize("name", ["cosine", "linear", "finetune", "fsce"])
def test_the_second_stage_descends(name):
    support = regions(spread=1.0)
    before, after = (made(name, steps=steps) for steps in (0, 60))
    assert loss(after, support, after.adapt(support)) < 0.7 * loss(
        before, support, before.adapt(support)
    )


def test_plain_fine_tuning_moves_fc7_classifier_and_on_demand_the_regressor():
    support, head = regions(), made("finetune", steps=3)
    task = head.adapt(support)
    assert not torch.equal(task["fc7_weight"], head.trunk.last.weight)
    assert torch.equal(task["weight"], head.boxes.regressor.weight)
    tuned = made("finetune", steps=3, tune_boxes=True).adapt(support)
    assert not torch.equal(tuned["weight"], head.boxes.regressor.weight)


def test_before_the_first_step_fc7_is_that_of_base_training():
    head, query = made("finetune", steps=0), regions(seed=1)
    task = head.adapt(regions())
    what, _ = head.halves(head.embed(query.features))
    assert torch.allclose(head.described(what, task), unit(head.trunk(query.features)), atol=1e-6)
    assert head(query.features, task).logits.abs().max() == 0  # nothing is known of any category


def test_linear_is_plain_fine_tuning_with_fc7_held_still():
    support, query = regions(), regions(seed=1)
    head = made("linear", steps=20)
    other = made("finetune", steps=20)
    other.start = lambda what, support, start=other.start: {
        name: value for name, value in start(what, support).items() if "fc7" not in name
    }
    other.described = lambda what, task: unit(F.relu(other.trunk.last(what)))
    other.load_state_dict(head.state_dict())
    ours = head(query.features, head.adapt(support)).logits
    assert torch.allclose(ours, other(query.features, other.adapt(support)).logits, atol=1e-3)


def by_definition(encoded, labels, anchors, temperature) -> float:
    """L_con of FSCE, region by region."""
    each = []
    for i in range(len(labels)):
        if not anchors[i]:
            continue
        others = [k for k in range(len(labels)) if k != i]
        similar = {k: math.exp(float(encoded[i] @ encoded[k]) / temperature) for k in others}
        pairs = [j for j in others if labels[j] == labels[i]]
        logs = [math.log(similar[j] / sum(similar.values())) for j in pairs]
        each.append(-sum(logs) / len(pairs) if pairs else 0.0)
    return sum(each) / max(len(each), 1)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=9),
    st.sampled_from([0.1, 0.2, 1.0]),
    st.integers(0, 99),
)
def test_the_contrastive_loss_is_fsces(rows, temperature, seed):
    labels = torch.tensor([label for label, _ in rows], dtype=torch.int64)
    anchors = torch.tensor([chosen and label > 0 for label, chosen in rows], dtype=torch.bool)
    draw = torch.Generator().manual_seed(seed)
    encoded = unit(torch.randn((len(rows), 4), generator=draw, dtype=torch.float64))
    expected = by_definition(encoded, labels.tolist(), anchors.tolist(), temperature)
    assert contrast(encoded, labels, anchors, temperature).item() == pytest.approx(expected)


def test_regions_of_a_category_are_drawn_together():
    support = regions(spread=1.0)

    def closeness(head) -> float:
        what, _ = head.halves(head.embed(support.features))
        fc7 = head.described(what, head.adapt(support))
        return float((fc7 @ fc7.T).detach()[support.labels[:, None] == support.labels].mean())

    plain = closeness(made("fsce", weight=0.0, overlap=0.0))
    assert closeness(made("fsce", weight=2.0, overlap=0.0)) > plain + 0.01


def test_a_step_contrasts_a_share_of_the_regions_and_all_have_their_turn():
    head, support = made("fsce", overlap=0.0, weight=1.0, batch=5), regions(spread=1.0)
    what, _ = head.halves(head.embed(support.features))
    task = head.adapt(support)
    described = head.described(what, task)
    inner = F.relu(F.linear(described, task["encoder_inner"], task["encoder_bias"]))
    encoded = unit(F.linear(inner, task["encoder_outer"]))
    turns = math.ceil(len(described) / 5)
    assert turns > 2
    for step in range(2 * turns):
        now = torch.arange(len(described))[step % turns :: turns]
        assert len(now) <= 5
        anchors = support.labels[now] > 0
        expected = contrast(encoded[now], support.labels[now], anchors, head.temperature)
        got = head.more_losses(described, support, task, step)["loss_contrast"]
        assert torch.allclose(got, expected, atol=1e-6)


def test_the_overlap_of_a_region_follows_from_its_target():
    draw = torch.Generator().manual_seed(0)
    corners = torch.rand((50, 2), generator=draw) * 100
    boxes = torch.cat([corners, corners + 5 + 50 * torch.rand((50, 2), generator=draw)], 1)
    truth = boxes + 3 * torch.randn((50, 4), generator=draw)
    expected = box_iou(boxes, truth).diagonal()
    found = overlaps_of(BOX_CODER.encode_single(truth, boxes))
    assert torch.allclose(found, expected, atol=1e-5)


def test_before_the_first_step_fsce_is_tfa():
    support, query = regions(), regions(seed=1)
    fsce, tfa = (made(name, steps=0, scale=7.0) for name in ("fsce", "cosine"))
    tfa.load_state_dict(fsce.state_dict(), strict=False)
    ours = fsce(query.features, fsce.adapt(support))
    theirs = tfa(query.features, tfa.adapt(support))
    assert torch.allclose(ours.logits, theirs.logits, atol=1e-5)
    assert torch.equal(ours.deltas, theirs.deltas)


def test_the_encoder_is_the_tasks_own():
    head = made("fsce", overlap=0.0)
    task = head.adapt(regions())
    assert task["encoder_inner"].shape == (WIDTH, WIDTH)
    assert not torch.equal(task["encoder_inner"], head.inner.weight)
