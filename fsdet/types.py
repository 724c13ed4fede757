"""The values that flow between the parts; nothing here does anything.

Shape letters, here and everywhere: B images, G boxes of an image, R regions, S support regions,
N ways (categories of a task), C channels, P side of a pooled region, E length of a region's means,
D width of an embedding.
Labels are 1..N; 0 is background; -1 (`IGNORE`) is neither a category nor proof of background.
Boxes are (x1, y1, x2, y2) in pixels, x to the right and y down, the corner at (0, 0).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypedDict

import torch
from torch import Tensor

IGNORE = -1

Task = dict[str, Tensor]
"""What a head made of a support set; only the head that returned it reads it."""


class Target(TypedDict):
    """The annotated boxes of an image."""

    boxes: Tensor  # [G, 4] float32
    labels: Tensor  # [G] int64, 1..N or IGNORE


class Detections(TypedDict):
    """What was found in an image, best first; torchvision's own keys."""

    boxes: Tensor  # [R, 4] float32
    labels: Tensor  # [R] int64, 1..N
    scores: Tensor  # [R] float32, 0..1


@dataclass(frozen=True)
class Shots:
    """Annotated images of N categories: label n means `classes[n - 1]`."""

    images: list[Tensor]  # float32 [3, H, W] in 0..1
    targets: list[Target]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Episode:
    """A task to learn from: adapt to `support`, be judged on `query`; same classes, no shared image."""

    support: Shots
    query: Shots


@dataclass(frozen=True)
class Features:
    """What the image side sees of regions: where things are, in maps; what they are like, in means.

    The means keep what the backbone learned elsewhere; layers over the maps, trained on base
    categories, know little of any other.
    """

    maps: Tensor  # [R, C, P, P] of the feature pyramid
    means: Tensor  # [R, E]: of every level, its average over the region, scaled to unit length

    def __len__(self) -> int:
        return len(self.means)

    def __getitem__(self, index: Tensor | slice) -> "Features":
        return Features(self.maps[index], self.means[index])

    def to(self, *args) -> "Features":
        """To a device or a dtype, or both, as `Tensor.to`."""
        return Features(self.maps.to(*args), self.means.to(*args))

    def split(self, sizes: int | list[int]) -> "list[Features]":
        """Runs of rows: of one length, or of the lengths given, as `Tensor.split`."""
        pairs = zip(self.maps.split(sizes), self.means.split(sizes), strict=True)
        return [Features(*pair) for pair in pairs]

    @staticmethod
    def cat(parts: Iterable["Features"]) -> "Features":
        """The rows of all parts, one after the other."""
        parts = list(parts)
        return Features(torch.cat([p.maps for p in parts]), torch.cat([p.means for p in parts]))


@dataclass(frozen=True)
class Regions:
    """Regions with their truth: what the image side hands to a head, and what the bank stores."""

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


@dataclass(frozen=True)
class Support:
    """Regions that a head has embedded, with their truth: all that a task is made of."""

    embeddings: Tensor  # [S, ...], by `Head.embed`
    labels: Tensor  # [S] int64, 0..N
    deltas: Tensor  # [S, 4]
    n_way: int


@dataclass(frozen=True)
class Prediction:
    """What a head says of regions."""

    logits: Tensor  # [R, 1 + N], background first
    deltas: Tensor  # [R, 4], the same for every category
    scores: Tensor | None = (
        None  # [R, N] 0..1, of a head whose scores are not the softmax of its logits
    )

    def probabilities(self) -> Tensor:
        """[R, N]: how sure the head is of each category, 0..1."""
        return self.logits.float().softmax(-1)[:, 1:] if self.scores is None else self.scores

    @staticmethod
    def cat(parts: "Iterable[Prediction]") -> "Prediction":
        """The regions of all parts, one after the other."""
        logits, deltas, scores = zip(*((p.logits, p.deltas, p.scores) for p in parts), strict=True)
        return Prediction(
            torch.cat(logits),
            torch.cat(deltas),
            None if scores[0] is None else torch.cat(scores),
        )


@dataclass(frozen=True)
class Candidates:
    """Where something may be in an image: what the image side leaves of a test image."""

    boxes: Tensor  # [R, 4] in pixels of the original image, most object-like first
    features: Features
    size: tuple[int, int]  # height, width of the original image
    categories: Tensor | None = None  # [R, N] bool: which a region was proposed for; None: all
