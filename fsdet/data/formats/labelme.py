"""labelme, and AnyLabeling: one JSON for each image, beside it or in a folder of its own."""

import json
import math
import re
from pathlib import Path
from typing import Any

from fsdet.data.formats.coco_boxes import Box
from fsdet.data.formats.coco_ids import flag, number
from fsdet.data.formats.file_tree import FileTree
from fsdet.data.formats.found import FoundImage, FoundObject, FoundReader, Issues, read_bounded
from fsdet.data.formats.outlines import box_around, ellipse_box, numbers, unread_shapes
from fsdet.data.formats.validation import DataIssue, is_name

SHAPES = re.compile(rb'"shapes"\s*:\s*\[')
OUTLINES = ("rectangle", "polygon", "linestrip", "line", "rotation", "orientedrectangle", "mask")


def is_labelme(head: bytes) -> bool:
    return head[:1] == b"{" and SHAPES.search(head) is not None


def parse_labelme(
    root: Path, tree: FileTree, file: str, faults: Issues, warnings: Issues
) -> list[FoundImage]:
    """The image of a file; its objects are numbered from 1."""
    content = json.loads(read_bounded(root, file))
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise ValueError("expected a list of shapes")
    objects, unread, is_complete = [], [], True
    for position, shape in enumerate(shapes, 1):
        shape = shape if isinstance(shape, dict) else {}
        where, kind = f"{file}, shape {position}", shape.get("shape_type") or "polygon"
        if kind in ("point", "points"):
            unread.append(kind)
            continue
        try:
            objects.append(_object(shape, str(kind), where))
        except ValueError as error:
            faults.append(DataIssue(where, "annotation is incomplete", str(error)))
            is_complete = False
    warnings += unread_shapes(file, unread)
    return [FoundImage(_image(tree, file, content), _size(content), objects, is_complete, file)]


def _object(shape: dict[str, Any], kind: str, where: str) -> FoundObject:
    label, ignore = shape.get("label"), flag(shape.get("difficult"))
    if not is_name(label) or not label.strip():
        raise ValueError(f"expected a label; got {label!r:.80}")
    return FoundObject(label.strip(), _box(shape.get("points"), kind), bool(ignore), where)


def _box(points: object, kind: str) -> Box:
    expected = "points [[x, y], ...] of numbers"
    if not isinstance(points, list) or any(
        not isinstance(point, list) or len(point) < 2 for point in points
    ):
        raise ValueError(f"expected {expected}; got {str(points)[:80]}")
    xs = numbers([point[0] for point in points], expected)
    ys = numbers([point[1] for point in points], expected)
    if kind == "circle" and len(points) == 2:  # centre and a point of the circle
        radius = math.dist((xs[0], ys[0]), (xs[1], ys[1]))
        return ellipse_box(xs[0], ys[0], radius, radius)
    if kind not in OUTLINES:
        raise ValueError(f"expected shape_type {', '.join(OUTLINES)} or circle; got '{kind:.40}'")
    return box_around(xs, ys)


def _image(tree: FileTree, file: str, content: dict[str, Any]) -> str:
    """The image that `imagePath` names, else the one with the name of the file."""
    name = content.get("imagePath")
    if is_name(name) and tree.image_named(name, file):
        return name
    return tree.image_of(file) or (name if is_name(name) else file)


def _size(content: dict[str, Any]) -> tuple[int, int]:
    sides = [number(content.get(key)) for key in ("imageHeight", "imageWidth")]
    whole = [int(side) for side in sides if side and side.is_integer() and 0 < side < 2**31]
    return (whole[0], whole[1]) if len(whole) == 2 else (0, 0)


LABELME = FoundReader(
    name="labelme",
    version=1,
    layout="labelme: JSON files with shapes beside the images, in folders such as {subset}/",
    suffix=".json",
    recognises=is_labelme,
    parse=parse_labelme,
    group=FileTree.subsets,
)
