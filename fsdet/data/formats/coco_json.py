"""COCO's JSON: lists of entries, and their keys as arrays of numbers."""

import json
import re
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from fsdet.data.formats.validation import DataIssue
from fsdet.errors import join_some

# Outlines are most of a file and are not used. Within a JSON string every quote has a backslash
# before it, so this key cannot be part of a string; and the value can only be numbers.
OUTLINE = re.compile(rb'"segmentation"\s*:\s*\[[\[\]\d\s.,eE+-]*\]')
LISTS = ("images", "annotations", "categories")
MAX_ID = 2**63 - 1
FLAGS: dict[object, bool] = {None: False, 0: False, 1: True, "0": False, "1": True}


def load_json(file: Path) -> dict[str, Any] | DataIssue:
    """Load a COCO JSON with its three lists, or the issue that keeps it from being read."""
    try:
        text = file.read_bytes()
        try:
            content = json.loads(OUTLINE.sub(b'"segmentation":0', text))
        except json.JSONDecodeError:
            content = json.loads(text)  # for the line and column in the file itself
    except json.JSONDecodeError as error:
        end = "; the file ends there: cut short?" if error.pos >= len(error.doc) - 1 else ""
        return DataIssue(file.name, "annotation file is not valid JSON", f"{error}{end}")
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return DataIssue(file.name, "annotation file cannot be read", reason)
    missing = [key for key in LISTS if not isinstance(_get(content, key), list)]
    if missing:
        keys = join_some(list(content)) if isinstance(content, dict) else "none"
        detail = (
            f"expected lists {', '.join(LISTS)}; without {', '.join(missing)}; its keys: {keys}"
        )
        return DataIssue(file.name, "annotation file is not COCO JSON", detail)
    return content


def replace_text_ids(content: dict[str, Any]) -> dict[str, Any]:
    """Replace ids that are text, as in ArTaxOr, by numbers from 1 in the order of the file.

    Ids of images or of annotations are replaced only if all of them are text.
    """
    image_numbers = _number_text_ids(content["images"])
    row_numbers = _number_text_ids(content["annotations"])
    if not image_numbers and not row_numbers:
        return content
    images = [_replace_id(image, "id", image_numbers) for image in content["images"]]
    rows = [_replace_id(row, "image_id", image_numbers) for row in content["annotations"]]
    rows = [_replace_id(row, "id", row_numbers) for row in rows]
    return content | {"images": images, "annotations": rows}


def complete_entries(
    file: Path, kind: str, entries: list[Any], keys: Sequence[str], faults: list[DataIssue]
) -> list[dict[str, Any]]:
    """The entries whose `keys` are all whole numbers of 64 bits; the others are faults."""
    complete = [type(e) is dict and all(_is_id(e.get(key)) for key in keys) for e in entries]
    for index in np.flatnonzero(~np.array(complete, bool)).tolist():
        values = ", ".join(f"{key} {_get(entries[index], key)!r}" for key in keys)
        detail = f"expected whole numbers up to {MAX_ID} as {', '.join(keys)}; got {values}"
        where = f"{file.name}, {kind} number {index + 1}"
        faults.append(DataIssue(where, f"{kind} is incomplete", detail))
    return list(compress(entries, complete))


def drop_repeated_images(
    file: Path, images: list[dict[str, Any]], faults: list[DataIssue]
) -> list[dict[str, Any]]:
    """Drop images whose id another one has, as their annotations are ambiguous.

    Of entries with the same id and the same file the first is kept.
    """
    ids, first, counts = np.unique(id_column(images, "id"), return_index=True, return_counts=True)
    if (counts == 1).all():
        return images
    keep = np.ones(len(images), bool)
    first_of = dict(zip(ids[counts > 1].tolist(), first[counts > 1].tolist(), strict=True))
    for index, image in enumerate(images):
        original = first_of.get(image["id"], index)
        if original != index:
            keep[index] = False
            name, original_name = image.get("file_name"), images[original].get("file_name")
            keep[original] &= name == original_name
            detail = f"expected an id of its own; {original_name} and {name} share it"
            where = f"{file.name}, image {image['id']}"
            faults.append(DataIssue(where, "duplicate image id", detail))
    return list(compress(images, keep))


def box_column(
    file: Path, rows: list[dict[str, Any]], faults: list[DataIssue]
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The annotations whose bbox is four numbers, and their xyxy boxes `[A, 4]`."""
    complete = [_is_box(row.get("bbox")) for row in rows]
    for index in np.flatnonzero(~np.array(complete, bool)).tolist():
        bbox = str(rows[index].get("bbox"))[:80]
        detail = f"expected bbox [x, y, width, height] of numbers; got {bbox}"
        where = annotation_in(file, rows[index]["id"])
        faults.append(DataIssue(where, "annotation is incomplete", detail))
    rows = list(compress(rows, complete))
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return rows, boxes


def crowd_column(
    file: Path, rows: list[dict[str, Any]], faults: list[DataIssue]
) -> tuple[np.ndarray, np.ndarray]:
    """Masks [A] of the annotations whose iscrowd is 1, and of those whose iscrowd is 0, 1 or absent."""
    values = [row.get("iscrowd") for row in rows]
    flags = [FLAGS.get(v) if isinstance(v, str | int | float | None) else None for v in values]
    valid = np.array([flag is not None for flag in flags], bool)
    for index in np.flatnonzero(~valid).tolist():
        where = annotation_in(file, rows[index]["id"])
        detail = f"expected iscrowd 0 or 1; got {values[index]!r:.80}"
        faults.append(DataIssue(where, "annotation is incomplete", detail))
    return np.array(flags, bool), valid


def id_column(entries: Sequence[dict[str, Any]], key: str) -> np.ndarray:
    """int64 values of a key that `complete_entries` has checked."""
    return np.array([entry[key] for entry in entries], np.int64)


def float_column(entries: Sequence[dict[str, Any]], key: str) -> np.ndarray:
    """float64 values of a key, NaN where it is no number."""
    values = [entry.get(key) for entry in entries]
    try:
        return np.array(values, np.float64).reshape(len(values))
    except (ValueError, TypeError, OverflowError):
        return np.array([v if _is_float(v) else np.nan for v in values], np.float64)


def indices_in(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index of each wanted id in the ascending `ids`; -1 if it is not among them."""
    if len(ids) == 0:
        return np.full(len(wanted), -1)
    indices = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[indices] == wanted, indices, -1)


def annotation_in(file: Path, annotation_id: int) -> str:
    """The place of an annotation, for `DataIssue.where`."""
    return f"{file.name}, annotation {annotation_id}"


def _number_text_ids(entries: list[Any]) -> dict[str, int]:
    """Id -> number if all ids are text, else nothing."""
    ids = [_get(entry, "id") for entry in entries]
    text_ids = [entry_id for entry_id in ids if isinstance(entry_id, str)]
    if len(text_ids) < len(ids):
        return {}
    return {entry_id: number for number, entry_id in enumerate(dict.fromkeys(text_ids), 1)}


def _replace_id(entry: Any, key: str, numbers: dict[str, int]) -> Any:
    value = _get(entry, key)
    return entry | {key: numbers[value]} if isinstance(value, str) and value in numbers else entry


def _get(entry: object, key: str) -> object:
    return entry.get(key) if isinstance(entry, dict) else None


def _is_id(value: object) -> bool:
    return type(value) is int and -MAX_ID - 1 <= value <= MAX_ID


def _is_box(value: object) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_float, value))


def _is_float(value: object) -> bool:
    return type(value) is float or (type(value) is int and value.bit_length() < 1024)
