"""Suppression of proposals that ends early against torchvision's, which does not."""

import pytest
import torch
from helpers.detectors import empty
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import batched_nms

from fsdet.model.rpn import first_survivors, survivors_at_once, survivors_by_group


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    rows=st.integers(0, 300),
    groups=st.integers(1, 4),
    most=st.integers(1, 80),
    spread=st.sampled_from([5, 60, 600]),
    ties=st.booleans(),
)
def test_the_best_survivors_are_those_of_torchvision(seed, rows, groups, most, spread, ties):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(spread, (rows, 2), generator=generator).float()
    boxes = torch.cat([corner, corner + torch.randint(4, 60, (rows, 2), generator=generator)], 1)
    scores = torch.rand(rows, generator=generator)
    scores = (scores * 5).round() / 5 if ties else scores
    group = torch.randint(groups, (rows,), generator=generator)
    ours = first_survivors(boxes, scores, group, 0.7, most)
    theirs = batched_nms(boxes, scores, group, 0.7)[:most]
    assert torch.equal(scores[ours], scores[theirs])
    if not ties:
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("rows", [0, 1, 400])
def test_a_gpu_and_a_cpu_keep_the_same_boxes(rows):
    generator = torch.Generator().manual_seed(rows)
    corner = torch.randint(120, (rows, 2), generator=generator).float()
    boxes = torch.cat([corner, corner + torch.randint(4, 60, (rows, 2), generator=generator)], 1)
    scores, groups = torch.rand(rows, generator=generator), torch.arange(rows) % 3
    kept = survivors_by_group(boxes, scores, groups, 0.5)
    assert torch.equal(kept, survivors_at_once(boxes, scores, groups, 0.5))
    assert rows < 2 or 3 < len(kept) < rows


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("score", [0.0, 0.5])
def test_filtered_proposals_are_those_of_torchvision(training, score):
    rpn = empty("prototype").model.rpn
    rpn.train(training)
    rpn.score_thresh = score
    counts = [3 * 24 * 24, 3 * 12 * 12]
    generator = torch.Generator().manual_seed(1)
    corner = torch.randint(-10, 90, (2, sum(counts), 2), generator=generator).float()
    size = torch.randint(0, 50, (2, sum(counts), 2), generator=generator)
    proposals = torch.cat([corner, corner + size], 2)
    objectness = torch.randn(2, sum(counts), 1, generator=generator)
    arguments = (proposals, objectness, [(96, 96), (80, 96)], counts)
    ours = rpn.filter_proposals(*arguments)
    theirs = RegionProposalNetwork.filter_proposals(rpn, *arguments)
    for a, b in zip((*ours[0], *ours[1]), (*theirs[0], *theirs[1]), strict=True):
        assert len(a) and torch.equal(a, b)
