"""Feature extraction: the detector's image side run over a data set, into region banks and candidate sets."""

from collections.abc import Mapping

import numpy as np
import torch
from lightning_fabric import Fabric

from fsdet.data import DetectionData
from fsdet.data.loading.stream import in_order, scaled
from fsdet.evaluation.candidates import CandidateSet
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.model.rpn import ProposalGenerator
from fsdet.progress import Progress, silent
from fsdet.training.region_bank import RegionBank
from fsdet.types import IGNORE, Features, Shots, Target

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
    bank_label = np.full(len(data.classes) + 1, IGNORE)
    bank_label[list(classes)] = list(classes.values())
    parts: list[tuple[Features, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]] = []
    queue = iter(np.asarray(images).tolist())
    batches = in_order(data, images, workers)
    for batch, targets in progress(batches, len(batches)):
        indices = [next(queue) for _ in batch]
        objects = [
            _objects_as_classes(data, image, target, bank_label)
            for image, target in zip(indices, targets, strict=True)
        ]
        shots = Shots(fabric.to_device(list(map(scaled, batch))), fabric.to_device(objects), names)
        generators = [torch.Generator().manual_seed(image) for image in indices]
        with fabric.autocast():
            regions_of_images = model.regions(shots, generators)
        for image, regions in zip(indices, regions_of_images, strict=True):
            objects_of_regions = regions.labels.cpu() - 1  # -1: background
            labels = torch.from_numpy(bank_label[data.labels])[objects_of_regions]
            parts.append(
                (
                    regions.features.to("cpu", torch.float16),
                    labels * (objects_of_regions >= 0),
                    regions.deltas.cpu(),
                    torch.full_like(objects_of_regions, image),
                    objects_of_regions,
                )
            )
    features, *columns = zip(*parts, strict=True)
    labels, deltas, image_index, objects_index = map(torch.cat, columns)
    return RegionBank(
        Features.cat(features),
        labels,
        deltas,
        image_index,
        objects_index,
        names,
        model.shape.means,
    )


def _objects_as_classes(
    data: DetectionData, image: int, target: Target, bank_label: np.ndarray
) -> Target:
    """The target of an image with 1 + the row of its annotation as the label of each object.

    So regions tell which object they belong to. Objects without a label in the bank are ignored.
    """
    rows = torch.arange(data.rows(image).start, data.rows(image).stop)
    labels = target["labels"]
    in_bank = torch.from_numpy(bank_label[labels.clamp(min=0).numpy()] > 0)
    kept = (labels > 0) & in_bank
    return {"boxes": target["boxes"], "labels": torch.where(kept, rows + 1, IGNORE)}


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
        proposing: generates the proposals; None: the detector's RPN.
    """
    parts = []
    batches = in_order(data, images, workers)
    for batch, _ in progress(batches, len(batches)):
        pixels = fabric.to_device(list(map(scaled, batch)))
        with fabric.autocast():
            parts.append(CandidateSet.of(model.propose(pixels, proposing)))
    return CandidateSet.cat(parts)


def image_shards(
    num_images: int, model: FewShotRCNN, proposing: ProposalGenerator | None = None
) -> list[np.ndarray]:
    """Split images 0..num_images-1 into shards of candidates of about `SHARD_BYTES` each."""
    bytes_per_image = (proposing or model.rpn).most * model.shape.bytes
    size = max(SHARD_BYTES // bytes_per_image, 1)
    return np.split(np.arange(num_images), range(size, num_images, size))
