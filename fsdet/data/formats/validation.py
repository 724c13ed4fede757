"""From what a reader found to DetectionData: every annotation is checked, and each fault told."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.formats.lvis import Federated
from fsdet.data.images import image_size
from fsdet.data.paths import PackedNames, inside
from fsdet.errors import InputError


class DataIssue(NamedTuple):
    """Something in a data set that cannot be used as it is."""

    where: str  # file, line, annotation id
    rule: str  # what is broken: the same few words for all faults of a kind
    detail: str  # the values, and the nearest right answer
    file: str = ""  # relative to the root: an image that would cure it by being there, or whole


@dataclass
class RawAnnotations:
    """What a reader read: I images and A annotations, as they were, in the order of the file."""

    root: Path
    classes: Sequence[str]
    category_ids: Sequence[int] | np.ndarray
    names: Sequence[str]  # [I] image files relative to root
    image_ids: np.ndarray  # [I]
    sizes: np.ndarray  # [I, 2] height, width; 0 where nothing says
    usable: np.ndarray  # [I] bool: False leaves the image out once its boxes are looked at
    image_index: np.ndarray  # [A] 0..I-1
    labels: np.ndarray  # [A] 1..N
    boxes: np.ndarray  # [A, 4] xyxy pixels
    ids: np.ndarray  # [A]
    areas: np.ndarray  # [A]; NaN: that of the box
    ignore: np.ndarray  # [A]
    where: Callable[[int], str]  # annotation -> its place in words
    layout: str  # "COCO", "VOC" or "YOLO"
    federated: Federated | None = None  # of the I images
    faults: list[DataIssue] = field(default_factory=list)


def validate(draft: RawAnnotations) -> DetectionData:
    """The annotations that are right; what is wrong with the others goes to `draft.faults`.

    A box may reach over the border of its image by one pixel or 1% of the side, as those of real
    data sets do, and is clipped; it must have finite corners and, also in float32, an area.
    """
    boxes = draft.boxes.astype(np.float64).reshape(-1, 4)
    sizes = np.asarray(draft.sizes, np.int64).reshape(-1, 2)
    limits = sizes[draft.image_index][:, [1, 0, 1, 0]].astype(np.float64)  # [A, 4]
    limits[limits == 0] = np.inf
    finite = np.isfinite(boxes).all(1)
    ordered = _has_area(boxes)
    clipped = np.clip(boxes, 0, limits)
    with np.errstate(invalid="ignore"):
        overshoot = (np.abs(boxes - clipped) > np.maximum(1, 0.01 * limits)).any(1)
    outside = overshoot | ~_has_area(clipped)
    repeated = np.ones(len(draft.ids), bool)
    repeated[np.unique(draft.ids, return_index=True)[1]] = False
    broken = {
        "box is not finite": ~finite,
        "box without area": finite & ~ordered,
        "box outside its image": finite & ordered & outside,
        "annotation id twice": repeated,
    }
    for rule, rows in broken.items():
        for row in np.flatnonzero(rows).tolist():
            draft.faults.append(DataIssue(draft.where(row), rule, _detail(draft, row)))
    kept = np.flatnonzero(~np.logical_or.reduce(list(broken.values())))
    kept = kept[np.argsort(draft.image_index[kept], kind="stable")]
    boxes = clipped[kept]
    counts = np.bincount(draft.image_index[kept], minlength=len(draft.names))
    areas = draft.areas[kept].astype(np.float64)
    of_box = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    data = DetectionData(
        root=draft.root,
        classes=tuple(draft.classes),
        category_ids=np.asarray(draft.category_ids),
        image_ids=draft.image_ids,
        sizes=sizes,
        paths=PackedNames.pack(draft.names),
        starts=np.concatenate([[0], np.cumsum(counts)]),
        boxes=boxes,
        labels=draft.labels[kept],
        ids=draft.ids[kept],
        areas=np.where(np.isfinite(areas) & (areas >= 0), areas, of_box),
        ignore=draft.ignore[kept],
        listed=kept,
        layout=draft.layout,
        federated=draft.federated,
    )
    return data if draft.usable.all() else data.subset(draft.usable)


def measured(root: Path, name: str, faults: list[DataIssue]) -> tuple[int, int]:
    """(height, width) that an image file says; (0, 0), and a fault, if it does not."""
    try:
        return image_size(inside(root, name))
    except InputError as error:
        faults.append(DataIssue(name, "image does not decode", str(error), name))
        return (0, 0)


def summary(faults: Sequence[DataIssue], most: int = 3) -> str:
    """In one line: how many of each kind, and the first `most`."""
    counts = Counter(fault.rule for fault in faults)
    kinds = ", ".join(f"{count} x {rule}" for rule, count in counts.most_common())
    first = "; ".join(f"{fault.where}: {fault.rule} ({fault.detail})" for fault in faults[:most])
    more = f"; and {len(faults) - most} more" if len(faults) > most else ""
    return f"{len(faults)} fault{'s' * (len(faults) > 1)} ({kinds}): {first}{more}"


def _has_area(boxes: np.ndarray) -> np.ndarray:
    # In float32, as that is what a detector is given: 1e-9 pixels are none there.
    with np.errstate(over="ignore"):
        corners = boxes.astype(np.float32)
    return np.all(corners[:, 2:] > corners[:, :2], axis=1)


def _detail(draft: RawAnnotations, row: int) -> str:
    image = int(draft.image_index[row])
    height, width = np.asarray(draft.sizes)[image].tolist()
    corners = ", ".join(f"{edge:.6g}" for edge in draft.boxes[row].tolist())
    name = draft.names[image].rpartition("/")[2]
    return (
        f"'{draft.classes[draft.labels[row] - 1]}' x1, y1, x2, y2 = {corners} "
        f"in {name} of {width} x {height}"
    )
