"""Gradient steps of the head on registered shots, for those who want more than an adaptation."""

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from fsdet.api.detector import BATCH, Detector
from fsdet.data.loading.transforms import support as augmentation
from fsdet.data.shots.images import ShotImages
from fsdet.errors import InputError
from fsdet.heads.support import index_in_group
from fsdet.model.few_shot_rcnn import join
from fsdet.types import Regions

SUPPORT, QUERY = (30, 128), (8, 64)  # regions of each category and of background, at most
CLIP = 10.0

Progress = Callable[[Iterable, int], Iterable]
"""Wraps a loop over that many steps, to show how far it is."""


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
    """Move the detector's head by AdamW steps; backbone, proposals and memory stay as they are.

    A step adapts the head to a part of what the detector remembers and judges it on the rest, and on regions
    of augmented views of the shots: what it knew stays in the loss. The views go through the backbone once.
    On a CPU the same arguments give the same head, to the bit.

    Args:
        detector: knows the categories of `shots`.
        shots: images that at least one step sees.
        rate: of AdamW.
        seed: of the views and of what a step draws.
        views: augmented views of each image.
        flip: whether left and right may be exchanged.

    Returns:
        The loss of every step.

    Raises:
        InputError: a category that the detector does not know, numbers out of range, or a loss that is
            not finite; then the detector is as it was.
    """
    numbers = (("steps", steps, 0), ("views", views, 1), ("rate", rate, 0), ("seed", seed, 0))
    for name, value, least in numbers:
        if not value >= least:
            raise InputError(f"{name}: expected at least {least}, got {value}")
    if rate > 1:
        raise InputError(f"rate: expected at most 1, got {rate}")
    unknown = [name for name in shots.classes if name not in detector.names]
    if unknown:
        raise InputError(f"fine-tuning: register '{unknown[0]}' first")
    if steps == 0:
        return []
    generator = torch.Generator().manual_seed(seed)
    memory = detector.support()
    views_regions = _views(detector, shots, views, flip, generator, seed)
    head = copy.deepcopy(detector.model.head).train()
    optimizer = torch.optim.AdamW(head.parameters(), rate)
    losses = []
    for step in progress(range(steps), steps):
        support_rows, rest = _split(memory.labels, *SUPPORT, generator)
        query_rows = rest[_split(memory.labels[rest], *QUERY, generator)[0]]
        view_rows, _ = _split(views_regions.labels, *QUERY, generator)
        query = join([_rows(memory, query_rows), _rows(views_regions, view_rows)])
        parts = head.loss(query, head.adapt(_rows(memory, support_rows)))
        loss = torch.stack(list(parts.values())).sum()
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


def _views(
    detector: Detector,
    shots: ShotImages,
    views: int,
    flip: bool,
    generator: torch.Generator,
    seed: int,
) -> Regions:
    """Regions of augmented views, under the detector's labels."""
    transform = augmentation(detector.settings.max_size, flip)
    per_image = [
        regions
        for view in range(views)
        for batch in shots.batches(BATCH, transform, seed * views + view)
        for regions in detector.regions(batch, generator)
    ]
    label_of = {name: label for label, name in enumerate(detector.names, 1)}
    relabel = torch.tensor([0] + [label_of[name] for name in shots.classes])
    regions = join(per_image)
    return Regions(
        regions.features.to(torch.float32), relabel.to(regions.labels.device)[regions.labels], regions.deltas,
        len(detector.names),
    )  # fmt: skip


def _split(
    labels: Tensor, most: int, background: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rows drawn at random, up to so many of each category and of background, and all other rows."""
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    drawn = labels[order]
    taken = index_in_group(drawn) < torch.where(drawn > 0, most, background)
    return order[taken], order[~taken]


def _rows(regions: Regions, index: Tensor) -> Regions:
    return Regions(
        regions.features[index], regions.labels[index], regions.deltas[index], regions.n_way
    )
