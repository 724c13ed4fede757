"""DetectionData: annotated images as flat arrays."""

import json
import operator
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import torch

from fsdet.data.formats.coco_results import ProposedBoxes, load_results, match
from fsdet.data.formats.lvis import Federated
from fsdet.data.images import read_image
from fsdet.data.paths import PackedNames, resolve_inside
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
    "file_order": np.int64,
}
BOX_ARRAYS = ("boxes", "labels", "ids", "areas", "ignore", "file_order")


@dataclass(frozen=True, eq=False)
class DetectionData:
    """I annotated images with A boxes in all, sorted by image.

    Loader workers share one copy of the flat arrays, by copy-on-write or as a memory map; data from
    the cache is pickled as the path of its cache folder. `paths` may also be a sequence of strings.
    Arrays whose lengths disagree are a `ValueError`.
    """

    root: Path
    classes: tuple[str, ...]  # label n means classes[n - 1]
    category_ids: np.ndarray  # [N] int64 of the data set (COCO: 1..90; VOC and YOLO: 1..N)
    image_ids: np.ndarray  # [I] int64, unique
    sizes: np.ndarray  # [I, 2] int32 height, width
    paths: PackedNames  # [I] relative to root
    starts: np.ndarray  # [I + 1] int64: boxes of image i are rows starts[i]:starts[i + 1]
    boxes: np.ndarray  # [A, 4] float64 xyxy pixels, inside the image, with area
    labels: np.ndarray  # [A] int32 1..N
    ids: np.ndarray  # [A] int64 annotation ids, unique
    areas: np.ndarray  # [A] float64: COCO's `area` (of the outline), else that of the box
    ignore: np.ndarray  # [A] bool: iscrowd (COCO), difficult (VOC)
    # [A] int64: position in the annotation file, which need not be sorted by image; empty: 0, 1, ...
    file_order: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), kw_only=True)
    layout: str = field(default="", kw_only=True)  # format: "COCO", "VOC", "YOLO"; "" if generated
    federated: Federated | None = field(default=None, kw_only=True)  # annotated as LVIS is
    cache_folder: Path | None = field(default=None, repr=False, kw_only=True)  # if memory-mapped
    proposals: ProposedBoxes | None = field(default=None, repr=False, kw_only=True)  # of images

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "classes", tuple(self.classes))
        if len(self.file_order) == 0:
            object.__setattr__(self, "file_order", np.arange(len(self.ids)))
        for name, dtype in ARRAYS.items():
            array: np.ndarray = np.asarray(getattr(self, name), dtype)
            shape = {"boxes": (-1, 4), "sizes": (-1, 2)}.get(name, (-1,))
            object.__setattr__(self, name, array.reshape(shape))
        if not isinstance(self.paths, PackedNames):
            object.__setattr__(self, "paths", PackedNames.pack(self.paths))
        images = {len(self.image_ids), len(self.sizes), len(self.paths), len(self.starts) - 1}
        boxes = {int(self.starts[-1]), *(len(getattr(self, name)) for name in BOX_ARRAYS)}
        if len(images) > 1 or len(boxes) > 1:
            raise ValueError(
                f"{self.root}: expected arrays of the same length, got {sorted(images)} for images "
                f"and {sorted(boxes)} for boxes"
            )

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, i: int) -> tuple[np.ndarray, Target]:
        """Image `i` (see `image`) and its target; the label of boxes to ignore is IGNORE."""
        rows = self.rows(i)
        labels = np.where(self.ignore[rows], IGNORE, self.labels[rows]).astype(np.int64)
        boxes = torch.from_numpy(self.boxes[rows].astype(np.float32))
        return self.image(i), Target(boxes=boxes, labels=torch.from_numpy(labels))

    def image(self, i: int) -> np.ndarray:
        """uint8 `[H, W, 3]` RGB; an `InputError` if its size is not that of the annotations."""
        height, width = self.sizes[self._index(i)].tolist()
        return read_image(self.path(i), (height, width))

    def path(self, i: int) -> Path:
        """The image file; an `InputError` if it lies outside `root` once links are followed."""
        return resolve_inside(self.root, self.paths[self._index(i)])

    def rows(self, i: int) -> slice:
        """Rows of the boxes of image `i`, which may be negative."""
        i = self._index(i)
        return slice(int(self.starts[i]), int(self.starts[i + 1]))

    def image_of(self, rows: np.ndarray | Sequence[int]) -> np.ndarray:
        """Image index of each of these boxes."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def images_of(self, label: int) -> np.ndarray:
        """Indices of the images with a box of this label that is not ignored, ascending."""
        rows = np.flatnonzero((self.labels == label) & ~self.ignore)
        return np.unique(self.image_of(rows))

    def box_counts(self) -> dict[str, int]:
        """Number of boxes of each category that are not ignored, in the order of the categories."""
        counts = np.bincount(self.labels[~self.ignore], minlength=1 + len(self.classes))[1:]
        return dict(zip(self.classes, counts.tolist(), strict=True))

    def subset(self, keep: np.ndarray | Sequence[int]) -> "DetectionData":
        """Select images by a mask `[I]` or by indices, in that order, with all their boxes."""
        keep = np.asarray(keep)
        images = np.flatnonzero(keep) if keep.dtype == bool else keep.astype(np.int64)
        counts = self.starts[images + 1] - self.starts[images]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.arange(starts[-1]) + np.repeat(self.starts[images] - starts[:-1], counts)
        per_box: dict[str, Any] = {name: getattr(self, name)[rows] for name in BOX_ARRAYS}
        return replace(
            self,
            image_ids=self.image_ids[images],
            sizes=self.sizes[images],
            paths=self.paths.take(images),
            starts=starts,
            federated=self.federated and self.federated.take(images, len(self)),
            proposals=self.proposals and self.proposals.take(images),
            cache_folder=None,
            **per_box,
        )

    def with_proposals(self, file: str | Path) -> "DetectionData":
        """The same images with the boxes that another detector found in them, a list of COCO results.

        Raises:
            InputError: as `load_results`, or no box in any image.
        """
        names = [self.paths[i] for i in range(len(self))]
        ids = self.image_ids if self.layout == "COCO" else None
        entries = load_results(file)
        proposals = match(entries, names, ids, self.sizes)
        if len(proposals.boxes) == 0:
            first = entries[0].get("file_name", entries[0].get("image_id")) if entries else "none"
            raise InputError(
                f"proposals: '{file}' has no box in an image of {self.root}; its first image is"
                f" {first!r}, the data's first is '{names[0]}'"
            )
        return replace(self, proposals=proposals, cache_folder=None)

    def _index(self, i: int) -> int:
        i = operator.index(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"image {i} of {len(self)}")
        return i % len(self)

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        if self.cache_folder is None:
            return super().__reduce_ex__(protocol)
        return load, (self.cache_folder, self.root)


def save(data: DetectionData, folder: Path, **notes: object) -> None:
    """Write one .npy per array to an existing folder, and index.json with their checksums and the notes."""
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
    """Memory-map what `save` wrote, without comparing checksums (see `verify`)."""
    try:
        content = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        arrays: dict[str, Any] = {name: _map(folder, name) for name in ARRAYS}
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
            cache_folder=folder,
            **arrays,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: not a readable index of {root} ({error})") from None


def verify(folder: Path) -> dict[str, Any]:
    """Compare checksums and return the notes given to `save`; a damaged array is a `ValueError`."""
    content = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    for name, crc in content["crc32"].items():
        if _crc(_map(folder, name)) != crc:
            raise ValueError(f"{folder / name}.npy differs from its checksum")
    return content["notes"]


def _map(folder: Path, name: str) -> np.ndarray:
    file = folder / f"{name}.npy"
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError:  # numpy cannot map an array without elements
        return np.load(file, allow_pickle=False)


def _crc(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)
