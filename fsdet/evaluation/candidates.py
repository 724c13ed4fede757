"""Candidates of a test set: cached region features, from which every task is scored."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fsdet.heads.base import Head
from fsdet.model.postprocess import DetectionTable, Selection
from fsdet.types import Candidates, Features, Prediction, Task

CHUNK = 8192  # regions in one call of a head


@dataclass(frozen=True)
class CandidateSet:
    """Candidates of I images, one image after the other."""

    features: Features  # of R regions, float16
    boxes: Tensor  # [R, 4] pixels of the original images
    images: Tensor  # [R] int64 0..I-1, not decreasing: the image of each region
    sizes: Tensor  # [I, 2] height, width
    categories: Tensor | None = (
        None  # [R, N] bool: categories that a region was proposed for; None: all
    )

    @staticmethod
    def of(candidates: Iterable[Candidates]) -> "CandidateSet":
        """Join the candidates of single images, in order."""
        images = list(candidates)
        return CandidateSet(
            Features.cat(c.features for c in images).to("cpu", torch.float16),
            torch.cat([c.boxes for c in images]).float().cpu(),
            torch.repeat_interleave(torch.tensor([len(c.boxes) for c in images])),
            torch.tensor([c.size for c in images]),
            _joined([c.categories for c in images]),
        )

    @staticmethod
    def cat(parts: "Sequence[CandidateSet]") -> "CandidateSet":
        """Join the images of all parts, in order."""
        before = np.cumsum([0] + [len(p.sizes) for p in parts])
        return CandidateSet(
            Features.cat(p.features for p in parts),
            torch.cat([p.boxes for p in parts]),
            torch.cat([p.images + int(n) for p, n in zip(parts, before, strict=False)]),
            torch.cat([p.sizes for p in parts]),
            _joined([p.categories for p in parts]),
        )


def _joined(categories: Sequence[Tensor | None]) -> Tensor | None:
    """[R, N] of all parts, on the CPU; None if a part has none."""
    masks = [mask.cpu() for mask in categories if mask is not None]
    return torch.cat(masks) if len(masks) == len(categories) else None


@torch.no_grad()
def embed(head: Head, features: Features) -> Tensor:
    """Embeddings [R, ...] of R regions, which all tasks of a head share, computed in chunks."""
    return torch.cat([head.embed(chunk.to(torch.float32)) for chunk in features.split(CHUNK)])


@torch.no_grad()
def find(
    head: Head,
    task: Task,
    embeddings: Tensor,
    candidates: CandidateSet,
    selection: Selection,
) -> DetectionTable:
    """Detect objects in all images of `candidates` with one task.

    Args:
        embeddings: [R, ...] of the candidates, see `embed`.
    """
    prediction = Prediction.cat(head.predict(chunk, task) for chunk in embeddings.split(CHUNK))
    return selection(
        prediction, candidates.boxes, candidates.images, candidates.sizes, candidates.categories
    )
