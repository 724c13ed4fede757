"""One annotation file of VOC: the size of its image and its objects."""

import math
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element
from xml.parsers import expat

from fsdet.data.formats.coco_boxes import turned
from fsdet.data.formats.coco_ids import flag
from fsdet.data.formats.safe_xml import parse_xml
from fsdet.data.formats.validation import DataIssue
from fsdet.data.paths import resolve_inside
from fsdet.errors import InputError
from fsdet.files import read_regular

CORNERS = ("xmin", "ymin", "xmax", "ymax")
TURNED = ("cx", "cy", "w", "h", "angle")
Box = tuple[float, float, float, float]


class VocObject(NamedTuple):
    """An object as its file has it."""

    number: int  # from 1, in the file
    category: str
    corners: Box  # xmin, ymin, xmax, ymax, counted as the data set counts
    counted: bool  # True for corners of pixels, which may count from 1; False for a computed box
    difficult: bool


class VocAnnotation(NamedTuple):
    """The content of an annotation file."""

    file_name: str  # of the image, "" without one; often that of another machine
    size: tuple[int, int]  # height, width; (0, 0) if the file has none
    objects: list[VocObject]
    num_objects: int  # incomplete ones included


def read_annotation(
    root: Path, where: str, why: str, faults: list[DataIssue]
) -> VocAnnotation | None:
    """Read a file; its faults are appended.

    Args:
        where: path of the file relative to the root.
        why: why the file is expected, for the message of a missing one.
    """
    try:
        tree = parse_xml(read_regular(resolve_inside(root, where)))
    except expat.ExpatError as error:
        hint = "; if it is not UTF-8, its first line must declare the encoding"
        token = (
            hint if error.code == expat.errors.codes[expat.errors.XML_ERROR_INVALID_TOKEN] else ""
        )
        detail = f"{error}{token}"
        faults.append(DataIssue(where, "annotation file is not valid XML", detail))
        return None
    except (OSError, InputError, ValueError, LookupError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        faults.append(DataIssue(where, "annotation file cannot be read", f"{reason}{why}"))
        return None
    if tree.tag != "annotation":
        detail = f"expected the root <annotation>, got <{tree.tag:.80}>"
        faults.append(DataIssue(where, "annotation file is not VOC's", detail))
        return None
    nodes = [node for node in tree.iter("object") if node.findtext("deleted") != "1"]
    objects = []
    for number, node in enumerate(nodes, 1):
        try:
            objects.append(_object(number, node))
        except ValueError as error:
            issue = DataIssue(f"{where}, object {number}", "annotation is incomplete", str(error))
            faults.append(issue)
    file_name = (tree.findtext("filename") or "").strip()
    return VocAnnotation(file_name, _size(tree), objects, len(nodes))


def _object(number: int, node: Element) -> VocObject:
    category = (node.findtext("name") or "").strip()
    difficult = flag((node.findtext("difficult") or "").strip())
    if difficult is None:
        raise ValueError(f"expected difficult 0 or 1; got '{node.findtext('difficult'):.80}'")
    bndbox, robndbox, polygon = (node.find(tag) for tag in ("bndbox", "robndbox", "polygon"))
    corners = None
    if bndbox is None and robndbox is not None:
        corners = _around_turned(_numbers(robndbox, TURNED))
    elif bndbox is None and polygon is not None:
        corners = _around_polygon(polygon)
    counted = corners is None
    if corners is None:
        values = _numbers(node if bndbox is None else bndbox, CORNERS)
        x1, y1, x2, y2 = values
        if x1 is not None and y1 is not None and x2 is not None and y2 is not None:
            corners = (x1, y1, x2, y2)
    if not category or corners is None:
        texts = [node.findtext(f"bndbox/{corner}") for corner in CORNERS]
        values_text = ", ".join(f"{key} {text}" for key, text in zip(CORNERS, texts, strict=True))
        raise ValueError(f"expected a name and four numbers; got name '{category}', {values_text}")
    return VocObject(number, category, corners, counted, difficult)


def _numbers(node: Element, keys: tuple[str, ...]) -> list[float | None]:
    values: list[float | None] = []
    for key in keys:
        try:
            values.append(float(node.findtext(key) or ""))
        except ValueError:
            values.append(None)
    return values


def _around_turned(values: list[float | None]) -> Box | None:
    """The upright box around roLabelImg's centre, sides and angle in radians."""
    if None in values:
        return None
    x, y, width, height, angle = (value for value in values if value is not None)
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return turned(box, math.degrees(angle)) if math.isfinite(angle) else None


def _around_polygon(polygon: Element) -> Box | None:
    """The box around <x1>, <y1>, <x2>, ... or <pt><x>, <y>."""
    leaves = [leaf for leaf in polygon.iter() if leaf.tag[:1] in ("x", "y") and not len(leaf)]
    try:
        xs = [float(leaf.text or "") for leaf in leaves if leaf.tag[0] == "x"]
        ys = [float(leaf.text or "") for leaf in leaves if leaf.tag[0] == "y"]
    except ValueError:
        return None
    return (min(xs), min(ys), max(xs), max(ys)) if xs and ys else None


def _size(tree: Element) -> tuple[int, int]:
    try:
        height = int(float(tree.findtext("size/height") or ""))
        width = int(float(tree.findtext("size/width") or ""))
    except (ValueError, OverflowError):
        return 0, 0
    return (height, width) if 0 < min(height, width) <= max(height, width) < 2**31 else (0, 0)
