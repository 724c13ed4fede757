"""Postprocessing: box decoding, score threshold and non-maximum suppression, for one image or thousands."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import nms

from fsdet.boxes import BOX_CODER
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


@dataclass(frozen=True)
class Selection:
    """Selection of detections, as torchvision's `RoIHeads.postprocess_detections`.

    Suppression is greedy, within a category and an image. Class-agnostic boxes are decoded once per region,
    class-specific boxes only where their category's score is above the threshold.
    """

    score: float = 0.05  # detections have higher scores
    overlap: float = 0.5  # IoU above which suppression removes the lower score
    per_image: int = 100  # maximum number of detections

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
        return DetectionTable(image[keep], box[keep], label[keep] + 1, score[keep])

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
