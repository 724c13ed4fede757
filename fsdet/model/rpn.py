"""RPN: class-agnostic proposals, with ignored objects excluded from the background.

Anchors, box coder, matching, sampling, suppression and losses are torchvision's. Its matching is extended by
one rule: what overlaps an object labelled IGNORE is neither a target nor proof of background.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork

from fsdet.boxes import touches
from fsdet.types import IGNORE

Levels = dict[str, Tensor]  # of a pyramid, by name: [B, C, H, W]


@dataclass(frozen=True)
class Proposals:
    """Regions of an image."""

    boxes: Tensor  # [R, 4] pixels of the resized image, most object-like first
    categories: Tensor | None = None  # [R, N] bool: which a region is for; None: all


class ProposalGenerator(Protocol):
    """Says where in images something may be."""

    @property
    def most(self) -> int:
        """Regions of an image, at most."""

    def propose(self, images: ImageList, pyramid: Levels) -> list[Proposals]:
        """Regions of every image."""


class RPN(RegionProposalNetwork):
    """torchvision's RPN, for which anchors on ignored objects are not background; its regions are for any category.

    Args:
        anchors: of every pyramid level.
        head: objectness and box deltas of the anchors.
        training, most: regions of an image in training and at test, at most.
    """

    def __init__(self, anchors: AnchorGenerator, head: nn.Module, training: int, most: int):
        super().__init__(
            anchors,
            head,
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 2 * training, "testing": max(2 * most, 600)},
            post_nms_top_n={"training": training, "testing": most},
            nms_thresh=0.7,
        )
        self.most = most

    def propose(self, images: ImageList, pyramid: Levels) -> list[Proposals]:
        return [Proposals(boxes) for boxes in self(images, pyramid)[0]]

    def assign_targets_to_anchors(self, anchors, targets):
        objects = [{"boxes": t["boxes"][t["labels"] != IGNORE]} for t in targets]
        labels, matched = super().assign_targets_to_anchors(anchors, objects)
        for label, boxes, target in zip(labels, anchors, targets, strict=True):
            ignored = target["boxes"][target["labels"] == IGNORE]
            if len(ignored):
                label[(label == 0) & touches(boxes, ignored, 0.3)] = -1
        return labels, matched
