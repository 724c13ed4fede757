"""The order in which a category's boxes become shots: by hash, the same on every machine."""

import hashlib
import unicodedata
from collections.abc import Iterable
from itertools import chain, zip_longest

import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.labels import class_indices


def draw(
    data: DetectionData,
    name: str,
    images: Iterable[int],
    k: int,
    seed: int,
    ids: set[int] | None = None,
) -> list[int]:
    """Draw up to k boxes of a category: one box of every image before a second box of any.

    Args:
        images: indices of the images to draw from.
        ids: annotations to draw from; None: all that are not to be ignored.

    Returns:
        Annotation ids.
    """
    label = label_of(data, name)
    keyed = sorted((hash_of(seed, name, data.paths[image]), int(image)) for image in images)
    queues = []
    for key, image in keyed:
        boxes = [
            (
                hash_of(key, *(round(float(edge) * 10) for edge in data.boxes[row])),
                int(data.ids[row]),
            )
            for row in rows_of(data, image, label)
            if (not data.ignore[row] if ids is None else int(data.ids[row]) in ids)
        ]
        if boxes:
            queues.append([annotation for _, annotation in sorted(boxes)])
        if len(queues) == k:  # one box of each of these images is enough
            break
    rounds = chain.from_iterable(zip_longest(*queues))
    return [annotation for annotation in rounds if annotation is not None][:k]


def rows_of(data: DetectionData, image: int, label: int) -> np.ndarray:
    """Rows of the boxes of a label in an image, those to ignore included."""
    rows = data.rows(image)
    return rows.start + np.flatnonzero(data.labels[rows] == label)


def label_of(data: DetectionData, name: str) -> int:
    """The label of a category, 1..N; an `InputError` if the data set lacks it."""
    return 1 + class_indices([name], data.classes, str(data.root))[0]


def hash_of(*parts: object) -> str:
    """A hash of the texts of the parts, in hexadecimal digits."""
    # Some file systems decompose the accents of a name: all spellings must have the same hash.
    text = unicodedata.normalize("NFC", "\0".join(map(str, parts)))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
