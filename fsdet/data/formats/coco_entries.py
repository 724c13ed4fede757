"""Images of a COCO JSON: one for each file, with all the ids that mean it."""

from pathlib import Path
from typing import Any, NamedTuple

from fsdet.data.formats.coco_ids import Key, id_key, number, numbers_of
from fsdet.data.formats.coco_images import locate_images
from fsdet.data.formats.validation import DataIssue, size_from_file


class CocoImages(NamedTuple):
    """Image entries with an id and a file, one for each file."""

    entries: list[dict[str, Any]]
    paths: list[str]  # relative to the root; "" where there is no usable file
    ids: list[int]
    index_of: dict[Key, int]  # id in the file -> index, -1 for an image that is left out


def read_images(
    root: Path, file: Path, rows: list[Any], faults: list[DataIssue], warnings: list[DataIssue]
) -> CocoImages:
    """The images; two files of one id are left out both, and a file that is listed twice is one image."""
    entries, keys = _entries_with_id(file, "image", rows, faults)
    numbers = numbers_of(keys)
    located = locate_images(root, file, entries, faults)
    names_of: dict[Key, set[str]] = {}
    for key, entry, path in zip(keys, entries, located, strict=True):
        names_of.setdefault(key, set()).add(path or str(entry.get("file_name")))
    images = CocoImages([], [], [], {})
    index_of_path: dict[str, int] = {}
    for key, entry, path in zip(keys, entries, located, strict=True):
        where = f"{file.name}, image {entry['id']}"
        if len(names_of[key]) > 1:
            if key not in images.index_of:
                detail = (
                    f"expected an id of its own; {' and '.join(sorted(names_of[key]))} share it"
                )
                faults.append(DataIssue(where, "duplicate image id", detail))
            images.index_of[key] = -1
        elif path and path in index_of_path:
            detail = f"'{path}' is listed before; the boxes of both entries are read"
            warnings.append(DataIssue(where, "image listed twice", detail))
            images.index_of[key] = index_of_path[path]
        elif key not in images.index_of:
            images.index_of[key] = len(images.entries)
            index_of_path[path] = len(images.entries)
            images.entries.append(entry)
            images.paths.append(path)
            images.ids.append(numbers[key])
    return images


def _entries_with_id(
    file: Path, kind: str, rows: list[Any], faults: list[DataIssue]
) -> tuple[list[dict[str, Any]], list[Key]]:
    """The entries that have an id, and their ids; the others are faults."""
    entries, keys = [], []
    for position, row in enumerate(rows, 1):
        key = id_key(row.get("id")) if isinstance(row, dict) else None
        if key is None:
            detail = f"expected an entry with an id; got {str(row)[:80]}"
            where = f"{file.name}, {kind} number {position}"
            faults.append(DataIssue(where, f"{kind} is incomplete", detail))
        else:
            entries.append(row)
            keys.append(key)
    return entries, keys


def image_size_of(
    root: Path, image: dict[str, Any], path: str, faults: list[DataIssue]
) -> tuple[int, int]:
    """(height, width) of the entry, else of the image file; (0, 0) if that fails."""
    height, width = number(image.get("height")), number(image.get("width"))
    sides = [side for side in (height, width) if side and side.is_integer() and 0 < side < 2**31]
    if len(sides) == 2:
        return int(sides[0]), int(sides[1])
    return size_from_file(root, path, faults) if path else (0, 0)
