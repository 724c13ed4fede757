"""Box voting after the suppression: against a loop, and where nothing votes."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from fsdet.model.postprocess import Selection, refined, vote
from fsdet.types import Prediction


def test_two_regions_by_hand():
    """IoU of [0, 0, 10, 10] and [0, 0, 10, 8] is 0.8: weights 0.9 x 0.4 and 0.3 x 0.2."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8]])
    voted = vote(boxes[:1], boxes, torch.tensor([[0.9, 0.3]]), 0.6)
    bottom = (0.9 * 0.4 * 10 + 0.3 * 0.2 * 8) / (0.9 * 0.4 + 0.3 * 0.2)
    torch.testing.assert_close(voted, torch.tensor([[0, 0, 10, bottom]]))


def test_a_score_at_the_end_of_the_range_of_floats_leaves_the_box():
    boxes = torch.tensor([[0.0, 0, 10, 10]])
    least = torch.tensor([[torch.finfo(torch.float32).smallest_normal * 2.0**-23]])
    assert least > 0
    torch.testing.assert_close(vote(boxes, boxes, least, 0.6), boxes)


def random_regions(specific: bool, images=3, per_image=30, n_way=4):
    """A prediction for clusters of regions, with their boxes, images and sizes."""
    draw = torch.Generator().manual_seed(0)
    corners = 40 * torch.rand(images * per_image, 2, generator=draw)
    boxes = torch.cat([corners, corners + 20 + 10 * torch.rand(corners.shape, generator=draw)], 1)
    logits = 3 * torch.randn(len(boxes), 1 + n_way, generator=draw)
    shape = (len(boxes), n_way, 4) if specific else (len(boxes), 4)
    deltas = 0.5 * torch.randn(shape, generator=draw)
    index = torch.arange(images).repeat_interleave(per_image)
    return Prediction(logits, deltas), boxes, index, torch.full((images, 2), 64)


@pytest.mark.parametrize("specific", [False, True])
def test_the_mean_of_the_regions_of_an_image_and_category(specific):
    prediction, boxes, images, sizes = random_regions(specific)
    plain = Selection()(prediction, boxes, images, sizes)
    voted = Selection(voting=0.5)(prediction, boxes, images, sizes)
    for name in ("images", "labels", "scores"):  # votes move boxes and nothing else
        torch.testing.assert_close(getattr(voted, name), getattr(plain, name))
    expected = []
    for image, label, box in zip(plain.images, plain.labels, plain.boxes, strict=True):
        rows = images == image
        deltas = prediction.deltas[rows, label - 1] if specific else prediction.deltas[rows]
        voters, _ = refined(deltas, boxes[rows], sizes[images[rows]])
        scores = prediction.probabilities()[rows, label - 1]
        weights = (scores * (box_iou(box[None], voters)[0] - 0.5).clamp(min=0)).numpy()
        expected.append(np.average(voters.numpy(), 0, weights))
    np.testing.assert_allclose(voted.boxes, np.stack(expected), atol=1e-3)
    assert not torch.allclose(voted.boxes, plain.boxes, atol=0.1)


def test_equal_deltas_of_all_categories_are_those_of_none():
    prediction, boxes, images, sizes = random_regions(specific=False)
    repeated = Prediction(prediction.logits, prediction.deltas[:, None].repeat(1, 4, 1))
    selection = Selection(voting=0.6)
    agnostic = selection(prediction, boxes, images, sizes)
    torch.testing.assert_close(selection(repeated, boxes, images, sizes).boxes, agnostic.boxes)


def test_a_region_alone_stays():
    prediction, boxes, images, sizes = random_regions(specific=False, per_image=1)
    plain = Selection()(prediction, boxes, images, sizes)
    voted = Selection(voting=0.6)(prediction, boxes, images, sizes)
    torch.testing.assert_close(voted.boxes, plain.boxes)


def test_no_detection():
    prediction, boxes, images, sizes = random_regions(specific=True)
    table = Selection(score=1.0, voting=0.6)(prediction, boxes, images, sizes)
    assert table.boxes.shape == (0, 4)
