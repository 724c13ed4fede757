"""A test subset where a folder has none: a share of the images of another subset, drawn by image."""

import os
from itertools import repeat
from pathlib import Path

import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.equal_files import equal_files
from fsdet.data.shots.sampling import hash_of
from fsdet.errors import InputError

ROBOFLOW = ".rf."  # Roboflow calls all augmented copies of a photograph NAME.rf.HASH.jpg


def split_off(data: DetectionData, share: float, seed: int) -> tuple[DetectionData, DetectionData]:
    """The images that stay, and those that are split off, both in the order of the data.

    Images are ordered by a hash of seed and path, the same on every machine. Categories are served from the
    rarest to the commonest until each has about its share of images in the test; then images are added until
    the share of all is reached. An image stays if one of its categories would have no image left. Equal files
    and Roboflow's copies of one photograph stay together.

    Args:
        share: of the images, above 0 and below 1; at least one image is split off.

    Raises:
        InputError: no image can be split off: there are fewer than two, or a category of each has no other.
    """
    groups = _groups(data)
    order = sorted(range(len(groups)), key=lambda g: _key(data, groups[g], seed))
    chosen = _choose([groups[g] for g in order], data, share)
    test = np.zeros(len(data), bool)
    test[[image for group in chosen for image in group]] = True
    if not test.any():
        raise InputError(
            f"{data.root}: no image can be split off: expected two or more images, and categories in two or"
            f" more of them; got {len(data)} images"
        )
    return data.subset(~test), data.subset(test)


def _choose(groups: list[list[int]], data: DetectionData, share: float) -> list[list[int]]:
    """The groups of images that are split off.

    Args:
        groups: in the order in which they are drawn.
    """
    labels = [_labels(data, group) for group in groups]
    having: list[list[int]] = [[] for _ in range(len(data.classes) + 1)]  # groups of each label
    for n, own in enumerate(labels):
        for label in own:
            having[label].append(n)
    left = np.array([len(some) for some in having])  # groups of each label that stay
    wanted = np.maximum(np.rint(share * left), 1)
    by_rarity = sorted(range(1, len(having)), key=lambda label: len(having[label]))
    most = max(1, round(share * len(data)))
    count, stay = 0, len(groups)
    chosen: dict[int, list[int]] = {}
    # 0, the label of no category, stands for all groups.
    for n, label in [*((n, k) for k in by_rarity for n in having[k]), *zip(range(stay), repeat(0))]:
        served = label and len(having[label]) - left[label] >= wanted[label]
        full = count > 0 and count + len(groups[n]) > most
        needed = stay < 2 or (left[labels[n]] < 2).any()
        if n not in chosen and not (served or full or needed):
            chosen[n] = groups[n]
            left[labels[n]] -= 1
            count, stay = count + len(groups[n]), stay - 1
    return list(chosen.values())


def _labels(data: DetectionData, images: list[int]) -> np.ndarray:
    """Labels of the boxes that are not ignored, each once."""
    rows = [data.rows(image) for image in images]
    return np.unique(np.concatenate([data.labels[own][~data.ignore[own]] for own in rows]))


def _groups(data: DetectionData) -> list[list[int]]:
    """Images that stay together: those with the same content, or of one photograph."""
    first: dict[str, int] = {}
    parent = np.arange(len(data))
    by_file: dict[Path, int] = {}
    for i in range(len(data)):
        name, mark, _ = os.path.basename(data.paths[i]).partition(ROBOFLOW)
        parent[i] = first.setdefault(name, i) if mark else i
        by_file[data.path(i)] = i
    for files in equal_files(by_file):
        joined = np.unique(parent[[by_file[file] for file in files]])
        parent[np.isin(parent, joined)] = joined[0]
    groups: dict[int, list[int]] = {}
    for i, top in enumerate(parent.tolist()):
        groups.setdefault(top, []).append(i)
    return list(groups.values())


def _key(data: DetectionData, group: list[int], seed: int) -> str:
    return min(hash_of("split", seed, data.paths[image]) for image in group)
