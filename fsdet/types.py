"""Vocabulary: the frozen values that flow between the parts of the package.

Shape letters, here and everywhere: B images, G boxes of an image, R regions, S support regions,
N ways (categories of a task), C channels, P side of a pooled region, E length of a region's means,
D width of an embedding.
Labels are 1..N; 0 is background; -1 (`IGNORE`) is neither a category nor background.
Boxes are (x1, y1, x2, y2) in pixels, x to the right and y down, the corner at (0, 0).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import torch
from torch import Tensor

IGNORE = -1

Task = dict[str, Tensor]
"""The parameters that a head has adapted to a support set; only that head reads them."""


class Target(TypedDict):
    """Annotated boxes of an image."""

    boxes: Tensor  # [G, 4] float32
    labels: Tensor  # [G] int64, 1..N or IGNORE


class Detections(TypedDict):
    """Detections in an image, best first, under torchvision's keys."""

    boxes: Tensor  # [R, 4] float32
    labels: Tensor  # [R] int64, 1..N
    scores: Tensor  # [R] float32, 0..1


@dataclass(frozen=True)
class Shots:
    """Annotated images of N categories: label n means `classes[n - 1]`."""

    images: list[Tensor]  # [3, H, W], uint8 or float32 in 0..1
    targets: list[Target]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Episode:
    """A task for meta-training: adapt to `support`, compute the loss on `query`; same classes, no shared image."""

    support: Shots
    query: Shots


@dataclass(frozen=True)
class Features:
    """Region features: RoI-aligned maps of the pyramid, and averages of the backbone's levels.

    The averages keep what the backbone learned in pre-training; layers over the maps are trained on base
    categories and generalise less to others.
    """

    maps: Tensor  # [R, C, P, P] of the feature pyramid
    means: Tensor  # [R, E]: average of each backbone level over the region, scaled to unit length

    def __len__(self) -> int:
        return len(self.means)

    def __getitem__(self, index: Tensor | slice) -> "Features":
        return Features(self.maps[index], self.means[index])

    def to(self, *args) -> "Features":
        """Move to a device or a dtype, or both, as `Tensor.to`."""
        return Features(self.maps.to(*args), self.means.to(*args))

    def split(self, sizes: int | list[int]) -> "list[Features]":
        """Split the rows, as `Tensor.split` does."""
        pairs = zip(self.maps.split(sizes), self.means.split(sizes), strict=True)
        return [Features(*pair) for pair in pairs]

    @staticmethod
    def cat(parts: Iterable["Features"]) -> "Features":
        """Concatenate the rows of all parts."""
        parts = list(parts)
        return Features(torch.cat([p.maps for p in parts]), torch.cat([p.means for p in parts]))


@dataclass(frozen=True)
class Regions:
    """Labelled regions: the input of a head, and the content of the region bank."""

    features: Features  # of R regions
    labels: Tensor  # [R] int64, 0..N
    deltas: Tensor  # [R, 4] box-coder targets; zero for background
    n_way: int

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Regions":
        return replace(
            self,
            features=self.features.to(device),
            labels=self.labels.to(device),
            deltas=self.deltas.to(device),
        )

    @staticmethod
    def cat(parts: "Sequence[Regions]") -> "Regions":
        """Concatenate the regions of all parts, at least one, with labels of the same N ways."""
        return Regions(
            Features.cat(p.features for p in parts),
            torch.cat([p.labels for p in parts]),
            torch.cat([p.deltas for p in parts]),
            parts[0].n_way,
        )


@dataclass(frozen=True)
class Support:
    """Embedded, labelled regions: the input from which a head learns a task."""

    embeddings: Tensor  # [S, ...], by `Head.embed`
    labels: Tensor  # [S] int64, 0..N
    deltas: Tensor  # [S, 4]
    n_way: int


@dataclass(frozen=True)
class Prediction:
    """Prediction of a head for R regions."""

    logits: Tensor  # [R, 1 + N], background first
    deltas: Tensor  # [R, 4], the same for every category, or [R, N, 4]
    scores: Tensor | None = (
        None  # [R, N] 0..1, of a head whose scores are not the softmax of its logits
    )

    def probabilities(self) -> Tensor:
        """Scores of the categories, [R, N] in 0..1."""
        return self.logits.float().softmax(-1)[:, 1:] if self.scores is None else self.scores

    @staticmethod
    def cat(parts: "Iterable[Prediction]") -> "Prediction":
        """Concatenate the regions of all parts."""
        logits, deltas, scores = zip(*((p.logits, p.deltas, p.scores) for p in parts), strict=True)
        return Prediction(
            torch.cat(logits),
            torch.cat(deltas),
            None if scores[0] is None else torch.cat(scores),
        )


@dataclass(frozen=True)
class Candidates:
    """Proposals of a test image with their features: all that scoring needs of the image."""

    boxes: Tensor  # [R, 4] in pixels of the original image, most object-like first
    features: Features
    size: tuple[int, int]  # height, width of the original image
    categories: Tensor | None = None  # [R, N] bool: which a region was proposed for; None: all
