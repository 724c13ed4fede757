"""Postprocessing: box decoding, score threshold and non-maximum suppression, for one image or thousands."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import nms

from fsdet.boxes import BOX_CODER, areas, intersections
from fsdet.types import Detections, Prediction

NMS_OVERSAMPLING = 10  # suppression starts with this many times `per_image` boxes of an image


@dataclass(frozen=True)
class DetectionTable:
    """Detections of many images, one per row: images in order, best first within an image."""

    images: Tensor  # [F] int64 index of the image
    boxes: Tensor  # [F, 4] pixels of that image
    labels: Tensor  # [F] int64, 1..N
    scores: Tensor  # [F]

    @staticmethod
    def cat(parts: "Sequence[DetectionTable]", firsts: Sequence[int]) -> "DetectionTable":
        """Concatenate tables; image 0 of table i becomes image `firsts[i]`."""
        return DetectionTable(
            torch.cat([part.images + first for part, first in zip(parts, firsts, strict=True)]),
            torch.cat([part.boxes for part in parts]),
            torch.cat([part.labels for part in parts]),
            torch.cat([part.scores for part in parts]),
        )

    def of_image(self, image: int) -> Detections:
        rows = self.images == image
        return Detections(
            boxes=self.boxes[rows], labels=self.labels[rows], scores=self.scores[rows]
        )


def refined(deltas: Tensor, boxes: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Decode box deltas and clip the boxes to their images.

    Args:
        deltas: [R, 4] box-coder deltas.
        boxes: [R, 4] regions in pixels of their image.
        sizes: [R, 2] height and width of each region's image.

    Returns:
        Boxes [R, 4], and [R] bool: whether both sides are at least 0.01 pixels.
    """
    decoded = BOX_CODER.decode_single(deltas.float(), boxes.float())
    limits = sizes.to(decoded).flip(1).repeat(1, 2)  # [R, 4]: w, h, w, h
    decoded = torch.minimum(decoded.clamp(min=0), limits)
    return decoded, ((decoded[:, 2:] - decoded[:, :2]) >= 1e-2).all(1)


def vote(boxes: Tensor, voters: Tensor, scores: Tensor, voting: float) -> Tensor:
    """Move detections to the mean of the boxes of all regions: box voting.

    A voter's weight is its score times max(0, IoU - `voting`): no vote begins or ends with a jump.

    Args:
        boxes: [K, 4] detections that survived the suppression.
        voters: [R, 4], the refined boxes of all regions of the image, or [K, R, 4], those for each detection's
            category. A detection's own box is one of them.
        scores: [K, R] of these regions for the detection's category.
        voting: IoU from which a region votes, below 1.

    Returns:
        [K, 4].

    Source: Gidaris and Komodakis 2015, who average the boxes of an IoU of at least 0.5 by their scores alone.
    """
    shared = intersections(boxes[:, None], voters)
    overlaps = shared / (areas(boxes)[:, None] + areas(voters) - shared)
    weights = scores * (overlaps - voting).clamp(min=0)
    total = weights.sum(1, keepdim=True)
    means = torch.matmul((weights / total)[:, None], voters)[:, 0]
    return torch.where(total > 0, means, boxes)  # a score of 1e-45 has no weight left


@dataclass(frozen=True)
class Selection:
    """Selection of detections, as torchvision's `RoIHeads.postprocess_detections`, then box voting.

    Suppression is greedy, within a category and an image. Class-agnostic boxes are decoded once per region,
    class-specific boxes only where their category's score is above the threshold.
    """

    score: float = 0.05  # detections have higher scores
    overlap: float = 0.5  # IoU above which suppression removes the lower score
    per_image: int = 100  # maximum number of detections
    voting: float = 1.0  # IoU from which all regions move a detection (`vote`); 1: none

    def __call__(
        self,
        prediction: Prediction,
        boxes: Tensor,
        images: Tensor,
        sizes: Tensor,
        categories: Tensor | None = None,
    ) -> DetectionTable:
        """Predictions of the regions of I images -> detections.

        Args:
            prediction: logits [R, 1 + N], deltas [R, 4] or [R, N, 4].
            boxes: [R, 4] regions in pixels of their image.
            images: [R] int64 index of each region's image, ascending.
            sizes: [I, 2] height and width of each image.
            categories: [R, N] bool: categories that a region was proposed for, the only ones detected in it;
                None: all.
        """
        scores = prediction.probabilities()  # [R, N]
        if categories is not None:
            scores = scores * categories
        sizes = sizes.to(boxes.device)
        region, label, box = self._boxes(
            scores > self.score, prediction.deltas, boxes, sizes[images]
        )
        score = scores[region, label]
        # Best first within each image; images stay in their order.
        order = torch.argsort(score, descending=True, stable=True)
        order = order[torch.argsort(images[region[order]], stable=True)]
        label, score, box, image = label[order], score[order], box[order], images[region[order]]
        keep = torch.zeros_like(image, dtype=torch.bool)
        rank, counts = self._rank(image, ~keep), torch.bincount(image, minlength=len(sizes))
        # Only boxes with higher scores suppress a box, so the best boxes suffice: label spaces have thousands.
        most, side, enough = NMS_OVERSAMPLING * self.per_image, int(sizes.max()), False
        while not enough:
            best = rank < most
            keep[best] = self._suppress(
                box[best], score[best], image[best], label[best], scores.shape[1], side
            )
            left = torch.bincount(image[keep], minlength=len(sizes))
            enough = bool(((left >= self.per_image) | (counts <= most)).all())
            most *= 4
        keep = keep & (self._rank(image, keep) < self.per_image)
        image, box, label = image[keep], box[keep], label[keep]
        if self.voting < 1:
            box = self._voted(image, box, label, scores, prediction.deltas, boxes, images, sizes)
        return DetectionTable(image, box, label + 1, score[keep])

    def _voted(
        self,
        image: Tensor,
        box: Tensor,
        label: Tensor,
        scores: Tensor,
        deltas: Tensor,
        boxes: Tensor,
        images: Tensor,
        sizes: Tensor,
    ) -> Tensor:
        """The boxes [F, 4] of detections after the votes of their images' regions; labels from 0."""
        detections = torch.bincount(image, minlength=len(sizes)).tolist()
        regions = torch.bincount(images, minlength=len(sizes)).tolist()
        if deltas.ndim == 2:  # for all categories, and quicker for all images together
            deltas, _ = refined(deltas, boxes, sizes[images])
        parts = zip(
            box.split(detections),
            label.split(detections),
            *(values.split(regions) for values in (scores, deltas, boxes)),
            sizes.split(1),
            strict=True,
        )
        voted = []
        for own, labels, score, voters, start, size in parts:
            if voters.ndim == 3:
                moves = voters[:, labels].transpose(0, 1)  # [K, R, 4]
                decoded, _ = refined(moves.flatten(0, 1), start.repeat(len(moves), 1), size)
                voters = decoded.view_as(moves)
            voted.append(vote(own, voters, score[:, labels].T, self.voting))
        return torch.cat(voted)

    @staticmethod
    def _boxes(
        chosen: Tensor, deltas: Tensor, boxes: Tensor, sizes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Region [F], label [F] from 0 and decoded box [F, 4] of `chosen` [R, N], except boxes without area."""
        if deltas.ndim == 2:
            decoded, whole = refined(deltas, boxes, sizes)
            region, label = torch.nonzero(chosen & whole[:, None], as_tuple=True)
            return region, label, decoded[region]
        region, label = torch.nonzero(chosen, as_tuple=True)
        decoded, whole = refined(deltas[region, label], boxes[region], sizes[region])
        return region[whole], label[whole], decoded[whole]

    def _suppress(self, boxes, scores, images, labels, n_way: int, side: int) -> Tensor:
        """[F] bool: rows that survive; images are processed in runs, for the algorithm is quadratic."""
        keep = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
        if len(boxes) == 0:
            return keep
        # Boxes of each image and category are shifted apart, so that one call serves a run. Doubles keep the
        # shifted coordinates exact.
        counts = torch.bincount(images)
        ends = torch.cumsum(counts, 0)
        runs = torch.unique_consecutive(
            torch.div(ends, 1000, rounding_mode="floor"), return_counts=True
        )[1]
        last_images = torch.cumsum(runs, 0) - 1
        start = 0
        for last in ends[last_images].tolist():
            run = slice(start, last)
            if last > start:
                group = (images[run] - images[start]) * n_way + labels[run]
                apart = boxes[run].double() + (group * (side + 1))[:, None]
                keep[start + nms(apart, scores[run].double(), self.overlap)] = True
            start = last
        return keep

    @staticmethod
    def _rank(images: Tensor, keep: Tensor) -> Tensor:
        """[F]: number of kept rows of the same image before each row."""
        before = torch.cumsum(keep, 0) - keep.long()
        first = torch.searchsorted(images, images)  # first row of the same image
        return before - before[first] if len(images) else before
