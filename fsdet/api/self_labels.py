"""Labels that an imported detector gives to regions by itself: its kept categories and background."""

from dataclasses import replace

import torch

from fsdet.heads.finetuning.beside import Beside
from fsdet.heads.support import index_in_group
from fsdet.types import Candidates, Regions, Task

OBJECT, BACKGROUND = 0.7, 0.9  # least probabilities
PER_CATEGORY, PER_IMAGE = 8, 16  # regions of a category, and of background, of an image at most


def certain_regions(head: Beside, task: Task, candidates: Candidates) -> Regions:
    """The candidates of an image that the detector is sure of; label k is its k-th kept category, 0 background.

    Box targets are what the kept regressor of the category says.
    """
    features = candidates.features.to(torch.float32)
    embeddings = head.embed(features)
    probabilities = head.predict(embeddings, task).logits.softmax(1)
    kept = probabilities[:, : 1 + head.n_kept]
    best, label = kept.max(1)
    sure = best > torch.where(label > 0, OBJECT, BACKGROUND)
    rows = torch.nonzero(sure)[:, 0]
    most = torch.where(label[rows] > 0, PER_CATEGORY, PER_IMAGE)
    rows = rows[index_in_group(label[rows]) < most]
    return Regions(
        features[rows].to(torch.float16),
        label[rows],
        head.kept_deltas(embeddings[rows], label[rows]),
        head.n_kept,
    )


def label_kept_objects(
    head: Beside, regions: Regions, names: tuple[str, ...], kept: tuple[str, ...]
) -> tuple[Regions, tuple[str, ...]]:
    """Background regions that the kept classifier takes for one of its categories get the label of this category.

    Otherwise a person beside the kangaroo of a shot would be background.

    Args:
        regions: labels 1..N are `names`, of which some may be kept categories.

    Returns:
        The regions, and the names of their labels: `names` and the kept categories that were seen.
    """
    background = torch.nonzero(regions.labels == 0)[:, 0]
    features = regions.features[background].to(head.kept.weight.device).to(torch.float32)
    best, label = head.kept_probabilities(head.embed(features)).max(1)
    best, label = best.cpu(), label.cpu()
    every = names + tuple(name for name in kept if name not in names)
    label_of_kept = torch.tensor([0, *(1 + every.index(name) for name in kept)])
    labels = regions.labels.clone()
    labels[background] = label_of_kept[torch.where(best > OBJECT, label, 0)]
    return only_present(replace(regions, labels=labels), every, len(names))


def only_present(
    regions: Regions, names: tuple[str, ...], always: int = 0
) -> tuple[Regions, tuple[str, ...]]:
    """Relabel so that each name has a region; the first `always` names stay even without one."""
    present = [n for n in range(len(names)) if n < always or bool((regions.labels == n + 1).any())]
    table = torch.zeros(1 + len(names), dtype=torch.int64)
    table[[n + 1 for n in present]] = torch.arange(1, 1 + len(present))
    labels = table.to(regions.labels.device)[regions.labels]
    return replace(regions, labels=labels, n_way=len(present)), tuple(names[n] for n in present)
