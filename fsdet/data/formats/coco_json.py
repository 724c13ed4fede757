"""COCO's JSON as lists of entries whose keys can be relied on."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fsdet.data.formats.validation import DataIssue

# Outlines are most of a file, and nothing here reads them. Within a JSON string every quote has a
# backslash before it, so this key cannot be part of one; and the value can only be numbers.
OUTLINE = re.compile(rb'"segmentation"\s*:\s*\[[\[\]\d\s.,eE+-]*\]')
LARGEST = 2**63


def parse(file: Path) -> dict | DataIssue:
    """The content, with its three lists; or what keeps the file from being read as COCO JSON."""
    try:
        text = file.read_bytes()
        try:
            content = json.loads(OUTLINE.sub(b'"segmentation":0', text))
        except json.JSONDecodeError:
            content = json.loads(text)  # the place of the error, counted in the file itself
    except json.JSONDecodeError as error:
        end = "; the file ends there: cut short?" if error.pos >= len(error.doc) - 1 else ""
        return DataIssue(file.name, "annotation file is not whole JSON", f"{error}{end}")
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return DataIssue(file.name, "annotation file cannot be read", reason)
    keys = ("images", "annotations", "categories")
    lacking = [key for key in keys if not isinstance(_get(content, key), list)]
    if lacking:
        has = f"has {few(list(content))}" if isinstance(content, dict) else "is a list"
        detail = f"expected lists {', '.join(keys)}; without {', '.join(lacking)}, the file {has}"
        return DataIssue(file.name, "annotation file is not COCO JSON", detail)
    return content


def numbered(content: dict) -> dict:
    """The same, with numbers for ids that are words, as ArTaxOr's are: from 1, in the file's order."""
    of_image, of_row = _numbers(content["images"]), _numbers(content["annotations"])
    if not of_image and not of_row:
        return content
    images = [_with(row, "id", of_image) for row in content["images"]]
    rows = [_with(row, "image_id", of_image) for row in content["annotations"]]
    return content | {"images": images, "annotations": [_with(row, "id", of_row) for row in rows]}


def _numbers(rows: list) -> dict[str, int]:
    """Number of each id, where all are words."""
    if not all(isinstance(_get(row, "id"), str) for row in rows):
        return {}
    return {name: n for n, name in enumerate(dict.fromkeys(row["id"] for row in rows), 1)}


def _with(row: object, key: str, numbers: dict[str, int]) -> object:
    value = _get(row, key)
    return row | {key: numbers[value]} if isinstance(value, str) and value in numbers else row  # type: ignore[operator]


def entries(
    file: Path, kind: str, rows: list, needed: Sequence[str], faults: list[DataIssue]
) -> list[dict]:
    """The rows whose `needed` keys are whole numbers."""
    whole = [type(row) is dict and all(_is_id(row.get(key)) for key in needed) for row in rows]
    for n in np.flatnonzero(~np.array(whole, bool)).tolist():
        given = ", ".join(f"{key} {_get(rows[n], key)!r}" for key in needed)
        detail = f"expected whole numbers {', '.join(needed)}; got {given}"
        faults.append(
            DataIssue(f"{file.name}, {kind} number {n + 1}", f"{kind} is incomplete", detail)
        )
    return [row for row, ok in zip(rows, whole, strict=True) if ok]


def integers(rows: list[dict], key: str) -> np.ndarray:
    """int64 of a key that `entries` has looked at."""
    return np.array([row[key] for row in rows], np.int64)


def distinct(file: Path, images: list[dict], faults: list[DataIssue]) -> list[dict]:
    """Images whose id is theirs alone: what an id of two images means is for nobody to say. Of
    entries that also name the same file, the first is kept."""
    ids, first, counts = np.unique(integers(images, "id"), return_index=True, return_counts=True)
    if (counts == 1).all():
        return images
    keep = np.ones(len(images), bool)
    repeated = dict(zip(ids[counts > 1].tolist(), first[counts > 1].tolist(), strict=True))
    for n, image in enumerate(images):
        original = repeated.get(image["id"], n)
        if original != n:
            keep[n] = False
            name, other = image.get("file_name"), images[original].get("file_name")
            keep[original] &= name == other
            where = f"{file.name}, image {image['id']}"
            faults.append(DataIssue(where, "image id twice", f"{other} and {name}"))
    return [image for image, ok in zip(images, keep, strict=True) if ok]


def corners(file: Path, rows: list[dict], faults: list[DataIssue]) -> tuple[list[dict], np.ndarray]:
    """The annotations whose bbox is four numbers, and those as x1, y1, x2, y2 `[A, 4]`."""
    boxes = _table([row.get("bbox") for row in rows])
    if boxes is None:
        whole = [_is_box(row.get("bbox")) for row in rows]
        for n in np.flatnonzero(~np.array(whole, bool)).tolist():
            detail = f"expected bbox [x, y, width, height]; got {str(rows[n].get('bbox'))[:80]}"
            faults.append(DataIssue(place(file, rows[n]["id"]), "annotation is incomplete", detail))
        rows = [row for row, ok in zip(rows, whole, strict=True) if ok]
        boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return rows, boxes


def numbers(values: list) -> np.ndarray:
    """float64, NaN for what is no number."""
    try:
        return np.array(values, np.float64).reshape(len(values))
    except (ValueError, TypeError):
        return np.array([v if type(v) in (int, float) else np.nan for v in values], np.float64)


def position(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each wanted id stands among the ascending `ids`; -1 where it does not."""
    if len(ids) == 0:
        return np.full(len(wanted), -1)
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[at] == wanted, at, -1)


def place(file: Path, annotation: int) -> str:
    return f"{file.name}, annotation {annotation}"


def few(values: Sequence, most: int = 8) -> str:
    """The first values in words."""
    words = ", ".join(str(value) for value in values[:most])
    return words + f", ... ({len(values)})" if len(values) > most else words or "nothing"


def _get(row: object, key: str) -> object:
    return row.get(key) if isinstance(row, dict) else None


def _is_id(value: object) -> bool:
    return type(value) is int and -LARGEST <= value < LARGEST


def _is_box(value: object) -> bool:
    return (
        isinstance(value, list) and len(value) == 4 and all(type(v) in (int, float) for v in value)
    )


def _table(values: list) -> np.ndarray | None:
    try:
        table = np.array(values)
    except ValueError:  # of different lengths
        return None
    if table.dtype.kind not in "if" or table.shape != (len(values), 4):
        return None
    return table.astype(np.float64)
