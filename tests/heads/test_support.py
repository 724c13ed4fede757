"""Operations on a support set, by hand and by definition."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from fsdet.heads.support import (
    category_weights,
    class_means,
    index_in_group,
    subsample,
    to_rounds,
)
from fsdet.types import Support


def test_class_means_and_category_weights_by_hand():
    embeddings = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    labels = torch.tensor([1, 1, 0])
    means = class_means(embeddings, labels, 2)
    assert means.tolist() == [[0.0, 2.0], [2.0, 0.0], [0.0, 0.0]]
    assert category_weights(labels, 2, 4.0).tolist() == [0.25, 0.25, 2.0]


def test_index_in_group_and_subsample_by_hand():
    labels = torch.tensor([1, 0, 1, 2, 0, 1, 0])
    assert index_in_group(labels).tolist() == [0, 0, 1, 0, 1, 2, 2]
    support = Support(torch.arange(7.0)[:, None], labels, torch.zeros(7, 4), 2)
    kept = subsample(support, 2, 1)  # the first and third of category 1, the last of background
    assert kept.labels.tolist() == [1, 2, 1, 0]
    assert kept.embeddings[:, 0].tolist() == [2, 3, 5, 6]


def test_subsample_keeps_regions_at_even_distances():
    labels = torch.tensor([1] * 10 + [2] * 3 + [0] * 7)
    support = Support(torch.arange(20.0)[:, None], labels, torch.zeros(20, 4), 2)
    kept = subsample(support, 5, 2)
    assert torch.bincount(kept.labels).tolist() == [2, 5, 3]
    assert kept.embeddings[:5, 0].tolist() == [1, 3, 5, 7, 9]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 12))
def test_rounds_hold_every_region_once_in_even_runs(labels, max_rounds):
    """Each label's regions in their order, one a round or, if there are too many, in even runs."""
    labels = torch.tensor(labels)
    embeddings = torch.randn(len(labels), 3, dtype=torch.float64)
    rounds = to_rounds(embeddings, labels, 4, max_rounds)
    assert rounds.counts.shape == rounds.means.shape[:2] and len(rounds.counts) <= max_rounds
    assert rounds.counts.sum() == len(labels)
    for c in range(5):
        counts = rounds.counts[:, c]
        runs = embeddings[labels == c].split(counts.tolist())
        expected = torch.stack([run.sum(0) / max(len(run), 1) for run in runs])
        assert torch.allclose(rounds.means[:, c], expected)
        used = counts[counts > 0]
        assert len(used) == min(int((labels == c).sum()), max_rounds)
        assert len(used) == 0 or used.max() - used.min() <= 1
        assert (counts[: len(used)] > 0).all()
