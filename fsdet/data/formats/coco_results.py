"""COCO results: a JSON list of boxes that another detector found in images."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fsdet.errors import InputError

MOST = 1000  # boxes of an image; those with lower scores are left out
_KINDS = (int, float)


@dataclass(frozen=True)
class ProposedBoxes:
    """Boxes of I images, those of an image by descending score."""

    starts: np.ndarray  # [I + 1] int64: boxes of image i are rows starts[i]:starts[i + 1]
    boxes: np.ndarray  # [B, 4] float32 xyxy pixels, inside the image, with area

    def of(self, i: int) -> np.ndarray:
        """[R, 4] of image `i`."""
        return self.boxes[self.starts[i] : self.starts[i + 1]]

    def take(self, images: Sequence[int] | np.ndarray) -> "ProposedBoxes":
        """The boxes of these images, in their order."""
        parts = [self.of(int(i)) for i in images]
        starts = np.cumsum([0, *map(len, parts)])
        return ProposedBoxes(starts, np.concatenate([np.zeros((0, 4), np.float32), *parts]))


def load_results(file: str | Path) -> list[dict[str, Any]]:
    """The entries of a file of COCO results.

    Raises:
        InputError: no such file, or no JSON list of entries with a finite `bbox` of an image.
    """
    try:
        entries = json.loads(Path(file).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"proposals: '{file}' cannot be read as JSON: {error}") from error
    if not isinstance(entries, list):
        hint = "; COCO annotations are no results" if isinstance(entries, dict) else ""
        raise InputError(f"proposals: '{file}': expected a list of results{hint}")
    for number, entry in enumerate(entries, 1):
        if reason := _fault(entry):
            raise InputError(f"proposals: '{file}', result {number}: {reason}")
    return entries


def _fault(entry: Any) -> str:
    if not isinstance(entry, dict):
        return f"expected keys and values, got {entry!r:.80}"
    box, score = entry.get("bbox"), entry.get("score", 0)
    if not (isinstance(box, list) and len(box) == 4 and all(type(v) in _KINDS for v in box)):
        return f"expected bbox [x, y, width, height], got {box!r:.80}"
    if not all(_is_finite(value) for value in box) or min(box[2:]) < 0:
        return f"expected a finite bbox [x, y, width, height] with sides from 0 on, got {box}"
    if type(score) not in _KINDS or not _is_finite(score):
        return f"expected a finite score, got {score!r:.80}"
    if not isinstance(entry.get("file_name", entry.get("image_id")), int | str):
        return "expected image_id or file_name"
    return ""


def _is_finite(value: float) -> bool:
    return abs(value) < 1e30  # False for NaN, and for whole numbers that no float holds


def match(
    entries: Sequence[dict[str, Any]],
    names: Sequence[str],
    image_ids: np.ndarray | None,
    sizes: np.ndarray,
) -> ProposedBoxes:
    """The boxes of every image of a data set; entries of other images are left out.

    An entry belongs to the image of its `file_name` (a path in the data set, or its last part), else of its
    `image_id`: the data set's own where it has ids, else the name of the file without suffix, as text or as a
    number without leading zeros.

    Args:
        names: [I] image files.
        image_ids: [I] in COCO's layout; None: the data set has no ids.
        sizes: [I, 2] height, width.
    """
    index = dict(_keys(names, image_ids))
    rows: list[list[tuple[float, list[float]]]] = [[] for _ in names]
    for entry in entries:
        image = index.get(entry["file_name"] if "file_name" in entry else entry["image_id"])
        if image is not None:
            rows[image].append((entry.get("score", 0), entry["bbox"]))
    parts = [_inside(row, *size) for row, size in zip(rows, sizes.tolist(), strict=True)]
    return ProposedBoxes(np.cumsum([0, *map(len, parts)]), np.concatenate(parts))


def _keys(names: Sequence[str], image_ids: np.ndarray | None) -> Iterator[tuple[int | str, int]]:
    """What an entry may call each image."""
    for i, path in enumerate(names):
        name = PurePosixPath(path)
        yield name.name, i
        if image_ids is not None:
            yield int(image_ids[i]), i
            continue
        yield name.stem, i
        if name.stem.isdecimal() and len(name.stem) < 19:
            yield int(name.stem), i
    yield from ((path, i) for i, path in enumerate(names))


def _inside(row: list[tuple[float, list[float]]], height: int, width: int) -> np.ndarray:
    """The best boxes of an image, clipped to it: [R, 4] float32 xyxy."""
    row = sorted(row, key=lambda pair: -pair[0])[:MOST]  # stable: equal scores in the file's order
    boxes = np.array([box for _, box in row], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]
