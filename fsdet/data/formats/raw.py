"""Raw annotations: images and boxes as a reader found them, not yet validated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fsdet.data.formats.lvis import Federated


class RawObject(NamedTuple):
    """One annotation of an image."""

    id: int
    label: int  # 1..N
    box: tuple[float, float, float, float]  # xyxy pixels
    ignore: bool
    where: str  # file and line or number, for messages


class RawImage(NamedTuple):
    """One image with its annotations."""

    id: int
    path: str  # relative to the root
    size: tuple[int, int]  # height, width; (0, 0) if unknown
    usable: bool  # False: its boxes are validated, then the image is left out
    objects: Sequence[RawObject]


@dataclass(frozen=True)
class RawAnnotations:
    """I images and A annotations in the order of their files, as flat arrays."""

    root: Path
    layout: str  # name of the format
    classes: Sequence[str]  # label n means classes[n - 1]
    category_ids: Sequence[int] | np.ndarray  # [N]
    paths: Sequence[str]  # [I] image files relative to the root
    image_ids: np.ndarray  # [I]
    sizes: np.ndarray  # [I, 2] height, width; 0 if unknown
    usable: np.ndarray  # [I] bool: False leaves the image out after its boxes were validated
    image_index: np.ndarray  # [A] 0..I-1
    labels: np.ndarray  # [A] 1..N
    boxes: np.ndarray  # [A, 4] xyxy pixels
    ids: np.ndarray  # [A]
    areas: np.ndarray  # [A] NaN: the area of the box
    ignore: np.ndarray  # [A] bool
    where: Callable[[int], str]  # row of an annotation -> its file and number, for messages
    federated: Federated | None = None  # of the I images

    @classmethod
    def from_images(
        cls, root: Path, layout: str, classes: Sequence[str], images: Sequence[RawImage]
    ) -> "RawAnnotations":
        """Flatten images with their objects, for formats without category ids and areas."""
        objects = [annotation for image in images for annotation in image.objects]
        counts = [len(image.objects) for image in images]
        return cls(
            root=root,
            layout=layout,
            classes=classes,
            category_ids=range(1, len(classes) + 1),
            paths=[image.path for image in images],
            image_ids=np.array([image.id for image in images], np.int64),
            sizes=np.array([image.size for image in images], np.int64).reshape(-1, 2),
            usable=np.array([image.usable for image in images], bool),
            image_index=np.repeat(np.arange(len(images)), counts),
            labels=np.array([annotation.label for annotation in objects], np.int32),
            boxes=np.array([annotation.box for annotation in objects], np.float64).reshape(-1, 4),
            ids=np.array([annotation.id for annotation in objects], np.int64),
            areas=np.full(len(objects), np.nan),
            ignore=np.array([annotation.ignore for annotation in objects], bool),
            where=lambda row: objects[row].where,
        )
