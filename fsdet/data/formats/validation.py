"""Validation: raw annotations in, `DetectionData` and an issue for every faulty annotation out."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeGuard

import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.formats.raw import RawAnnotations
from fsdet.data.images import image_size
from fsdet.data.paths import PackedNames, resolve_inside
from fsdet.errors import InputError


class DataIssue(NamedTuple):
    """A fault in a data set, or something odd that deserves a look."""

    where: str  # file, and line or annotation id
    rule: str  # the rule that is broken, in the same words for all issues of a kind
    detail: str  # what was expected and what the file has
    file: str = ""  # image file whose creation or repair would solve it, relative to the root


def validate(raw: RawAnnotations) -> tuple[DetectionData, list[DataIssue]]:
    """Keep the valid annotations, and report the others.

    A valid box has finite corners and an area (in float32 too), and crosses the border of its image by at most
    1 pixel or 1% of the side; it is clipped to the image.

    The object of a faulty box must not become background. A box that sticks out farther is clipped, and one with
    exchanged corners is turned round; both are ignored. An image with any other faulty box is left out.
    """
    sizes = np.asarray(raw.sizes, np.int64).reshape(-1, 2)
    boxes = raw.boxes.astype(np.float64).reshape(-1, 4)
    limits = sizes[raw.image_index][:, [1, 0, 1, 0]].astype(np.float64)  # [A, 4]
    limits[limits == 0] = np.inf
    invalid = _invalid_rows(boxes, limits)
    issues = [
        DataIssue(raw.where(row), rule, f"expected {expected}; got {_describe(raw, row)}")
        for (rule, expected), rows in invalid.items()
        for row in np.flatnonzero(rows).tolist()
    ]
    faulty = np.logical_or.reduce(list(invalid.values()))
    x1, y1, x2, y2 = boxes.T
    ordered = np.stack(
        [np.minimum(x1, x2), np.minimum(y1, y2), np.maximum(x1, x2), np.maximum(y1, y2)]
    )
    clipped = np.clip(ordered.T, 0, limits)
    located = np.isfinite(boxes).all(1) & _has_area(clipped)
    usable = raw.usable.copy()
    usable[raw.image_index[faulty & ~located]] = False
    kept = np.flatnonzero(located)
    kept = kept[np.argsort(raw.image_index[kept], kind="stable")]
    boxes = clipped[kept]
    counts = np.bincount(raw.image_index[kept], minlength=len(raw.paths))
    areas = raw.areas[kept].astype(np.float64)
    box_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    data = DetectionData(
        root=raw.root,
        classes=tuple(raw.classes),
        category_ids=np.asarray(raw.category_ids),
        image_ids=raw.image_ids,
        sizes=sizes,
        paths=PackedNames.pack(raw.paths),
        starts=np.concatenate([[0], np.cumsum(counts)]),
        boxes=boxes,
        labels=raw.labels[kept],
        ids=raw.ids[kept],
        areas=np.where(np.isfinite(areas) & (areas >= 0), areas, box_areas),
        ignore=raw.ignore[kept] | faulty[kept],
        file_order=kept,
        layout=raw.layout,
        federated=raw.federated,
    )
    return (data if usable.all() else data.subset(usable)), issues


def is_name(value: object) -> TypeGuard[str]:
    """Whether a value can name a file or a category: text that is not empty and has no lone surrogate."""
    try:
        return isinstance(value, str) and bool(value.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return False


def size_from_file(root: Path, path: str, faults: list[DataIssue]) -> tuple[int, int]:
    """(height, width) from the header of an image file; (0, 0) and a fault if it has none."""
    try:
        return image_size(resolve_inside(root, path))
    except InputError as error:
        faults.append(DataIssue(path, "image cannot be decoded", str(error), path))
        return (0, 0)


def summarize(issues: Sequence[DataIssue], noun: str = "fault", limit: int = 3) -> str:
    """One line: the number of issues of each rule, and the first `limit` of them."""
    counts = Counter(issue.rule for issue in issues)
    rules = ", ".join(f"{count} x {rule}" for rule, count in counts.most_common())
    first = "; ".join(f"{issue.where}: {issue.rule} ({issue.detail})" for issue in issues[:limit])
    more = f"; and {len(issues) - limit} more" if len(issues) > limit else ""
    return f"{len(issues)} {noun}{'s' * (len(issues) > 1)} ({rules}): {first}{more}"


def _invalid_rows(boxes: np.ndarray, limits: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    """(rule, what it expects) -> mask [A] of the annotations that break it."""
    finite = np.isfinite(boxes).all(1)
    has_area = _has_area(boxes)
    clipped = np.clip(boxes, 0, limits)
    with np.errstate(invalid="ignore"):
        overshoot = (np.abs(boxes - clipped) > np.maximum(1, 0.01 * limits)).any(1)
    return {
        ("box is not finite", "finite corners"): ~finite,
        ("box without area", "x1 < x2 and y1 < y2"): finite & ~has_area,
        (
            "box outside its image",
            "a box inside the image (1 pixel or 1% of a side over is clipped)",
        ): (finite & has_area & (overshoot | ~_has_area(clipped))),
    }


def _has_area(boxes: np.ndarray) -> np.ndarray:
    # Detectors get float32 boxes, in which a width of 1e-9 pixels is zero.
    with np.errstate(over="ignore"):
        corners = boxes.astype(np.float32)
    return np.all(corners[:, 2:] > corners[:, :2], axis=1)


def _describe(raw: RawAnnotations, row: int) -> str:
    image = int(raw.image_index[row])
    height, width = np.asarray(raw.sizes)[image].tolist()
    corners = ", ".join(f"{corner:.6g}" for corner in raw.boxes[row].tolist())
    file_name = raw.paths[image].rpartition("/")[2]
    return (
        f"'{raw.classes[raw.labels[row] - 1]}' x1, y1, x2, y2 = {corners} "
        f"in {file_name} of {width} x {height}"
    )
