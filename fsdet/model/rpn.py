"""RPN: class-agnostic proposals, with ignored objects excluded from the background.

Anchors, box coder, matching, sampling, suppression and losses are torchvision's. One rule is added to matching: an
anchor that overlaps an object labelled IGNORE is neither a target nor background.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork
from torchvision.ops import batched_nms, clip_boxes_to_image, nms

from fsdet.boxes import touches
from fsdet.types import IGNORE

Levels = dict[str, Tensor]  # of a pyramid, by name: [B, C, H, W]


@dataclass(frozen=True)
class Proposals:
    """Proposed regions of an image."""

    boxes: Tensor  # [R, 4] pixels of the resized image, most object-like first
    categories: Tensor | None = None  # [R, N] bool: categories that a region is for; None: all


class ProposalGenerator(Protocol):
    """A source of proposals: the RPN, or one conditioned on a support set."""

    @property
    def most(self) -> int:
        """Maximum number of regions per image at test."""

    def propose(self, images: ImageList, pyramid: Levels) -> list[Proposals]:
        """Regions of every image."""


class ExactAnchors(AnchorGenerator):
    """Anchors as detectron2 and mmdetection place them.

    torchvision rounds sides to whole pixels, and spaces anchors by image side // grid side. Here sides are
    exact and spacings are powers of two, the strides of the levels.
    """

    def generate_anchors(
        self,
        scales,
        aspect_ratios,
        dtype=torch.float32,
        device=torch.device("cpu"),  # noqa: B008
    ):
        sizes = torch.as_tensor(scales, dtype=dtype, device=device)
        heights = torch.sqrt(torch.as_tensor(aspect_ratios, dtype=dtype, device=device))
        sides = [(ratio[:, None] * sizes).flatten() for ratio in (1 / heights, heights)]
        return torch.stack([-sides[0], -sides[1], *sides], 1) / 2

    def grid_anchors(self, grid_sizes, strides):
        powers = [
            [torch.full_like(side, 2 ** round(math.log2(int(side)))) for side in level]
            for level in strides
        ]
        return super().grid_anchors(grid_sizes, powers)


class RPN(RegionProposalNetwork):
    """torchvision's RPN, in which anchors on ignored objects are not background.

    Args:
        anchors: anchors of every pyramid level.
        head: objectness and box deltas of the anchors.
        training, most: maximum number of regions per image in training and at test.
        before: boxes per level before suppression, in training and at test; None: twice `training`, and twice
            `most` but at least 600.
        score: minimum objectness at test, 0..1.
    """

    def __init__(
        self,
        anchors: AnchorGenerator,
        head: nn.Module,
        training: int,
        most: int,
        before: tuple[int, int] | None = None,
        score: float = 0.0,
    ):
        in_training, at_test = before or (2 * training, max(2 * most, 600))
        super().__init__(
            anchors,
            head,
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": in_training, "testing": at_test},
            post_nms_top_n={"training": training, "testing": most},
            nms_thresh=0.7,
            score_thresh=score,
        )
        self.most = most

    def propose(self, images: ImageList, pyramid: Levels) -> list[Proposals]:
        return [Proposals(boxes) for boxes in self(images, pyramid)[0]]

    def filter_proposals(self, proposals, objectness, image_shapes, num_anchors_per_level):
        """torchvision's, for the same boxes in less time: suppression ends when there are enough of them."""
        if torchvision._is_tracing():  # the number of rounds depends on the image
            return super().filter_proposals(
                proposals, objectness, image_shapes, num_anchors_per_level
            )
        objectness = objectness.detach().reshape(len(proposals), -1)
        counts = torch.tensor(num_anchors_per_level, device=objectness.device)
        levels = torch.arange(len(counts), device=objectness.device).repeat_interleave(counts)
        result: list[tuple[Tensor, Tensor]] = []
        for image, index in enumerate(self._get_top_n_idx(objectness, num_anchors_per_level)):
            boxes = clip_boxes_to_image(proposals[image, index], image_shapes[image])
            scores, level = objectness[image, index].sigmoid(), levels[index]
            whole = ((boxes[:, 2:] - boxes[:, :2]) >= self.min_size).all(1)
            usable = whole & (scores >= self.score_thresh)
            boxes, scores, level = boxes[usable], scores[usable], level[usable]
            keep = first_survivors(boxes, scores, level, self.nms_thresh, self.post_nms_top_n())
            result.append((boxes[keep], scores[keep]))
        return [boxes for boxes, _ in result], [scores for _, scores in result]

    def assign_targets_to_anchors(self, anchors, targets):
        objects = [{"boxes": t["boxes"][t["labels"] != IGNORE]} for t in targets]
        labels, matched = super().assign_targets_to_anchors(anchors, objects)
        for label, boxes, target in zip(labels, anchors, targets, strict=True):
            ignored = target["boxes"][target["labels"] == IGNORE]
            if len(ignored):
                label[(label == 0) & touches(boxes, ignored, 0.3)] = -1
        return labels, matched


def first_survivors(
    boxes: Tensor, scores: Tensor, groups: Tensor, overlap: float, most: int
) -> Tensor:
    """Indices of the best boxes that non-maximum suppression within each group leaves, best first.

    Only better boxes suppress a box, so the best ones of thousands suffice as long as enough of them survive.

    Args:
        boxes: [R, 4].
        scores, groups: [R].
        overlap: IoU above which the lower score is removed.
        most: number of boxes wanted.
    """
    order, count = torch.argsort(scores, descending=True, stable=True), 4 * most
    while True:
        best = order[:count]
        suppress = survivors_at_once if boxes.is_cuda else survivors_by_group
        survivors = best[suppress(boxes[best], scores[best], groups[best], overlap)]
        if len(survivors) >= most or count >= len(order):
            return survivors[:most]
        count *= 4


def survivors_by_group(boxes: Tensor, scores: Tensor, groups: Tensor, overlap: float) -> Tensor:
    """Indices of the boxes that survive within their groups, ascending; the quickest way on a CPU."""
    keep = torch.zeros_like(groups, dtype=torch.bool)
    for group in groups.unique():
        members = torch.nonzero(groups == group)[:, 0]
        keep[members[nms(boxes[members], scores[members], overlap)]] = True
    return torch.nonzero(keep)[:, 0]


def survivors_at_once(boxes: Tensor, scores: Tensor, groups: Tensor, overlap: float) -> Tensor:
    """The same for a GPU, for which the processor waits once in each call."""
    return batched_nms(boxes, scores, groups, overlap).sort().values
