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
    """An RPN of the objects labelled 1, for which those with labels above are background.

    They are all that tells categories apart, and a few anchors in ten thousand: in training they are drawn
    together with the anchors on objects labelled 1, not with the rest of the background.
    """

    def assign_targets_to_anchors(self, anchors, targets):
        own_targets = [{k: v[t["labels"] <= 1] for k, v in t.items()} for t in targets]
        labels, matched = super().assign_targets_to_anchors(anchors, own_targets)
        anything, _ = super().assign_targets_to_anchors(anchors, targets)
        for label, on in zip(labels, anything, strict=True):
            label[(label == 0) & (on == 1)] = 2  # of another category, as the sampler is to know
        return labels, matched

    def compute_loss(self, objectness, pred_bbox_deltas, labels, regression_targets):
        drawn = zip(labels, *self.fg_bg_sampler(labels), strict=True)
        # All that is drawn fits into what is drawn next: nothing of it is lost.
        labels = [
            torch.where((on + off).bool(), (label == 1).float(), -1.0) for label, on, off in drawn
        ]
        return super().compute_loss(objectness, pred_bbox_deltas, labels, regression_targets)


@dataclass(frozen=True)
class AttentionBatch:
    """B images, each asked for M categories: what an attention RPN is trained with."""

    images: ImageList
    pyramid: Levels
    targets: list[Target]  # of the resized images
    categories: Tensor  # [B, M] int64: labels of the targets
    kernels: Tensor  # [B, M, C]


class AttentionRPN(nn.Module):
    """Fan et al. 2020, "Few-Shot Object Detection with Attention-RPN and Multi-Relation Detector".

    A category's kernel is the mean of its support, C x 1 x 1; the pyramid is correlated with it, depth-wise,
    and an RPN over the result proposes regions for that category: of an image, each category has its own.

    In the paper the backbone learns what to correlate. Here the image side stays as base training left it;
    in its place one linear map, shared by pyramid and kernel, does, and begins as the identity. The
    correlation is added to the pyramid through another, which begins as zero, and the RPN is a copy of the
    class-agnostic one: before training, every category's proposals are exactly that one's.

    `forward` returns the losses of an `AttentionBatch`. In it, objects of any category but the one asked for
    are background.

    Args:
        base: the RPN to start from.
        most: regions of an image for each category, at most.
    """

    def __init__(self, base: RPN, most: int = 100):
        super().__init__()
        channels = base.head.cls_logits.in_channels
        anchors, head = copy.deepcopy(base.anchor_generator), copy.deepcopy(base.head)
        self.rpn = _CategoryRPN(anchors, head, 1, most)  # in training no region is asked for
        self.embed = nn.Conv2d(channels, channels, 1)
        self.answer = nn.Conv2d(channels, channels, 1, bias=False)
        nn.init.dirac_(self.embed.weight)
        nn.init.zeros_(self.embed.get_parameter("bias"))
        nn.init.zeros_(self.answer.weight)

    def learn(self, support: Regions) -> Tensor:
        """[N, C]: of each category the mean of its regions' maps, over regions and places."""
        means = support.features.maps.mean((2, 3))
        return class_means(means, support.labels, support.n_way)[1:]

    def attend(self, pyramid: Levels, kernels: Tensor) -> Levels:
        """The pyramid of B images, each correlated with its kernel of [B, C].

        A kernel of one place makes a depth-wise correlation a product, channel by channel.
        """
        kernels = self.embed(kernels[:, :, None, None])
        return {
            name: level + self.answer(self.embed(level) * kernels)
            for name, level in pyramid.items()
        }

    def forward(self, batch: AttentionBatch) -> dict[str, Tensor]:
        """The two losses of an RPN, over all images and categories; in training mode alone."""
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
        """Boxes [R, 4] of every image for the category of a kernel [C], most like it first."""
        attended = self.attend(pyramid, kernel.expand(len(images.image_sizes), -1))
        return self.rpn(images, attended)[0]


def _asked_for(target: Target, category: Tensor) -> dict[str, Tensor]:
    """The target with label 1 for a category, 2 for all others."""
    kinds = torch.where(target["labels"] == category, 1, 2)
    kinds = torch.where(target["labels"] == IGNORE, IGNORE, kinds)
    return {"boxes": target["boxes"], "labels": kinds}


@dataclass(frozen=True)
class ConditionedProposals:
    """Proposals in a label space of N categories, the last M of which are asked for.

    Each of these has regions of its own, and the others those of the class-agnostic RPN: base training has
    taught it what they look like, and as many passes again would say little more.
    """

    known: RPN
    attention: AttentionRPN
    kernels: Tensor  # [M, C]
    n_way: int

    @property
    def most(self) -> int:
        return self.known.most + len(self.kernels) * self.attention.rpn.most

    def propose(self, images: ImageList, pyramid: Levels) -> list[Proposals]:
        # One category after the other: a pyramid for each of them would not fit.
        novel_boxes = [
            self.attention.propose_for(kernel, images, pyramid) for kernel in self.kernels
        ]
        n_known, per_image = self.n_way - len(novel_boxes), []
        for runs in zip(
            (proposals.boxes for proposals in self.known.propose(images, pyramid)),
            *novel_boxes,
            strict=True,
        ):
            # Which run a region is of is which categories it is for.
            run = torch.repeat_interleave(torch.tensor([len(boxes) for boxes in runs]))
            for_runs = torch.arange(self.n_way).sub(n_known - 1).clamp(min=0)  # [N]
            categories = run[:, None] == for_runs
            per_image.append(Proposals(torch.cat(runs), categories.to(runs[0].device)))
        return per_image
