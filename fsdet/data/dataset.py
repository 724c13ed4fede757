"""Annotated images as flat arrays: what every reader returns and everything else reads."""

import json
import operator
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from fsdet.data.formats.lvis import Federated
from fsdet.data.images import read_image
from fsdet.data.paths import PackedNames, inside
from fsdet.errors import InputError
from fsdet.types import IGNORE, Target

ARRAYS = {
    "category_ids": np.int64,
    "image_ids": np.int64,
    "sizes": np.int32,
    "starts": np.int64,
    "boxes": np.float64,
    "labels": np.int32,
    "ids": np.int64,
    "areas": np.float64,
    "ignore": np.bool_,
    "listed": np.int64,
}


@dataclass(frozen=True, eq=False)
class DetectionData:
    """Annotated images: I of them with A boxes in all, boxes sorted by image.

    Flat arrays, so that loader workers share one copy, by copy-on-write or by memory map; pickling
    data that came from a cache names the cache instead of copying it. `paths` may be given as
    plain strings. Arrays whose lengths do not agree are a `ValueError`.
    """

    root: Path
    classes: tuple[str, ...]  # label n means classes[n - 1]
    category_ids: np.ndarray  # [N] int64, the data set's own (COCO's 1..90; VOC and YOLO: 1..N)
    image_ids: np.ndarray  # [I] int64, unique
    sizes: np.ndarray  # [I, 2] int32 height, width
    paths: PackedNames  # [I] relative to root
    starts: np.ndarray  # [I + 1] int64: boxes of image i are rows starts[i]:starts[i + 1]
    boxes: np.ndarray  # [A, 4] float64 xyxy pixels, inside the image, with area
    labels: np.ndarray  # [A] int32 1..N
    ids: np.ndarray  # [A] int64 annotation ids, unique
    areas: np.ndarray  # [A] float64: of the object's outline where COCO gives it, else the box's
    ignore: np.ndarray  # [A] bool: iscrowd (COCO), difficult (VOC)
    # [A] int64, rising as the annotation file goes on, image by image or not; 0, 1, ... if not given
    listed: np.ndarray = field(default=None, kw_only=True)  # type: ignore[arg-type, assignment]
    layout: str = field(default="", kw_only=True)  # "COCO", "VOC" or "YOLO", where it was read
    federated: Federated | None = field(default=None, kw_only=True)  # what LVIS says beside boxes
    stored: Path | None = field(default=None, repr=False, kw_only=True)  # where it is mapped from

    def __post_init__(self):
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "classes", tuple(self.classes))
        if self.listed is None:
            object.__setattr__(self, "listed", np.arange(len(self.ids)))
        for name, dtype in ARRAYS.items():
            array = np.asarray(getattr(self, name), dtype)
            shape = {"boxes": (-1, 4), "sizes": (-1, 2)}.get(name, (-1,))
            object.__setattr__(self, name, array.reshape(shape))
        if not isinstance(self.paths, PackedNames):
            object.__setattr__(self, "paths", PackedNames.pack(self.paths))
        images = {len(self.image_ids), len(self.sizes), len(self.paths), len(self.starts) - 1}
        rows = {len(getattr(self, name)) for name in ROWS}
        if len(images) > 1 or rows != {int(self.starts[-1])}:
            raise ValueError(f"arrays of {self.root} disagree: images {images}, boxes {rows}")

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, i: int) -> tuple[np.ndarray, Target]:
        """Image `i` as `image` gives it, and its boxes; IGNORE where they are to be ignored."""
        rows = self.rows(i)
        labels = np.where(self.ignore[rows], IGNORE, self.labels[rows]).astype(np.int64)
        boxes = torch.from_numpy(self.boxes[rows].astype(np.float32))
        return self.image(i), Target(boxes=boxes, labels=torch.from_numpy(labels))

    def image(self, i: int) -> np.ndarray:
        """uint8 `[H, W, 3]` RGB, of the size that the annotations are for, else `InputError`."""
        height, width = self.sizes[self._index(i)].tolist()
        return read_image(self.path(i), (height, width))

    def path(self, i: int) -> Path:
        """The image file; one that lies outside `root`, links followed, is an `InputError`."""
        return inside(self.root, self.paths[self._index(i)])

    def rows(self, i: int) -> slice:
        """Rows of the boxes of image `i`."""
        i = self._index(i)
        return slice(int(self.starts[i]), int(self.starts[i + 1]))

    def image_of(self, rows: np.ndarray | Sequence[int]) -> np.ndarray:
        """Index of the image that each of these boxes is in."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def images_of(self, label: int) -> np.ndarray:
        """Indices of the images with a box of this label that is not to be ignored, ascending."""
        rows = np.flatnonzero((self.labels == label) & ~self.ignore)
        return np.unique(self.image_of(rows))

    def subset(self, keep: np.ndarray | Sequence[int]) -> "DetectionData":
        """The images of a mask `[I]` or of indices, in that order, with all their boxes."""
        keep = np.asarray(keep)
        images = np.flatnonzero(keep) if keep.dtype == bool else keep.astype(np.int64)
        counts = self.starts[images + 1] - self.starts[images]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.arange(starts[-1]) + np.repeat(self.starts[images] - starts[:-1], counts)
        per_box = {name: getattr(self, name)[rows] for name in ROWS}
        return replace(
            self,
            image_ids=self.image_ids[images],
            sizes=self.sizes[images],
            paths=self.paths.take(images),
            starts=starts,
            federated=self.federated and self.federated.take(images, len(self)),
            stored=None,
            **per_box,
        )

    def _index(self, i: int) -> int:
        i = operator.index(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"image {i} of {len(self)}")
        return i % len(self)

    def __reduce_ex__(self, protocol):
        if self.stored is None:
            return super().__reduce_ex__(protocol)
        return load, (self.stored, self.root)


ROWS = ("boxes", "labels", "ids", "areas", "ignore", "listed")


def save(data: DetectionData, folder: Path, **notes: object) -> None:
    """Write to an existing folder as one .npy per array, and index.json with their checksums."""
    arrays = {name: getattr(data, name) for name in ARRAYS}
    arrays |= {"text": data.paths.text, "ends": data.paths.ends}
    content = {"classes": data.classes, "layout": data.layout, "notes": notes}
    if data.federated:
        content["frequency"] = data.federated.frequency
        arrays |= {"absent": data.federated.absent, "partial": data.federated.partial}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    content["crc32"] = {name: _crc(array) for name, array in arrays.items()}
    (folder / "index.json").write_text(json.dumps(content), encoding="utf-8")


def load(folder: Path, root: Path) -> DetectionData:
    """Memory-map what `save` wrote; only `verify` looks for damage."""
    try:
        content = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        arrays = {name: _map(folder, name) for name in ARRAYS}
        federated = None
        if "frequency" in content:
            pairs = _map(folder, "absent"), _map(folder, "partial")
            federated = Federated(content["frequency"], *pairs)
        return DetectionData(
            root=root,
            classes=content["classes"],
            paths=PackedNames(_map(folder, "text"), _map(folder, "ends")),
            layout=content["layout"],
            federated=federated,
            stored=folder,
            **arrays,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: not an index of {root} that can be read ({error})") from None


def verify(folder: Path) -> dict:
    """The notes given to `save`; an array that is not as it was written is a `ValueError`."""
    content = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    for name, crc in content["crc32"].items():
        if _crc(_map(folder, name)) != crc:
            raise ValueError(f"{folder / name}.npy differs from its checksum")
    return content["notes"]


def _map(folder: Path, name: str) -> np.ndarray:
    # numpy cannot map an array without elements.
    file = folder / f"{name}.npy"
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError:
        return np.load(file, allow_pickle=False)


def _crc(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)
