"""Region sampling: boxes of an image matched to its annotations, for training and for support sets.

Matching, sampling and encoding are torchvision's. One rule is added, as for anchors (`fsdet.model.rpn`): a region
that overlaps an object labelled IGNORE is neither a target nor background.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import box_iou, clip_boxes_to_image

from fsdet.boxes import BOX_CODER, touches
from fsdet.heads.support import index_in_group
from fsdet.types import IGNORE, Target


class LabelledBoxes(NamedTuple):
    """Boxes of an image with the targets of a head."""

    boxes: Tensor  # [R, 4] in pixels of the resized image
    labels: Tensor  # [R] int64, 0..N
    deltas: Tensor  # [R, 4] box-coder targets; zero for background
    matched: Tensor  # [R] int64 index of the matched annotation; -1: background


class RegionSampler(RoIHeads):
    """torchvision's matching, sampling and encoding of proposals, without its head.

    Args:
        per_image: regions sampled of a training image.
        positive: maximum share of foreground among them.
    """

    def __init__(self, per_image: int, positive: float):
        super().__init__(None, None, None, 0.5, 0.5, per_image, positive, None, 0.0, 0.5, 0)

    def assign_targets_to_proposals(self, proposals, gt_boxes, gt_labels):
        """For each image, matched boxes and labels of its R regions, as torchvision; IGNORE on ignored objects."""
        # A proposal whose best match is an ignored object gets its label, IGNORE, from torchvision.
        matched, labels = super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)
        for assigned, boxes, annotated, kinds in zip(
            labels, proposals, gt_boxes, gt_labels, strict=True
        ):
            ignored = annotated[kinds == IGNORE]
            if len(ignored):
                assigned[(assigned == 0) & touches(boxes, ignored, 0.3)] = IGNORE
        return matched, labels

    def support_boxes(
        self,
        proposals: Tensor,
        target: Target,
        size: tuple[int, int],
        generator: torch.Generator,
        per_object: int,
        background: int,
    ) -> LabelledBoxes:
        """Labelled boxes of one annotated image; see `FewShotRCNN.regions`.

        Args:
            proposals: [R, 4], most object-like first.
            target: boxes in pixels of the resized image, as `proposals`.
            size: height and width of the resized image.
        """
        annotated, kinds = target["boxes"], target["labels"]
        exact = annotated[kinds != IGNORE]
        jittered = jitter(exact, per_object // 2, size, generator)
        boxes = torch.cat([exact, jittered, proposals])
        (matched,), (labels,) = self.assign_targets_to_proposals([boxes], [annotated], [kinds])
        negative = (
            (labels == 0)
            & _matches(boxes, annotated[kinds == 0])
            & ~_matches(boxes, annotated[kinds > 0])
        )
        touching = touches(boxes, annotated[kinds != 0], 0.3) | negative
        empty = torch.nonzero((labels == 0) & ~touching)[:background, 0]
        on_annotation = torch.nonzero((labels > 0) | negative)[:, 0]
        rank = index_in_group(matched[on_annotation])
        chosen = torch.cat([on_annotation[rank < per_object], empty])
        boxes, labels, matched = boxes[chosen], labels[chosen], matched[chosen]
        deltas = BOX_CODER.encode_single(annotated[matched] if len(annotated) else boxes, boxes)
        foreground = labels > 0
        return LabelledBoxes(
            boxes, labels, deltas * foreground[:, None], torch.where(foreground, matched, -1)
        )


def jitter(boxes: Tensor, times: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """[G, 4] -> [times * G, 4]: boxes moved and stretched by up to a sixth of their sides, clipped to the image."""
    noise = torch.rand((times, len(boxes), 4), generator=generator) - 0.5
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    moved = boxes + noise.to(boxes) / 3 * sides
    return clip_boxes_to_image(moved.reshape(-1, 4), size)


def _matches(boxes: Tensor, annotated: Tensor) -> Tensor:
    """[R]: whether a box has an IoU of 0.5 or more with an annotated box."""
    return (box_iou(boxes, annotated) >= 0.5).any(1)
