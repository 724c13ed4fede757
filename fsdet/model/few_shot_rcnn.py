"""Few-shot Faster R-CNN: an image side that all methods share, up to the region features, and a head.

Everything up to the regions is torchvision's. Its matching of proposals, as that of anchors
(`fsdet.model.rpn`), is extended by one rule: what overlaps an object labelled IGNORE is neither a target nor
proof of background.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import box_iou, clip_boxes_to_image, roi_align

from fsdet.boxes import BOX_CODER, touches
from fsdet.heads.base import Head
from fsdet.heads.layers import RegionShape
from fsdet.heads.support import index_in_group
from fsdet.model.backbones import Pyramid
from fsdet.model.gradient_scaling import Decoupling, scaled_back
from fsdet.model.postprocess import Selection
from fsdet.model.rpn import RPN, ProposalGenerator
from fsdet.types import (
    IGNORE,
    Candidates,
    Detections,
    Episode,
    Features,
    Regions,
    Shots,
    Target,
    Task,
)


def _on(boxes: Tensor, truth: Tensor) -> Tensor:
    """[R]: whether a box has an IoU of 0.5 or more with a ground-truth box."""
    return (box_iou(boxes, truth) >= 0.5).any(1)


class _Sampler(RoIHeads):
    """torchvision's matching, sampling and encoding of proposals, without its head."""

    def __init__(self, per_image: int, positive: float):
        super().__init__(None, None, None, 0.5, 0.5, per_image, positive, None, 0.0, 0.5, 0)

    def assign_targets_to_proposals(self, proposals, gt_boxes, gt_labels):
        # A proposal whose best match is an ignored object takes its label, -1, by itself.
        matched, labels = super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)
        for label, boxes, truth, kinds in zip(labels, proposals, gt_boxes, gt_labels, strict=True):
            ignored = truth[kinds == IGNORE]
            if len(ignored):
                label[(label == 0) & touches(boxes, ignored, 0.3)] = -1
        return matched, labels


@dataclass(frozen=True)
class ImageFeatures:
    """Backbone and pyramid features of a batch of images."""

    batch: ImageList
    proposing: dict[str, Tensor]  # level of the pyramid -> [B, C, H, W]: what the RPN looks at
    pyramid: dict[str, Tensor]  # the same as regions are pooled from it
    body: list[Tensor]  # the levels under the pyramid


class FewShotRCNN(nn.Module):
    """A Faster R-CNN whose categories are given by a task.

    Args:
        transform: resizes, normalises and batches images.
        backbone: images -> feature pyramid.
        rpn: features of a batch -> proposals.
        pool: region pooling of the pyramid, as torchvision's `MultiScaleRoIAlign`.
        head: the task side.
        shape: of the region features.
        per_image, positive: regions sampled of an image in training, and the share of foreground.
        gradients: the shares of their gradient that proposals and regions send back to the image side, each
            behind a `Decoupling`; None: all of it, with nothing in between.
        selection: how predictions become detections.
    """

    def __init__(
        self,
        transform: GeneralizedRCNNTransform,
        backbone: Pyramid,
        rpn: RPN,
        pool: nn.Module,
        head: Head,
        shape: RegionShape,
        per_image: int = 256,
        positive: float = 0.25,
        gradients: tuple[float, float] | None = None,
        selection: Selection = Selection(),  # noqa: B008 (frozen)
    ):
        super().__init__()
        self.transform, self.backbone, self.rpn = transform, backbone, rpn
        self.gradients = gradients
        self.to_rpn, self.to_regions = (
            (nn.Identity() if gradients is None else Decoupling(backbone.out_channels, share))
            for share in gradients or (1.0, 1.0)
        )
        self.sampler = _Sampler(per_image, positive)
        self.pool, self.head, self.shape = pool, head, shape
        self.selection = selection

    def with_head(self, head: Head) -> "FewShotRCNN":
        """A detector with another head over the same image side; this one keeps its head."""
        other = copy.copy(self)
        other._modules = {**self._modules, "head": head}
        return other

    # The image side

    def extract(self, images: list[Tensor], targets: list[Target] | None = None):
        """Features of images of any size, and the targets resized with the images."""
        batch, targets = self.transform(images, targets)
        pyramid, body = self.backbone(batch.tensors.contiguous(memory_format=torch.channels_last))
        pyramid = {level: value.float() for level, value in pyramid.items()}
        body = [level.float() for level in body]
        if self.gradients is not None:
            body = [scaled_back(level, self.gradients[1]) for level in body]
        return ImageFeatures(batch, self.to_rpn(pyramid), self.to_regions(pyramid), body), targets

    def pool_regions(
        self, features: "ImageFeatures", boxes: list[Tensor], averages: bool = True
    ) -> Features:
        """Region features of the boxes of every image; boxes are in pixels of the resized images.

        Args:
            averages: whether the backbone's levels are averaged too; if not, `means` is [R, 0].
        """
        # Padded sizes are multiples of every stride. The pool finds these out once, from what it sees first.
        height, width = map(int, features.batch.tensors.shape[-2:])
        maps = self.pool(features.pyramid, boxes, [(height, width)])
        means = [
            F.normalize(
                roi_align(level, boxes, 1, int(level.shape[-1]) / width, 4).flatten(1), dim=-1
            )
            for level in (features.body if averages else ())
        ]
        return Features(maps, torch.cat([maps.new_zeros(len(maps), 0), *means], 1))

    def sample(self, shots: Shots) -> tuple[Regions, dict[str, Tensor]]:
        """Sample labelled regions of annotated images for training; also return the RPN's losses."""
        features, targets = self.extract(shots.images, shots.targets)
        proposals, losses = self.rpn(features.batch, features.proposing, targets)
        proposals, _, labels, deltas = self.sampler.select_training_samples(proposals, targets)
        labels = torch.cat(labels)
        deltas = torch.cat(deltas) * (labels > 0)[:, None]
        return Regions(
            self.pool_regions(features, proposals), labels, deltas, len(shots.classes)
        ), losses

    def regions(
        self,
        shots: Shots,
        generator: torch.Generator | Sequence[torch.Generator],
        per_object: int = 8,
        background: int = 16,
    ) -> list[Regions]:
        """Labelled regions of every annotated image, the same at every call with the same generator state.

        Of each object its box, boxes moved about it (an exact box has nothing to say about box regression;
        half of `per_object` are these), and the proposals that match it, `per_object` in all; of each image
        the `background` most object-like proposals that touch nothing annotated. A box labelled 0 is known
        to be background: of it the same, unless an object lies on it (IoU 0.5).

        Args:
            generator: of the moves; one for each image if an image's regions are not to depend on the others.

        Returns:
            Regions per image.
        """
        features, targets = self.extract(shots.images, shots.targets)
        proposals, _ = self.rpn(features.batch, features.proposing, targets)
        chosen, labels, deltas = [], [], []
        draws = (
            [generator] * len(proposals) if isinstance(generator, torch.Generator) else generator
        )
        sizes = features.batch.image_sizes
        for boxes, target, size, draw in zip(proposals, targets, sizes, draws, strict=True):
            truth, kinds = target["boxes"], target["labels"]
            objects = truth[kinds != IGNORE]
            moved = jitter(objects, per_object // 2, size, draw)
            boxes = torch.cat([objects, moved, boxes])
            matched, label = self.sampler.assign_targets_to_proposals([boxes], [truth], [kinds])
            matched, label = matched[0], label[0]
            refuted = (label == 0) & _on(boxes, truth[kinds == 0]) & ~_on(boxes, truth[kinds > 0])
            touching = touches(boxes, truth[kinds != 0], 0.3) | refuted
            empty = torch.nonzero((label == 0) & ~touching)[:background, 0]
            shown = torch.nonzero((label > 0) | refuted)[:, 0]
            keep = torch.cat([shown[index_in_group(matched[shown]) < per_object], empty])
            chosen.append(boxes[keep])
            labels.append(label[keep])
            match = truth[matched[keep]] if len(truth) else boxes[keep]
            delta = BOX_CODER.encode_single(match, boxes[keep])
            deltas.append(delta * (label[keep] > 0)[:, None])
        pooled = self.pool_regions(features, chosen).split([len(boxes) for boxes in chosen])
        n_way = len(shots.classes)
        return [Regions(*parts, n_way) for parts in zip(pooled, labels, deltas, strict=True)]

    @torch.no_grad()
    def propose(
        self,
        images: list[Tensor],
        proposing: ProposalGenerator | None = None,
        averages: bool = True,
    ) -> list[Candidates]:
        """Candidates of every image: the part of detection that no head changes.

        Args:
            proposing: says where; None: the class-agnostic RPN, and then no category changes it either.
            averages: as of `pool_regions`.
        """
        features, _ = self.extract(images)
        proposals = (proposing or self.rpn).propose(features.batch, features.proposing)
        boxes = [proposal.boxes for proposal in proposals]
        pooled = self.pool_regions(features, boxes, averages).split(list(map(len, boxes)))
        per_image = []
        for image, resized, proposal, values in zip(
            images, features.batch.image_sizes, proposals, pooled, strict=True
        ):
            height, width = image.shape[-2:]
            scale = proposal.boxes.new_tensor([width / resized[1], height / resized[0]]).repeat(2)
            per_image.append(
                Candidates(proposal.boxes * scale, values, (height, width), proposal.categories)
            )
        return per_image

    # Both sides

    def adapt(self, support: Shots, generator: torch.Generator) -> Task:
        """Adapt the head to the categories of annotated images."""
        regions = self.regions(support, generator)
        return self.head.adapt(join(regions))

    def loss(self, query: Shots, task: Task) -> dict[str, Tensor]:
        """The four losses of Faster R-CNN on annotated images under a task."""
        regions, losses = self.sample(query)
        return losses | self.head.loss(regions, task)

    @torch.no_grad()
    def detect(
        self, images: list[Tensor], task: Task, proposing: ProposalGenerator | None = None
    ) -> list[Detections]:
        """Detect the categories of a task; boxes in pixels of the original images, best first."""
        return [
            detect(self.head, candidates, task, self.selection)
            for candidates in self.propose(images, proposing)
        ]

    def forward(self, episode: Episode, generator: torch.Generator) -> dict[str, Tensor]:
        """The losses of an episode: adapt to the support, predict the query."""
        support = join(self.regions(episode.support, generator))
        query, losses = self.sample(episode.query)
        return losses | self.head.episode(support, query)


@torch.no_grad()
def detect(head: Head, candidates: Candidates, task: Task, selection: Selection) -> Detections:
    """Detections in one image from its candidates."""
    prediction = head(candidates.features.to(torch.float32), task)
    image = torch.zeros(len(candidates.boxes), dtype=torch.int64, device=candidates.boxes.device)
    size = torch.tensor([candidates.size], device=image.device)
    table = selection(prediction, candidates.boxes, image, size, candidates.categories)
    return table.of_image(0)


def join(regions: Sequence[Regions]) -> Regions:
    """Concatenate the regions of several images."""
    return replace(
        regions[0],
        features=Features.cat(r.features for r in regions),
        labels=torch.cat([r.labels for r in regions]),
        deltas=torch.cat([r.deltas for r in regions]),
    )


def jitter(boxes: Tensor, times: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """[G, 4] -> [times * G, 4]: boxes moved and stretched by up to a sixth of their sides, within the image."""
    noise = torch.rand((times, len(boxes), 4), generator=generator) - 0.5
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    moved = boxes + noise.to(boxes) / 3 * sides
    return clip_boxes_to_image(moved.reshape(-1, 4), size)
