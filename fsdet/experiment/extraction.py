"""The image side run once over a data set: a region bank of its annotated objects, or regions to be scored."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from lightning_fabric import Fabric

from fsdet.data import DetectionData
from fsdet.data.loading.stream import in_order, scaled
from fsdet.evaluation.candidates import CandidateSet
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.model.rpn import ProposalGenerator
from fsdet.training.region_bank import RegionBank
from fsdet.types import IGNORE, Features, Shots

Progress = Callable[[Iterable, int], Iterable]
"""Wraps a loop over that many batches, to show how far it is."""


@torch.no_grad()
def bank_of(
    fabric: Fabric,
    model: FewShotRCNN,
    data: DetectionData,
    images: np.ndarray,
    classes: Mapping[int, int],
    names: tuple[str, ...],
    workers: int = 0,
    progress: Progress = lambda loop, total: loop,
) -> RegionBank:
    """Labelled regions of annotated images.

    Args:
        images: rows of `data`.
        classes: label of the data -> label of the bank, 1..N; objects of other labels are ignored: they are
            neither objects nor background.
        names: of the bank's N categories.
    """
    relabel = np.full(len(data.classes) + 1, IGNORE)
    relabel[list(classes)] = list(classes.values())
    parts: list[tuple[Features, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]] = []
    queue = iter(np.asarray(images).tolist())
    batches = in_order(data, images, workers)
    for batch, targets in progress(batches, len(batches)):
        rows = [next(queue) for _ in batch]
        # The detector sees every object as a category of its own, so that regions tell whose they are.
        own = []
        for image, target in zip(rows, targets, strict=True):
            place = torch.arange(data.rows(image).start, data.rows(image).stop)
            known = (target["labels"] > 0) & torch.from_numpy(
                relabel[target["labels"].clamp(min=0).numpy()] > 0
            )
            own.append({"boxes": target["boxes"], "labels": torch.where(known, place + 1, IGNORE)})
        shots = Shots(fabric.to_device(list(map(scaled, batch))), fabric.to_device(own), names)
        draws = [torch.Generator().manual_seed(image) for image in rows]
        with fabric.autocast():
            found = model.regions(shots, draws)
        for image, regions in zip(rows, found, strict=True):
            owner = regions.labels.cpu() - 1  # -1: background
            label = torch.from_numpy(relabel[data.labels])[owner] * (owner >= 0)
            parts.append(
                (
                    regions.features.to("cpu", torch.float16),
                    label,
                    regions.deltas.cpu(),
                    torch.full_like(owner, image),
                    owner,
                )
            )
    features, *rest = zip(*parts, strict=True)
    return RegionBank(Features.cat(features), *map(torch.cat, rest), names, model.shape.means)


@torch.no_grad()
def candidates_of(
    fabric: Fabric,
    model: FewShotRCNN,
    data: DetectionData,
    images: np.ndarray,
    workers: int = 0,
    progress: Progress = lambda loop, total: loop,
    proposing: ProposalGenerator | None = None,
) -> CandidateSet:
    """What the image side leaves of images, rows of `data`; where, as `FewShotRCNN.propose` takes it."""
    found = []
    batches = in_order(data, images, workers)
    for batch, _ in progress(batches, len(batches)):
        pixels = fabric.to_device(list(map(scaled, batch)))
        with fabric.autocast():
            found.append(CandidateSet.of(model.propose(pixels, proposing)))
    return CandidateSet.cat(found)
