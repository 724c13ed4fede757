"""Shots by the rules of TFA (Wang et al., 2020), which reproduce its published lists from the annotations.

The rules read one random stream per seed, category by category and shot count by shot count. A list therefore
depends on all categories, on their order and on the order of the images. The published lists of VOC (seeds 1 to
29) need the images of 2007's trainval followed by 2012's, those of COCO (seeds 1 to 9) TFA's trainvalno5k.json.
TFA's seed 0 is not drawn: it consists of the lists of 2019, see `published_lists`.
"""

import random
from collections.abc import Iterator, Sequence

import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.shots.sampling import draw, label_of
from fsdet.errors import InputError

VOC_SHOTS = (1, 2, 3, 5, 10)
COCO_SHOTS = (1, 2, 3, 5, 10, 30)


def tfa(data: DetectionData, classes: Sequence[str], k: int, seed: int) -> dict[str, list[int]]:
    """Draw the shots of each category, by VOC's rule for data in VOC's layout, else by COCO's.

    COCO's rule draws k boxes; crowds are never shots. VOC's rule draws up to k images with all boxes of the
    category in them, difficult ones included; of more than k boxes, k are drawn in the order of `sample`. The
    random stream is Python's `random`, as in TFA.

    Returns:
        Category -> annotation ids.

    Raises:
        InputError: an unknown category, a shot count that TFA does not draw, or a category in too
            few images for the rule.
    """
    is_voc = data.layout == "VOC"
    shots, rule = (VOC_SHOTS, _voc) if is_voc else (COCO_SHOTS, _coco)
    if k not in shots:
        raise InputError(f"TFA draws {', '.join(map(str, shots))} shots here; got {k}")
    last = max(label_of(data, name) for name in classes)
    stream, ids_of = random.Random(seed), {}
    for label, name in enumerate(data.classes[:last], 1):
        rows = np.flatnonzero((data.labels == label) & (is_voc | ~data.ignore))
        rows = rows[
            np.argsort(data.file_order[rows], kind="stable")
        ]  # in the order of the annotation file
        image_of_row = data.image_of(rows)
        images, first, counts = np.unique(image_of_row, return_index=True, return_counts=True)
        order = np.argsort(first)
        lists = dict(zip(shots, rule(counts[order], stream, f"{data.root}: '{name}'"), strict=True))
        if name in classes:
            drawn = images[order[lists[k]]]
            ids = [int(i) for image in drawn for i in data.ids[rows[image_of_row == image]]]
            if is_voc:
                ids = draw(data, name, set(drawn.tolist()), k, seed, set(ids))
            ids_of[name] = ids
    return {name: ids_of[name] for name in classes}


def _voc(counts: np.ndarray, stream: random.Random, where: str) -> Iterator[list[int]]:
    """Draw images for each of `VOC_SHOTS`.

    A shot count adds as many images as it exceeds the previous one, fewer if these have as many boxes. An
    image may be drawn again.

    Args:
        counts: [I] boxes of the category in each image.

    Yields:
        Indices of all images drawn so far.
    """
    drawn: list[int] = []
    for added in np.diff(VOC_SHOTS, prepend=0).tolist():
        _require_images(counts, added, where)
        boxes = 0
        for index in stream.sample(range(len(counts)), added):
            drawn.append(index)
            boxes += counts[index]
            if boxes >= added:
                break
        yield list(drawn)


def _coco(counts: np.ndarray, stream: random.Random, where: str) -> Iterator[list[int]]:
    """Draw images for each of `COCO_SHOTS`, with exactly as many boxes.

    A shot count k draws k images repeatedly. It takes those that are new and do not exceed k boxes, until it
    has k boxes.

    Args:
        counts: [I] boxes of the category in each image.

    Yields:
        Indices of all images drawn so far.
    """
    drawn: list[int] = []
    boxes = 0
    for k in COCO_SHOTS:
        _require_images(counts, k, where)
        while boxes < k:
            if not _sum_exists(np.delete(counts, drawn), k - boxes):
                raise InputError(
                    f"{where}: no images have {k - boxes} boxes together, which {k} shots need in addition"
                    f" to the {boxes} of the previous shot count; TFA's rule takes all boxes of an image or none"
                )
            for index in stream.sample(range(len(counts)), k):
                if index not in drawn and boxes + counts[index] <= k:
                    drawn.append(index)
                    boxes += int(counts[index])
                    if boxes == k:
                        break
        yield list(drawn)


def _require_images(counts: np.ndarray, number: int, where: str) -> None:
    if number > len(counts):
        raise InputError(
            f"{where} is in {len(counts)} images; TFA's rule draws {number} at once. For fewer images, leave"
            " data.shots unset to sample by hash, or use lists with data.shots=FOLDER"
        )


def _sum_exists(counts: np.ndarray, total: int) -> bool:
    """Whether some of the counts add up to the total."""
    sums = 1  # bit n: some counts add up to n
    for number, times in enumerate(np.bincount(counts[counts <= total]).tolist()):
        for _ in range(min(times, total // number) if number else 0):
            sums |= sums << number
    return bool(sums >> total & 1)
