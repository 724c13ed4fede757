"""Few-shot Faster R-CNN: an image side that all methods share, up to the region features, and a head."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from fsdet.heads.base import Head
from fsdet.heads.layers import RegionShape
from fsdet.model.backbones import Pyramid
from fsdet.model.descriptor import Descriptor
from fsdet.model.gradient_scaling import Decoupling, scaled_back
from fsdet.model.pooling import with_image_index
from fsdet.model.postprocess import Selection
from fsdet.model.region_sampling import RegionSampler
from fsdet.model.roi_align import roi_align
from fsdet.model.rpn import RPN, ProposalGenerator
from fsdet.types import (
    Candidates,
    Detections,
    Episode,
    Features,
    Regions,
    Shots,
    Target,
    Task,
)


@dataclass(frozen=True)
class ImageFeatures:
    """Backbone and pyramid features of a batch of images."""

    batch: ImageList
    proposing: dict[str, Tensor]  # input of the RPN: pyramid level -> [B, C, H, W]
    pyramid: dict[str, Tensor]  # input of region pooling: the same levels, with other gradients
    body: list[Tensor]  # levels of the backbone, [B, C, H, W] each


class FewShotRCNN(nn.Module):
    """A Faster R-CNN whose categories come from a task.

    Args:
        transform: resizes, normalises and batches images.
        backbone: images -> feature pyramid.
        rpn: features of a batch -> proposals.
        pool: region pooling of the pyramid, as torchvision's `MultiScaleRoIAlign`.
        head: predicts categories and boxes of regions.
        shape: shape of the region features.
        per_image, positive: regions sampled per training image, and the maximum share of foreground.
        gradients: factors of the gradients from proposals and from regions to the image side, each in a
            `Decoupling`; None: full gradients without these layers.
        selection: thresholds that turn predictions into detections.
        descriptor: averages its levels over regions; None: the backbone's.
    """

    descriptor: Descriptor | None

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
        descriptor: Descriptor | None = None,
    ):
        super().__init__()
        self.transform, self.backbone, self.rpn = transform, backbone, rpn
        self.gradients = gradients
        self.to_rpn, self.to_regions = (
            (nn.Identity() if gradients is None else Decoupling(backbone.out_channels, share))
            for share in gradients or (1.0, 1.0)
        )
        self.sampler = RegionSampler(per_image, positive)
        self.pool, self.head, self.shape = pool, head, shape
        self.selection = selection
        self.register_module("descriptor", descriptor)  # None too: `with_descriptor` replaces it

    def with_head(self, head: Head) -> "FewShotRCNN":
        """A detector with another head over the same image side; this one keeps its head."""
        other = copy.copy(self)
        other._modules = {**self._modules, "head": head}
        return other

    def with_descriptor(self, descriptor: Descriptor) -> "FewShotRCNN":
        """A detector with another description of regions; its head must not have learned from the present one."""
        other = copy.copy(self)
        other._modules = {**self._modules, "descriptor": descriptor}
        other.shape = replace(self.shape, means=descriptor.channels)
        return other

    # The image side

    def extract(self, images: list[Tensor], targets: list[Target] | None = None):
        """Features of images of any size, and the targets resized with the images.

        Args:
            images: [3, H, W], uint8 or float32 in 0..1.
        """
        images = [i if i.is_floating_point() else i.float() / 255 for i in images]
        batch, targets = self.transform(images, targets)
        pyramid, body = self.backbone(batch.tensors.contiguous(memory_format=torch.channels_last))
        pyramid = {level: value.float() for level, value in pyramid.items()}
        body = [level.float() for level in body]
        if self.gradients is not None:
            body = [scaled_back(level, self.gradients[1]) for level in body]
        return ImageFeatures(batch, self.to_rpn(pyramid), self.to_regions(pyramid), body), targets

    def pool_regions(
        self, features: ImageFeatures, boxes: list[Tensor], averages: bool = True
    ) -> Features:
        """Region features of the boxes of every image; boxes are in pixels of the resized images.

        Args:
            averages: average the levels of the descriptor or the backbone too; if not, `means` is [R, 0].
        """
        # Padded sizes are multiples of every stride.
        height, width = map(int, features.batch.tensors.shape[-2:])
        maps, rois = self.pool(features.pyramid, boxes, [(height, width)]), with_image_index(boxes)
        means = [
            F.normalize(
                roi_align(level, rois, 1, int(level.shape[-1]) / width, 4).flatten(1), dim=-1
            )
            for level in (self._described(features) if averages else ())
        ]
        return Features(maps, torch.cat([maps.new_zeros(len(maps), 0), *means], 1))

    def _described(self, features: ImageFeatures) -> list[Tensor]:
        """The levels whose averages describe regions, [B, C, H, W] each."""
        return features.body if self.descriptor is None else self.descriptor(features.batch)

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
        proposing: ProposalGenerator | None = None,
    ) -> tuple[list[Regions], list[Tensor]]:
        """Labelled regions of every annotated image; equal calls with equal generator states return equal regions.

        An object gets up to `per_object` regions: its box, jittered copies of the box (half of `per_object`;
        box regression learns nothing from an exact box), then matching proposals. An image gets the
        `background` most object-like proposals that touch no annotation. A box labelled 0 marks known
        background: it gets as many regions as an object does, labelled 0, except where an object lies on them
        (IoU 0.5).

        Args:
            generator: draws the jitter. With one per image, regions of an image do not depend on the other images.
            proposing: generates the proposals; None: the class-agnostic RPN.

        Returns:
            Regions per image, and per image the index [R] int64 of the annotated box of each region (-1:
            background).
        """
        features, targets = self.extract(shots.images, shots.targets)
        if proposing is None:
            proposals, _ = self.rpn(features.batch, features.proposing, targets)
        else:
            found = proposing.propose(features.batch, features.proposing)
            proposals = [proposal.boxes for proposal in found]
        generators = (
            [generator] * len(proposals) if isinstance(generator, torch.Generator) else generator
        )
        images = zip(proposals, targets, features.batch.image_sizes, generators, strict=True)
        labelled = [self.sampler.support_boxes(*i, per_object, background) for i in images]
        boxes = [image.boxes for image in labelled]
        pooled = self.pool_regions(features, boxes).split(list(map(len, boxes)))
        regions = [
            Regions(values, image.labels, image.deltas, len(shots.classes))
            for values, image in zip(pooled, labelled, strict=True)
        ]
        return regions, [image.matched for image in labelled]

    @torch.no_grad()
    def propose(
        self,
        images: list[Tensor],
        proposing: ProposalGenerator | None = None,
        averages: bool = True,
    ) -> list[Candidates]:
        """Candidates of every image: the part of detection that does not depend on the head.

        Args:
            proposing: generates the proposals; None: the class-agnostic RPN.
            averages: see `pool_regions`.
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
        """The task of the categories of annotated images."""
        regions, _ = self.regions(support, generator)
        return self.head.adapt(Regions.cat(regions))

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
        support, _ = self.regions(episode.support, generator)
        query, losses = self.sample(episode.query)
        return losses | self.head.episode(Regions.cat(support), query)


@torch.no_grad()
def detect(head: Head, candidates: Candidates, task: Task, selection: Selection) -> Detections:
    """Detections in one image from its candidates."""
    prediction = head(candidates.features.to(torch.float32), task)
    image = torch.zeros(len(candidates.boxes), dtype=torch.int64, device=candidates.boxes.device)
    size = torch.tensor([candidates.size], device=image.device)
    table = selection(prediction, candidates.boxes, image, size, candidates.categories)
    return table.of_image(0)
