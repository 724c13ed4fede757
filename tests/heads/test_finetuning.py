"""Fine-tuning heads: fine-tuned tensors, and FSCE's loss by its definition."""

import math

import pytest
import torch
from helpers.heads import WIDTH, build_head, regions
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torchvision.ops import box_iou

from fsdet.boxes import BOX_CODER
from fsdet.heads.finetuning.fsce import contrastive_loss, target_ious
from fsdet.heads.layers import unit
from fsdet.heads.support import category_weights


@torch.no_grad()
def cross_entropy(head, support, task) -> float:
    weights = category_weights(support.labels, support.n_way, head.options.background)
    logits = head(support.features, task).logits
    return float(weights @ F.cross_entropy(logits, support.labels, reduction="none"))


@pytest.mark.parametrize("name", ["cosine", "linear", "finetune", "fsce"])
def test_second_stage_reduces_the_loss(name):
    support = regions(noise=1.0)
    before, after = (build_head(name, steps=steps) for steps in (0, 60))
    assert cross_entropy(after, support, after.adapt(support)) < 0.7 * cross_entropy(
        before, support, before.adapt(support)
    )


def test_finetune_trains_fc7_and_with_tune_boxes_the_regressor():
    support, head = regions(), build_head("finetune", steps=3)
    task = head.adapt(support)
    assert not torch.equal(task["fc7_weight"], head.trunk.last.weight)
    assert torch.equal(task["weight"], head.boxes.regressor.weight)
    tuned = build_head("finetune", steps=3, tune_boxes=True).adapt(support)
    assert not torch.equal(tuned["weight"], head.boxes.regressor.weight)


def test_finetune_starts_from_fc7_of_base_training():
    head, query = build_head("finetune", steps=0), regions(seed=1)
    task = head.adapt(regions())
    embeddings, _ = head.split(head.embed(query.features))
    assert torch.allclose(
        head.adapted(embeddings, task), unit(head.trunk(query.features)), atol=1e-6
    )
    assert head(query.features, task).logits.abs().max() == 0  # the classifier starts at 0


def test_linear_is_finetune_with_fc7_frozen():
    support, query = regions(), regions(seed=1)
    head = build_head("linear", steps=20)
    other = build_head("finetune", steps=20)
    other.initial_task = lambda embeddings, support, start=other.initial_task: {
        name: value for name, value in start(embeddings, support).items() if "fc7" not in name
    }
    other.adapted = lambda embeddings, task: unit(F.relu(other.trunk.last(embeddings)))
    other.load_state_dict(head.state_dict())
    logits = head(query.features, head.adapt(support)).logits
    assert torch.allclose(logits, other(query.features, other.adapt(support)).logits, atol=1e-3)


def by_definition(encoded, labels, anchors, temperature) -> float:
    """L_con of FSCE, region by region."""
    losses = []
    for i in range(len(labels)):
        if not anchors[i]:
            continue
        others = [k for k in range(len(labels)) if k != i]
        similarity = {k: math.exp(float(encoded[i] @ encoded[k]) / temperature) for k in others}
        pairs = [j for j in others if labels[j] == labels[i]]
        logs = [math.log(similarity[j] / sum(similarity.values())) for j in pairs]
        losses.append(-sum(logs) / len(pairs) if pairs else 0.0)
    return sum(losses) / max(len(losses), 1)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=9),
    st.sampled_from([0.1, 0.2, 1.0]),
    st.integers(0, 99),
)
def test_contrastive_loss_matches_its_definition(rows, temperature, seed):
    labels = torch.tensor([label for label, _ in rows], dtype=torch.int64)
    anchors = torch.tensor([chosen and label > 0 for label, chosen in rows], dtype=torch.bool)
    draw = torch.Generator().manual_seed(seed)
    encoded = unit(torch.randn((len(rows), 4), generator=draw, dtype=torch.float64))
    expected = by_definition(encoded, labels.tolist(), anchors.tolist(), temperature)
    assert contrastive_loss(encoded, labels, anchors, temperature).item() == pytest.approx(expected)


def test_contrastive_loss_pulls_regions_of_a_category_together():
    support = regions(noise=1.0)

    def mean_cosine(head) -> float:
        embeddings, _ = head.split(head.embed(support.features))
        fc7 = head.adapted(embeddings, head.adapt(support))
        return float((fc7 @ fc7.T).detach()[support.labels[:, None] == support.labels].mean())

    baseline = mean_cosine(build_head("fsce", weight=0.0, overlap=0.0))
    assert mean_cosine(build_head("fsce", weight=2.0, overlap=0.0)) > baseline + 0.01


def test_steps_contrast_batches_that_cover_all_regions():
    head, support = build_head("fsce", overlap=0.0, weight=1.0, batch=5), regions(noise=1.0)
    embeddings, _ = head.split(head.embed(support.features))
    task = head.adapt(support)
    adapted = head.adapted(embeddings, task)
    inner = F.relu(F.linear(adapted, task["encoder_inner"], task["encoder_bias"]))
    encoded = unit(F.linear(inner, task["encoder_outer"]))
    num_batches = math.ceil(len(adapted) / 5)
    assert num_batches > 2
    for step in range(2 * num_batches):
        batch = torch.arange(len(adapted))[step % num_batches :: num_batches]
        assert len(batch) <= 5
        anchors = support.labels[batch] > 0
        expected = contrastive_loss(
            encoded[batch], support.labels[batch], anchors, head.options.temperature
        )
        loss_contrast = head.extra_losses(adapted, support, task, step)["loss_contrast"]
        assert torch.allclose(loss_contrast, expected, atol=1e-6)


def test_target_ious_match_torchvision():
    draw = torch.Generator().manual_seed(0)
    corners = torch.rand((50, 2), generator=draw) * 100
    boxes = torch.cat([corners, corners + 5 + 50 * torch.rand((50, 2), generator=draw)], 1)
    truth = boxes + 3 * torch.randn((50, 4), generator=draw)
    expected = box_iou(boxes, truth).diagonal()
    ious = target_ious(BOX_CODER.encode_single(truth, boxes))
    assert torch.allclose(ious, expected, atol=1e-5)


def test_fsce_without_steps_is_tfa():
    support, query = regions(), regions(seed=1)
    fsce, tfa = (build_head(name, steps=0, scale=7.0) for name in ("fsce", "cosine"))
    tfa.load_state_dict(fsce.state_dict(), strict=False)
    prediction = fsce(query.features, fsce.adapt(support))
    expected = tfa(query.features, tfa.adapt(support))
    assert torch.allclose(prediction.logits, expected.logits, atol=1e-5)
    assert torch.equal(prediction.deltas, expected.deltas)


def test_encoder_is_fine_tuned_as_part_of_the_task():
    head = build_head("fsce", overlap=0.0)
    task = head.adapt(regions())
    assert task["encoder_inner"].shape == (WIDTH, WIDTH)
    assert not torch.equal(task["encoder_inner"], head.inner.weight)
