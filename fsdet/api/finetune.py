"""Fine-tuning of a detector's head on registered shots."""

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from fsdet.api.detector import BATCH, Detector
from fsdet.data.loading.transforms import support as augmentation
from fsdet.data.shots.images import ShotImages
from fsdet.errors import InputError
from fsdet.heads.base import Head
from fsdet.heads.support import index_in_group
from fsdet.types import Regions

SUPPORT, QUERY = (30, 128), (8, 64)  # at most so many regions of each category, and of background
CLIP = 10.0  # norm of the gradient

Progress = Callable[[Iterable, int], Iterable]
"""Wraps a loop over that many steps and shows its progress."""


def finetune(
    detector: Detector,
    shots: ShotImages,
    steps: int,
    rate: float = 3e-5,
    seed: int = 0,
    views: int = 4,
    flip: bool = True,
    progress: Progress = lambda loop, total: loop,
) -> list[float]:
    """Fine-tune the detector's head with AdamW; backbone, proposals and memory stay as they are.

    Each step adapts the head to a random support from the memory; the query is drawn from the rest of the
    memory and from augmented views of the shots. Earlier categories are therefore part of the loss. The views
    go through the backbone once. On a CPU the same arguments give the same head, to the bit.

    Args:
        detector: has the categories of `shots` registered.
        shots: annotated images, used as queries.
        steps: optimizer steps; 0 changes nothing.
        rate: learning rate, 0..1.
        seed: of the augmentation and of the draws.
        views: augmented views of each image.
        flip: whether views may be mirrored horizontally.

    Returns:
        The loss of every step.

    Raises:
        InputError: a category that is not registered, an argument out of range, or a loss or weight that is
            not finite; the detector has not changed then.
    """
    bounds = (("steps", steps, 0), ("views", views, 1), ("rate", rate, 0), ("seed", seed, 0))
    for argument, value, least in bounds:
        if not value >= least:  # True for NaN as well
            raise InputError(f"{argument}: expected at least {least}, got {value}")
    if rate > 1:
        raise InputError(f"rate: expected at most 1, got {rate}")
    unknown = [name for name in shots.classes if name not in detector.names]
    if unknown:
        raise InputError(f"fine-tuning: register '{unknown[0]}' first")
    if steps == 0:
        return []
    if detector.kept:
        raise InputError(
            "fine-tuning: imported categories rest on the layers that steps would move; expected"
            " 0 steps, or forget the imported categories first (drop_kept)"
        )
    generator = torch.Generator().manual_seed(seed)
    memory = detector.support()
    view_regions = _view_regions(detector, shots, views, flip, generator, seed)
    head = copy.deepcopy(detector.model.head).train()
    optimizer = torch.optim.AdamW(head.parameters(), rate)
    losses = []
    for step in progress(range(steps), steps):
        loss = _loss(head, memory, view_regions, generator)
        losses.append(loss.item())
        if not torch.isfinite(loss):
            raise InputError(
                f"fine-tuning: the loss of step {step} is {losses[-1]}; lower the rate"
            )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), CLIP)
        optimizer.step()
    if not all(bool(torch.isfinite(value).all()) for value in head.parameters()):
        raise InputError(
            f"fine-tuning: the weights are not finite after {steps} steps; lower the rate"
        )
    detector.use(head)
    return losses


def _loss(head: Head, memory: Regions, views: Regions, generator: torch.Generator) -> Tensor:
    """The loss on a random query, of a head adapted to a random support from the memory."""
    support, rest = _split(memory.labels, *SUPPORT, generator)
    query = rest[_split(memory.labels[rest], *QUERY, generator)[0]]
    view_query, _ = _split(views.labels, *QUERY, generator)
    queries = Regions.cat([_rows(memory, query), _rows(views, view_query)])
    losses = head.loss(queries, head.adapt(_rows(memory, support)))
    return torch.stack(list(losses.values())).sum()


def _view_regions(
    detector: Detector,
    shots: ShotImages,
    views: int,
    flip: bool,
    generator: torch.Generator,
    seed: int,
) -> Regions:
    """Regions of augmented views; label n is the detector's n-th category."""
    transform = augmentation(detector.settings.max_size, flip)
    regions = Regions.cat(
        [
            image_regions
            for view in range(views)
            for batch in shots.batches(BATCH, transform, seed * views + view)
            for image_regions in detector.regions(batch, generator)
        ]
    )
    names = detector.names
    labels = torch.tensor([0, *(names.index(name) + 1 for name in shots.classes)])
    return Regions(
        regions.features.to(torch.float32),
        labels.to(regions.labels.device)[regions.labels],
        regions.deltas,
        len(names),
    )


def _split(
    labels: Tensor, per_category: int, background: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Indices of a random sample, at most so many per category and of background; and all other indices."""
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    shuffled = labels[order]
    in_sample = index_in_group(shuffled) < torch.where(shuffled > 0, per_category, background)
    return order[in_sample], order[~in_sample]


def _rows(regions: Regions, index: Tensor) -> Regions:
    return Regions(
        regions.features[index], regions.labels[index], regions.deltas[index], regions.n_way
    )
