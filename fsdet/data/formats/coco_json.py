"""COCO's JSON: lists of entries, and their keys as arrays of numbers."""

import json
import re
from collections.abc import Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np

from fsdet.data.formats.coco_ids import number
from fsdet.data.formats.validation import DataIssue
from fsdet.errors import join_some

# Outlines are most of a file and are used only where there is no bbox. Within a JSON string every quote has
# a backslash before it, so this key cannot be part of a string; and the value can only be numbers.
OUTLINE = re.compile(rb'"segmentation"\s*:\s*\[[\[\]\d\s.,eE+-]*\]')
LISTS = ("images", "annotations", "categories")


def load_json(file: Path) -> dict[str, Any] | DataIssue:
    """Load a COCO JSON with its three lists, or the issue that keeps it from being read."""
    try:
        text = file.read_bytes()
        try:
            content = json.loads(OUTLINE.sub(b'"segmentation":0', text))
            if _has_box_by_outline(content):
                content = json.loads(text)
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


def is_coco_json(file: Path) -> bool:
    """True for a JSON with the keys of COCO's three lists, and for one that is cut short or cannot be read.

    COCO's captions, results and lists of images are complete files without one of the keys. The text is
    searched, not parsed: it may be half a gigabyte.
    """
    try:
        with open(file, "rb") as handle, mmap(handle.fileno(), 0, access=ACCESS_READ) as text:
            complete = text[-64:].rstrip()[-1:] in (b"}", b"]")
            found = [text.find(b'"%s"' % key.encode()) >= 0 for key in LISTS]
    except (OSError, ValueError):  # ValueError: an empty file
        return False
    return all(found) or (not complete and any(found))


def float_column(entries: Sequence[dict[str, Any]], key: str) -> np.ndarray:
    """float64 values of a key, NaN where it is no number."""
    values = [entry.get(key) for entry in entries]
    try:
        return np.array(values, np.float64).reshape(len(values))
    except (ValueError, TypeError, OverflowError):
        numbers = (number(value) for value in values)
        return np.array([np.nan if value is None else value for value in numbers], np.float64)


def _has_box_by_outline(content: object) -> bool:
    """True if an annotation has an outline and no bbox."""
    rows = _get(content, "annotations")
    return isinstance(rows, list) and any(
        isinstance(row, dict) and not row.get("bbox") and "segmentation" in row for row in rows
    )


def _get(entry: object, key: str) -> object:
    return entry.get(key) if isinstance(entry, dict) else None
