"""Attention-RPN: proposals for one category at a time (Fan et al. 2020)."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from fsdet.heads.support import class_means
from fsdet.model.rpn import RPN, Levels, Proposals
from fsdet.types import IGNORE, Regions, Target


class _CategoryRPN(RPN):
    """An RPN for objects labelled 1; objects with higher labels, of other categories, are background.

    Anchors on other categories teach the difference between categories, but are a few in ten thousand. Training
    therefore samples them together with the anchors on objects labelled 1, not with the background.
    """

    def assign_targets_to_anchors(self, anchors, targets):
        own_targets = [{k: v[t["labels"] <= 1] for k, v in t.items()} for t in targets]
        labels, matched = super().assign_targets_to_anchors(anchors, own_targets)
        anything, _ = super().assign_targets_to_anchors(anchors, targets)
        for label, on in zip(labels, anything, strict=True):
            label[(label == 0) & (on == 1)] = 2  # another category: a positive to the sampler
        return labels, matched

    def compute_loss(self, objectness, pred_bbox_deltas, labels, regression_targets):
        sampled = zip(labels, *self.fg_bg_sampler(labels), strict=True)
        # torchvision samples once more from these, and its sample has room for all of them.
        labels = [
            torch.where((positive + negative).bool(), (label == 1).float(), -1.0)
            for label, positive, negative in sampled
        ]
        return super().compute_loss(objectness, pred_bbox_deltas, labels, regression_targets)


@dataclass(frozen=True)
class AttentionBatch:
    """A training batch of an attention RPN: B images, M categories to propose for in each."""

    images: ImageList
    pyramid: Levels
    targets: list[Target]  # in pixels of the resized images
    categories: Tensor  # [B, M] int64: labels as in `targets`
    kernels: Tensor  # [B, M, C]


class AttentionRPN(nn.Module):
    """Fan et al. 2020, "Few-Shot Object Detection with Attention-RPN and Multi-Relation Detector".

    A category's kernel k (C x 1 x 1) is the mean of its support maps. The pyramid x is correlated with it
    depth-wise, and an RPN on the result proposes regions for the category:

        x' = x + A(E(x) * E(k))

    Differences from the paper: the backbone is frozen, and the 1x1 convolution E, shared by pyramid and kernel,
    learns the embedding in its place. E starts as the identity, A as zero and the RPN as a copy of the
    class-agnostic RPN, so proposals of all categories start as those of that RPN.

    Args:
        base: the class-agnostic RPN to start from.
        most: maximum number of regions per image and category.
    """

    def __init__(self, base: RPN, most: int = 100):
        super().__init__()
        channels = base.head.cls_logits.in_channels
        anchors, head = copy.deepcopy(base.anchor_generator), copy.deepcopy(base.head)
        self.rpn = _CategoryRPN(anchors, head, 1, most)  # training uses no proposals
        self.embed = nn.Conv2d(channels, channels, 1)
        self.answer = nn.Conv2d(channels, channels, 1, bias=False)
        nn.init.dirac_(self.embed.weight)
        nn.init.zeros_(self.embed.get_parameter("bias"))
        nn.init.zeros_(self.answer.weight)

    def learn(self, support: Regions) -> Tensor:
        """Kernels [N, C]: the mean of each category's maps over its regions and their cells."""
        means = support.features.maps.mean((2, 3))
        return class_means(means, support.labels, support.n_way)[1:]

    def attend(self, pyramid: Levels, kernels: Tensor) -> Levels:
        """The pyramids of B images, each correlated with its kernel of [B, C].

        With a 1x1 kernel, depth-wise correlation is a product per channel.
        """
        kernels = self.embed(kernels[:, :, None, None])
        return {
            name: level + self.answer(self.embed(level) * kernels)
            for name, level in pyramid.items()
        }

    def forward(self, batch: AttentionBatch) -> dict[str, Tensor]:
        """The two losses of an RPN, over all images and categories; training mode only."""
        many = batch.categories.shape[1]
        pairs = {name: level.repeat_interleave(many, 0) for name, level in batch.pyramid.items()}
        sizes = [size for size in batch.images.image_sizes for _ in range(many)]
        targets = [
            _asked_for(target, category)
            for target, categories in zip(batch.targets, batch.categories, strict=True)
            for category in categories
        ]
        attended = self.attend(pairs, batch.kernels.flatten(0, 1))
        return self.rpn(ImageList(batch.images.tensors, sizes), attended, targets)[1]

    def propose_for(self, kernel: Tensor, images: ImageList, pyramid: Levels) -> list[Tensor]:
        """Boxes [R, 4] of every image for the category of a kernel [C], best first."""
        attended = self.attend(pyramid, kernel.expand(len(images.image_sizes), -1))
        return self.rpn(images, attended)[0]


def _asked_for(target: Target, category: Tensor) -> dict[str, Tensor]:
    """A target with label 1 for one category and 2 for all others; IGNORE stays."""
    kinds = torch.where(target["labels"] == category, 1, 2)
    kinds = torch.where(target["labels"] == IGNORE, IGNORE, kinds)
    return {"boxes": target["boxes"], "labels": kinds}


@dataclass(frozen=True)
class ConditionedProposals:
    """Proposals for N categories: of an attention RPN for the last M, of the class-agnostic RPN for the rest.

    The class-agnostic RPN was trained on the first N - M, so passes of the attention RPN would add little.
    """

    known: RPN
    attention: AttentionRPN
    kernels: Tensor  # [M, C]
    n_way: int

    @property
    def most(self) -> int:
        return self.known.most + len(self.kernels) * self.attention.rpn.most

    def propose(self, images: ImageList, pyramid: Levels) -> list[Proposals]:
        # One category at a time: pyramids of all categories would not fit in memory.
        novel_boxes = [
            self.attention.propose_for(kernel, images, pyramid) for kernel in self.kernels
        ]
        n_known, per_image = self.n_way - len(novel_boxes), []
        for runs in zip(
            (proposals.boxes for proposals in self.known.propose(images, pyramid)),
            *novel_boxes,
            strict=True,
        ):
            # Run 0 is for the known categories, run 1 for the first novel category, and so on.
            run = torch.repeat_interleave(torch.tensor([len(boxes) for boxes in runs]))
            for_runs = torch.arange(self.n_way).sub(n_known - 1).clamp(min=0)  # [N]
            categories = run[:, None] == for_runs
            per_image.append(Proposals(torch.cat(runs), categories.to(runs[0].device)))
        return per_image
