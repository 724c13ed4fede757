"""Feature extraction: the detector's image side run over a data set, into region banks and candidate sets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from lightning_fabric import Fabric

from fsdet.data import DetectionData
from fsdet.data.loading.stream import in_order
from fsdet.evaluation.candidates import CandidateSet
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.model.given_boxes import GivenBoxes, with_windows
from fsdet.model.rpn import ProposalGenerator
from fsdet.progress import Progress, silent
from fsdet.training.region_bank import RegionBank
from fsdet.types import IGNORE, Regions, Shots, Target

SHARD_BYTES = 2**31  # approximate size of the features of test images that are in memory at once


@torch.no_grad()
def extract_bank(
    fabric: Fabric,
    model: FewShotRCNN,
    data: DetectionData,
    images: np.ndarray,
    classes: Mapping[int, int],
    names: tuple[str, ...],
    workers: int = 0,
    progress: Progress = silent,
) -> RegionBank:
    """Extract labelled regions of annotated images.

    Args:
        images: indices of images of `data`.
        classes: label of the data -> label of the bank, 1..N; objects of other labels are ignored: they are
            neither objects nor background.
        names: the bank's N categories.
        workers: processes that load images.
        progress: wraps the loop over batches.
    """
    bank_labels = torch.full((len(data.classes) + 1,), IGNORE)
    for label, bank_label in classes.items():
        bank_labels[label] = bank_label
    parts: list[tuple[Regions, torch.Tensor, torch.Tensor]] = []
    queue = iter(np.asarray(images).tolist())
    batches = in_order(data, images, workers, pinned=fabric.device.type == "cuda")
    for batch, targets in progress(batches, len(batches)):
        indices = [next(queue) for _ in batch]
        relabelled = [
            Target(boxes=target["boxes"], labels=bank_labels[target["labels"].clamp(min=0)])
            for target in targets
        ]
        pixels = fabric.to_device(batch)  # as bytes: a quarter of the floats
        shots = Shots(pixels, fabric.to_device(relabelled), names)
        generators = [torch.Generator().manual_seed(image) for image in indices]
        given = given_boxes(data, indices, model)
        with fabric.autocast():
            per_image = model.regions(shots, generators, proposing=given and with_windows(given))
        for image, regions, matched in zip(indices, *per_image, strict=True):
            half = replace(regions, features=regions.features.to(torch.float16))
            index = matched.cpu()  # of the annotation in its image
            parts.append(
                (
                    half.to("cpu"),
                    torch.full_like(index, image),
                    torch.where(index >= 0, index + data.rows(image).start, -1),
                )
            )
    regions_of_images, image_index, rows = zip(*parts, strict=True)
    joined = Regions.cat(regions_of_images)
    return RegionBank(
        joined.features,
        joined.labels,
        joined.deltas,
        torch.cat(image_index),
        torch.cat(rows),
        names,
        model.shape.means,
    )


@torch.no_grad()
def extract_candidates(
    fabric: Fabric,
    model: FewShotRCNN,
    data: DetectionData,
    images: np.ndarray,
    workers: int = 0,
    progress: Progress = silent,
    proposing: ProposalGenerator | None = None,
) -> CandidateSet:
    """Extract the regions that a detector proposes in images.

    Args:
        images: indices of images of `data`.
        workers: processes that load images.
        progress: wraps the loop over batches.
        proposing: generates the proposals; None: those of the data, else the detector's RPN.
    """
    parts = []
    queue = iter(np.asarray(images).tolist())
    batches = in_order(data, images, workers, pinned=fabric.device.type == "cuda")
    for batch, _ in progress(batches, len(batches)):
        pixels = fabric.to_device(batch)  # as bytes: a quarter of the floats
        given = given_boxes(data, [next(queue) for _ in batch], model)
        with fabric.autocast():
            parts.append(CandidateSet.of(model.propose(pixels, proposing or given)))
    return CandidateSet.cat(parts)


def given_boxes(
    data: DetectionData, images: Sequence[int], model: FewShotRCNN
) -> GivenBoxes | None:
    """The boxes that another detector found in some images of the data, if it comes with such boxes."""
    if data.proposals is None:
        return None
    boxes = [torch.from_numpy(data.proposals.of(i)) for i in images]
    return GivenBoxes(boxes, [tuple(data.sizes[i].tolist()) for i in images], model.rpn.most)


def image_shards(
    num_images: int, model: FewShotRCNN, proposing: ProposalGenerator | None = None
) -> list[np.ndarray]:
    """Split images 0..num_images-1 into shards of candidates of about `SHARD_BYTES` each."""
    bytes_per_image = (proposing or model.rpn).most * model.shape.bytes
    size = max(SHARD_BYTES // bytes_per_image, 1)
    return np.split(np.arange(num_images), range(size, num_images, size))
