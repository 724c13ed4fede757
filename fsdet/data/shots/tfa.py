"""Shots as TFA draws them (Wang et al., 2020): the lists that it published, from the annotations alone.

Its rules read one random stream a seed, category after category and shot count after shot count, so
that a list depends on all categories, on their order and on that of the images. The published lists
of VOC (seeds 1 to 29) need the images of 2007's trainval, then of 2012's; those of COCO (seeds 1 to
9) TFA's trainvalno5k.json. TFA's seed 0 is not drawn: it is the lists of 2019, see `published`.
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
    """Annotation ids of the shots of each category; by VOC's rule in its layout, else by COCO's.

    COCO's gives k boxes. VOC's gives up to k images with all boxes of the category in them,
    difficult ones included: where these are more than k, k are taken once, in `sample`'s order; they
    may be fewer. Crowds are never shots. The stream is that of Python's `random`, as TFA's is.

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
        rows = rows[np.argsort(data.file_order[rows], kind="stable")]  # as in the annotation file
        of_row = data.image_of(rows)
        images, first, counts = np.unique(of_row, return_index=True, return_counts=True)
        order = np.argsort(first)
        lists = dict(zip(shots, rule(counts[order], stream, f"{data.root}: '{name}'"), strict=True))
        if name in classes:
            drawn = images[order[lists[k]]]
            ids = [int(i) for image in drawn for i in data.ids[rows[of_row == image]]]
            if is_voc:
                ids = draw(data, name, set(drawn.tolist()), k, seed, set(ids))
            ids_of[name] = ids
    return {name: ids_of[name] for name in classes}


def _voc(counts: np.ndarray, stream: random.Random, where: str) -> Iterator[list[int]]:
    """Places of the images after each of `VOC_SHOTS`, by how many boxes each image has.

    A shot count draws as many images as it has more than the one before, and stops early when
    these have as many boxes. An image that was drawn before is drawn again.
    """
    taken: list[int] = []
    for more in np.diff(VOC_SHOTS, prepend=0).tolist():
        _must_be(counts, more, where)
        boxes = 0
        for index in stream.sample(range(len(counts)), more):
            taken.append(index)
            boxes += counts[index]
            if boxes >= more:
                break
        yield list(taken)


def _coco(counts: np.ndarray, stream: random.Random, where: str) -> Iterator[list[int]]:
    """Places of the images after each of `COCO_SHOTS`, which have as many boxes together.

    A shot count draws as many images again and again, and takes those that are new and not too
    many, until it has its number.
    """
    taken: list[int] = []
    boxes = 0
    for k in COCO_SHOTS:
        _must_be(counts, k, where)
        while boxes < k:
            if not _can_be(np.delete(counts, taken), k - boxes):
                raise InputError(
                    f"{where}: no images have {k - boxes} boxes together, which {k} shots need beside"
                    f" the {boxes} of fewer; TFA's rule takes all boxes of an image or none"
                )
            for index in stream.sample(range(len(counts)), k):
                if index not in taken and boxes + counts[index] <= k:
                    taken.append(index)
                    boxes += int(counts[index])
                    if boxes == k:
                        break
        yield list(taken)


def _must_be(counts: np.ndarray, number: int, where: str) -> None:
    if number > len(counts):
        raise InputError(
            f"{where} is in {len(counts)} images; TFA's rule draws {number} of them at once. Shots of fewer are"
            " drawn by hash without data.shots, or taken from lists with data.shots=FOLDER"
        )


def _can_be(counts: np.ndarray, total: int) -> bool:
    """Whether some of the numbers make the total."""
    sums = 1  # bit n: n can be made
    for number, times in enumerate(np.bincount(counts[counts <= total]).tolist()):
        for _ in range(min(times, total // number) if number else 0):
            sums |= sums << number
    return bool(sums >> total & 1)
