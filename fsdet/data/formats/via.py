"""VGG Image Annotator (VIA 1 and 2): projects and exports as JSON, and CSV."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fsdet.data.formats.coco_boxes import Box
from fsdet.data.formats.csv_rows import read_rows
from fsdet.data.formats.file_tree import FileTree
from fsdet.data.formats.found import (
    FoundImage,
    FoundObject,
    FoundReader,
    Issues,
    read_bounded,
)
from fsdet.data.formats.outlines import box_around, ellipse_box, numbers, unread_shapes
from fsdet.data.formats.validation import DataIssue

CATEGORY_KEYS = ("label", "class", "category", "name", "type", "object", "label_id", "class_name")
ONLY = "object"  # the category where regions have no attributes at all


class Region(NamedTuple):
    """A region as its file has it."""

    image: str
    where: str
    shape: Any
    attributes: Any


def is_via_json(head: bytes) -> bool:
    return head[:1] == b"{" and (
        b'"_via_' in head or (b'"filename"' in head and b'"regions"' in head)
    )


def is_via_csv(head: bytes) -> bool:
    line = head.splitlines()[0] if head else b""
    return b"filename" in line and b"region_shape_attributes" in line


def parse_json(
    root: Path, tree: FileTree, file: str, faults: Issues, warnings: Issues
) -> list[FoundImage]:
    """The images of a project or of exported annotations."""
    content = json.loads(read_bounded(root, file))
    entries = content.get("_via_img_metadata", content) if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        raise ValueError("expected VIA's images by their names and sizes")
    images, regions = [], []
    for key, entry in entries.items():
        name = entry.get("filename") if isinstance(entry, dict) else None
        found = entry.get("regions") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not isinstance(found, dict | list | None):
            raise ValueError(f"expected filename and regions of '{key:.80}'")
        images.append(name)
        rows = list(found.values()) if isinstance(found, dict) else found or []
        for number, row in enumerate(rows, 1):
            row = row if isinstance(row, dict) else {}
            where = f"{file}, image '{name:.80}', region {number}"
            attributes = row.get("region_attributes") or {}
            regions.append(Region(name, where, row.get("shape_attributes"), attributes))
    return _images(file, images, regions, faults, warnings)


def parse_csv(
    root: Path, tree: FileTree, file: str, faults: Issues, warnings: Issues
) -> list[FoundImage]:
    """The images of a CSV; a line with an empty shape is an image without regions."""
    images, regions = [], []
    for line, row in read_rows(root, file):
        where, name = f"{file}, line {line}", row.get("filename") or row.get("#filename") or ""
        images.append(name)
        try:
            shape = json.loads(row.get("region_shape_attributes") or "{}")
            attributes = json.loads(row.get("region_attributes") or "{}")
        except ValueError:
            shape, attributes = None, {}
        if shape != {}:
            regions.append(Region(name, where, shape, attributes))
    return _images(file, images, regions, faults, warnings)


def _images(
    file: str, names: list[str], regions: list[Region], faults: Issues, warnings: Issues
) -> list[FoundImage]:
    key = _category_key(regions)
    if key is None and regions:
        detail = f"no region has attributes; all are read as '{ONLY}'"
        warnings.append(DataIssue(file, "regions without a category", detail))
    objects: dict[str, list[FoundObject]] = {name: [] for name in names}
    incomplete, unread = set(), []
    for region in regions:
        shape = region.shape if isinstance(region.shape, dict) else {}
        if shape.get("name") == "point":
            unread.append("point")
            continue
        try:
            category = ONLY if key is None else _category(region.attributes, key)
            box = _box(shape)
        except ValueError as error:
            faults.append(DataIssue(region.where, "annotation is incomplete", str(error)))
            incomplete.add(region.image)
        else:
            objects[region.image].append(FoundObject(category, box, False, region.where))
    warnings += unread_shapes(file, unread)
    return [
        FoundImage(name, (0, 0), own, name not in incomplete, f"{file}, image '{name:.80}'")
        for name, own in objects.items()
    ]


def _category_key(regions: list[Region]) -> str | None:
    """The attribute that holds the category: one with a usual name, else the only one; None without attributes."""
    keys = dict.fromkeys(
        key
        for region in regions
        if isinstance(region.attributes, dict)
        for key in region.attributes
    )
    usual = {name.strip().lower(): name for name in reversed(keys)}
    found = next((usual[name] for name in CATEGORY_KEYS if name in usual), None)
    if found is None and len(keys) > 1:
        raise ValueError(
            f"expected one region attribute, or one called {' or '.join(CATEGORY_KEYS[:4])}; got"
            f" {', '.join(list(keys)[:8])}"
        )
    return found or next(iter(keys), None)


def _category(attributes: Any, key: str) -> str:
    """The text of an attribute, or the one box that is ticked."""
    value = attributes.get(key) if isinstance(attributes, dict) else None
    if isinstance(value, dict) and len(ticked := [name for name, on in value.items() if on]) == 1:
        value = ticked[0]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected one category as attribute '{key:.40}'; got {value!r:.80}")
    return value.strip()


def _box(shape: dict[str, Any]) -> Box:
    kind = shape.get("name")

    def values(*keys: str) -> Iterator[float]:
        yield from numbers([shape.get(key) for key in keys], f"numbers {', '.join(keys)}")

    if kind == "rect":
        x, y, width, height = values("x", "y", "width", "height")
        return x, y, x + width, y + height
    if kind == "circle":
        x, y, radius = values("cx", "cy", "r")
        return ellipse_box(x, y, radius, radius)
    if kind == "ellipse":
        x, y, rx, ry = values("cx", "cy", "rx", "ry")
        (radians,) = values("theta") if "theta" in shape else (0.0,)
        return ellipse_box(x, y, rx, ry, math.degrees(radians))
    xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
    if kind in ("polygon", "polyline") and isinstance(xs, list) and isinstance(ys, list):
        expected = "all_points_x and all_points_y of numbers"
        return box_around(numbers(xs, expected), numbers(ys, expected))
    raise ValueError(
        f"expected a rect, polygon, polyline, circle or ellipse with its numbers; got {str(shape)[:80]}"
    )


VIA = FoundReader(
    name="VIA",
    version=1,
    layout="VIA: a JSON with filename and regions, in {subset}/ or with {subset} in its name",
    suffix=".json",
    recognises=is_via_json,
    parse=parse_json,
    group=FileTree.subsets_by_name,
)
VIA_CSV = FoundReader(
    name="VIA CSV",
    version=1,
    layout="VIA: a CSV with filename and region_shape_attributes",
    suffix=".csv",
    recognises=is_via_csv,
    parse=parse_csv,
    group=FileTree.subsets_by_name,
)
