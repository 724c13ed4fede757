"""The generated data set: drawn objects of twenty categories.

Images are a pure function of (seed, subset, index). None is stored: boxes follow from the geometry, and an image is
drawn on access.
"""

import json
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fsdet.data.dataset import DetectionData, PackedNames
from fsdet.data.formats.write import coco_dict
from fsdet.data.shapes.outlines import CATEGORIES, Points, Random, Silhouette, draw
from fsdet.data.shapes.render import scene
from fsdet.errors import InputError, nearest
from fsdet.files import write_whole

SHAPES_SPLITS = {
    "shapes1": ("crescent", "gear", "heart", "sparkle", "tee"),
    "shapes2": ("arrow", "drop", "hourglass", "ring", "star"),
    "shapes3": ("bolt", "cross", "house", "key", "trefoil"),
}
IMAGES = {"train": 2000, "test": 500}
SMALLEST, LARGEST = 24 / 192, 90 / 192  # the longer side of an object, as a share of the image's
TILT = np.radians(15)  # maximum; it determines how fast a detector learns


@dataclass(frozen=True, eq=False)
class Shapes(DetectionData):
    """Drawn images with their boxes; image n does not depend on the number of images."""

    subset_name: str = field(kw_only=True)
    seed: int = field(kw_only=True)

    def image(self, i: int) -> np.ndarray:
        """Draw image `i`: uint8 `[size, size, 3]` RGB."""
        i = self._index(i)
        index, size = int(self.image_ids[i]) - 1, int(self.sizes[i, 0])
        _, silhouettes, _ = _layout(self.seed, self.subset_name, index, size)
        return scene(random_of(self.seed, self.subset_name, index, 1), silhouettes, size)


def open_shapes(subset: str, seed: int = 0, images: int | None = None, size: int = 192) -> Shapes:
    """Open the generated data set.

    Args:
        subset: "train" or "test".
        images: number of images; None: 2000 for training, 500 for testing.
        size: side of an image in pixels; objects and clutter scale with it.

    Raises:
        InputError: another subset, a size below 64, or no image.
    """
    images = checked("shapes", subset, images, size)
    layouts = [_layout(seed, subset, index, size) for index in range(images)]
    labels, _, boxes = zip(*layouts, strict=True)
    fields = generated_fields("shapes", CATEGORIES, subset, size, labels, boxes)
    return Shapes(**fields, subset_name=subset, seed=seed)


def checked(name: str, subset: str, images: int | None, size: int) -> int:
    """The number of images of a subset.

    Raises:
        InputError: as of `open_shapes`.
    """
    if subset not in IMAGES:
        raise InputError(f"{name}: no subset '{subset}'{nearest(subset, IMAGES)}")
    if size < 64:
        raise InputError(f"{name}: an image must be at least 64 pixels wide, got {size}")
    images = IMAGES[subset] if images is None else operator.index(images)
    if images < 1:
        raise InputError(f"{name}: expected a positive number of images, got {images}")
    return images


def generated_fields(
    name: str,
    classes: Sequence[str],
    subset: str,
    size: int,
    labels: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
) -> dict[str, Any]:
    """The fields of `DetectionData` of generated images.

    Args:
        name: of the data set.
        size: side of every image in pixels.
        labels, boxes: of each image, [G] from 1 and [G, 4].
    """
    images, every = len(labels), np.concatenate(boxes)
    return {
        "root": Path(name),
        "classes": tuple(classes),
        "category_ids": np.arange(1, len(classes) + 1),
        "image_ids": np.arange(1, images + 1),
        "sizes": np.full((images, 2), size),
        "paths": PackedNames.pack([f"images/{subset}/{n:06d}.jpg" for n in range(1, images + 1)]),
        "starts": np.cumsum([0, *map(len, labels)]),
        "boxes": every,
        "labels": np.concatenate(labels),
        "ids": np.arange(1, len(every) + 1),  # from 1: COCO's evaluator takes 0 for "no match"
        "areas": (every[:, 2:] - every[:, :2]).prod(1),
        "ignore": np.zeros(len(every), bool),
    }


def write_shapes(
    root: Path | str, seed: int = 0, train: int | None = None, test: int | None = None
) -> None:
    """Write both subsets as a COCO folder: `annotations/instances_*.json` and `images/*/*.jpg`.

    Images are JPEG of quality 95; boxes equal those of `open_shapes`. Annotations are written last: a folder
    with them is complete.
    """
    for subset, images in (("train", train), ("test", test)):
        _write(Path(root), open_shapes(subset, seed, images))


def _write(root: Path, data: Shapes) -> None:
    """Write a subset: its images, then its annotations."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
    quality += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    (root / "images" / data.subset_name).mkdir(parents=True, exist_ok=True)
    for i in range(len(data)):
        bgr = cv2.cvtColor(data.image(i), cv2.COLOR_RGB2BGR)
        if not cv2.imwrite(str(root / data.paths[i]), bgr, quality):
            raise InputError(f"{root}: cannot write '{data.paths[i]}'")
    write = partial(Path.write_text, data=json.dumps(coco_dict(data)), encoding="utf-8")
    write_whole(root / "annotations" / f"instances_{data.subset_name}.json", write)


def random_of(seed: int, subset: str, index: int, purpose: int) -> Random:
    """A generator for one purpose (layout, drawing) in one image."""
    key = (seed, list(IMAGES).index(subset), index, purpose)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def _layout(
    seed: int, subset: str, index: int, size: int
) -> tuple[np.ndarray, list[Silhouette], np.ndarray]:
    """Labels [G], silhouettes in pixels and boxes [G, 4] of the 1 to 4 objects of an image."""
    rng = random_of(seed, subset, index, 0)
    labels, silhouettes, boxes = [], [], np.zeros((0, 4))
    for _ in range(rng.choice(4, p=(0.1, 0.2, 0.3, 0.4)) + 1):
        label = int(rng.integers(len(CATEGORIES)))
        silhouette = _posed(rng, draw(CATEGORIES[label], rng))
        corners = np.concatenate(silhouette.filled)
        low, extent = corners.min(0), np.ptp(corners, 0)
        scale = size * rng.uniform(SMALLEST, LARGEST) / extent.max()
        for _ in range(8):
            corner = 1 + rng.random(2) * (size - 2 - extent * scale)
            # OpenCV fills half a pixel beyond the edge of a polygon.
            box = np.concatenate([corner - 0.5, corner + extent * scale + 0.5]).round(2)
            if _apart(box, boxes):
                shift = corner - low * scale
                silhouettes.append(silhouette.map(partial(_place, scale=scale, shift=shift)))
                labels.append(label + 1)
                boxes = np.concatenate([boxes, box[None]])
                break
    return np.array(labels, np.int32), silhouettes, boxes


def _posed(rng: Random, silhouette: Silhouette) -> Silhouette:
    """Mirror (or not), stretch, shear and tilt a silhouette."""
    angle, shear = rng.uniform(-TILT, TILT), rng.uniform(-0.15, 0.15)
    stretch = np.exp(rng.uniform(-0.15, 0.15))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    mirror = 1 if rng.random() < 0.5 else -1
    pose = np.array([[mirror * stretch, 0], [shear, 1 / stretch]]) @ turn
    return silhouette.map(lambda points: points @ pose)


def _place(points: Points, scale: float, shift: np.ndarray) -> Points:
    return points * scale + shift


def _apart(box: np.ndarray, others: np.ndarray) -> bool:
    """Whether a box shares at most a tenth of the smaller area with each of the others."""
    inner = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = inner.clip(0).prod(1)
    smaller = np.minimum((box[2:] - box[:2]).prod(), (others[:, 2:] - others[:, :2]).prod(1))
    return bool((shared <= 0.1 * smaller).all())
