"""Contract of every head: checks by the head's name, for the table of heads and for new heads."""

import copy
from dataclasses import dataclass

import torch

from fsdet.heads.base import Head
from fsdet.training.objectives import FromBank
from helpers.heads import build_head, regions, relabelled, rows_of


@dataclass(frozen=True)
class Row:
    """Properties in which a head differs from most others."""

    reads_in_order: bool = False  # the order of the support matters
    first_order: bool = False  # the outer gradient does not pass through the adaptation
    episodes_per_step: int = 1  # in meta-training


ROWS = {
    "mann": Row(reads_in_order=True),
    "recurrent": Row(reads_in_order=True),
    "fomaml": Row(first_order=True),
    "reptile": Row(first_order=True),
    "averaging": Row(first_order=True, episodes_per_step=4),  # keeps only the last batch of tasks
    "meta-lstm": Row(first_order=True),
}


def row(name: str) -> Row:
    return ROWS.get(name, Row())


def learns_any_number_of_categories_and_keeps_its_state(name: str, n_way: int) -> None:
    head, support = build_head(name), regions(n_way)
    before = copy.deepcopy(head.state_dict())
    with torch.no_grad():
        task = head.adapt(support)
    prediction = head(support.features, task)
    assert prediction.logits.shape == (len(support), 1 + n_way)
    assert prediction.deltas.shape == (len(support), 4)
    assert not any(value.requires_grad for value in task.values())
    for key, value in head.state_dict().items():
        assert torch.equal(value, before[key]), key


def does_not_depend_on_label_names(name: str) -> None:
    head, support, query = build_head(name), regions(), regions(seed=1)
    new_labels = torch.tensor([0, 3, 1, 2])
    expected = head(query.features, head.adapt(support)).logits
    logits = head(query.features, head.adapt(relabelled(support, new_labels))).logits
    assert torch.allclose(expected, logits[:, new_labels], atol=1e-3)


def depends_on_support_order_only_if_it_reads_in_order(name: str) -> None:
    head, support, query = build_head(name), regions(noise=1.0), regions(seed=1)
    order = torch.randperm(len(support), generator=torch.Generator().manual_seed(0))
    logits = head(query.features, head.adapt(support)).logits
    shuffled = head(query.features, head.adapt(rows_of(support, order))).logits
    assert torch.allclose(logits, shuffled, atol=1e-3) != row(name).reads_in_order


def agrees_in_bf16_autocast(name: str) -> None:
    head, support, query = build_head(name), regions(), regions(seed=1)
    expected = head(query.features, head.adapt(support)).probabilities()
    with torch.autocast("cpu", torch.bfloat16):
        probabilities = head(query.features, head.adapt(support)).probabilities()
    assert probabilities.isfinite().all()
    assert (expected - probabilities.float()).abs().mean() < 0.03


def meta_training_generalises_to_new_categories(name: str) -> None:
    """Train on episodes with other categories: knowledge of a category must come from the support."""
    head, batch = build_head(name).train(), row(name).episodes_per_step
    optimizer = head.optimizer(3e-3, 3e-3, 0.01, 0.0)
    for step in range(60):
        optimizer.zero_grad()
        worlds = range(batch * step, batch * (step + 1))
        episodes = [
            [regions(3, 4, seed + world, 1.0, world) for seed in (0, 1000)] for world in worlds
        ]
        sum(FromBank(head)(episodes).values()).backward()
        optimizer.step()
    assert accuracy_on_new_categories(head.eval()) > 0.8  # chance is a quarter


def accuracy_on_new_categories(head: Head) -> float:
    """Accuracy on foreground regions of five worlds that no episode had."""
    correct = []
    for i in range(5):
        support, query = (regions(3, 4, seed, 1.0, 5000 + i) for seed in (i, 1000 + i))
        with torch.no_grad():
            labels = head(query.features, head.adapt(support)).logits.argmax(1)
        correct.append((labels == query.labels)[query.labels > 0].float())
    return torch.cat(correct).mean().item()


def gradients_reach_the_features(name: str) -> None:
    """End-to-end training: gradients reach the features of the query, and of the support if second-order."""
    head, support, query = build_head(name).train(), regions(), regions(seed=1)
    inputs = [query] if row(name).first_order else [support, query]
    for part in inputs:
        part.features.maps.requires_grad_()
    sum(head.episode(support, query).values()).backward()
    for part in inputs:
        assert part.features.maps.grad.abs().sum() > 0


def accepts_categories_without_regions(name: str) -> None:
    """An empty category is not predicted, others are; background may be empty too."""
    head, everything = build_head(name).train(), regions()
    support = rows_of(everything, torch.nonzero(everything.labels != 2)[:, 0])
    losses = head.episode(support, support)
    if head.learns_from_episodes:
        sum(losses.values()).backward()
    for parameter in head.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
    probabilities = head.eval()(everything.features, head.adapt(support)).probabilities()
    assert probabilities.isfinite().all()
    first = everything.labels == 1
    assert probabilities[first, 0].mean() > probabilities[first, 1].mean() + 0.1
    only_first = rows_of(everything, torch.nonzero(first)[:, 0])
    assert head(everything.features, head.adapt(only_first)).logits.isfinite().all()


def can_be_calibrated(name: str) -> None:
    head, support, query = build_head(name, calibration=0.5), regions(), regions(seed=1)
    losses = head.train().episode(support, query)
    expected = head.inner.episode(support, query)
    assert all(torch.allclose(losses[key], expected[key]) for key in expected)
    scores = head.eval()(query.features, head.adapt(support)).probabilities()
    assert scores.shape == (len(query), 3) and scores.isfinite().all()
    assert scores.min() >= 0 and scores.max() <= 1 + 1e-6
