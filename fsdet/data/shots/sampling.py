"""In which order a category's boxes become shots: by hash, the same on every machine."""

import hashlib
import unicodedata
from collections.abc import Iterable
from itertools import chain, zip_longest

import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.errors import InputError, nearest


def draw(
    data: DetectionData,
    name: str,
    images: Iterable[int],
    k: int,
    seed: int,
    only: set[int] | None = None,
) -> list[int]:
    """Up to k annotation ids, first boxes of the images first.

    Of all boxes of the category that are not to be ignored; or of these ids `only`, if given.
    """
    label = label_of(data, name)
    keyed = sorted((_key(seed, name, data.paths[image]), int(image)) for image in images)
    queues = []
    for key, image in keyed:
        boxes = [
            (_key(key, *(round(float(edge) * 10) for edge in data.boxes[row])), int(data.ids[row]))
            for row in rows_of(data, image, label)
            if (not data.ignore[row] if only is None else int(data.ids[row]) in only)
        ]
        if boxes:
            queues.append([annotation for _, annotation in sorted(boxes)])
        if len(queues) == k:  # one of each is enough
            break
    rounds = chain.from_iterable(zip_longest(*queues))
    return [annotation for annotation in rounds if annotation is not None][:k]


def rows_of(data: DetectionData, image: int, label: int) -> np.ndarray:
    """Rows of the image's boxes of this label."""
    rows = data.rows(image)
    return rows.start + np.flatnonzero(data.labels[rows] == label)


def label_of(data: DetectionData, name: str) -> int:
    """The label of a category, 1..N; an `InputError` if the data set lacks it."""
    if name not in data.classes:
        raise InputError(f"{data.root}: no category '{name}'{nearest(name, data.classes)}")
    return data.classes.index(name) + 1


def _key(*parts: object) -> str:
    # Some file systems decompose the accents of a name: it is hashed in one spelling.
    text = unicodedata.normalize("NFC", "\0".join(map(str, parts)))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
