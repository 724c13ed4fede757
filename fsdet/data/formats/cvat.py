"""CVAT's own XML for images (1.1): boxes, outlines, ellipses and masks, turned or not."""

from pathlib import Path
from xml.etree.ElementTree import Element
from xml.parsers.expat import ExpatError

from fsdet.data.formats.coco_boxes import Box, turned
from fsdet.data.formats.file_tree import FileTree
from fsdet.data.formats.found import (
    FoundImage,
    FoundObject,
    FoundReader,
    Issues,
    read_bounded,
    written_size,
)
from fsdet.data.formats.outlines import box_around, ellipse_box, numbers, unread_shapes
from fsdet.data.formats.safe_xml import parse_xml
from fsdet.data.formats.validation import DataIssue

UNREAD = ("points", "skeleton", "cuboid")


def is_cvat(head: bytes) -> bool:
    return b"<annotations" in head


def parse_cvat(
    root: Path, tree: FileTree, file: str, faults: Issues, warnings: Issues
) -> list[FoundImage]:
    """The images of a file; their objects are numbered from 1."""
    try:
        top = parse_xml(read_bounded(root, file))
    except ExpatError as error:
        raise ValueError(f"not valid XML: {error}") from None
    if top.find("track") is not None:
        raise ValueError("expected an export as 'CVAT for images 1.1'; it has tracks of a video")
    images, unread = [], []
    for node in top.iter("image"):
        name = node.get("name") or ""
        objects, is_complete = [], True
        shapes = [shape for shape in node if shape.tag != "tag"]  # a tag is of the whole image
        for position, shape in enumerate(shapes, 1):
            where = f"{file}, image '{name:.80}', shape {position}"
            if shape.tag in UNREAD:
                unread.append(shape.tag)
                continue
            try:
                objects.append(_object(shape, where))
            except ValueError as error:
                faults.append(DataIssue(where, "annotation is incomplete", str(error)))
                is_complete = False
        where = f"{file}, image '{name:.80}'"
        images.append(
            FoundImage(
                name,
                written_size(node.get("height"), node.get("width")),
                objects,
                is_complete,
                where,
            )
        )
    warnings += unread_shapes(file, unread)
    return images


def _object(shape: Element, where: str) -> FoundObject:
    label = (shape.get("label") or "").strip()
    if not label:
        raise ValueError(f"expected a label at <{shape.tag:.40}>; got none")
    return FoundObject(label, _box(shape), False, where)


def _box(shape: Element) -> Box:
    (degrees,) = _attributes(shape, "rotation") if shape.get("rotation") else (0.0,)
    if shape.tag == "box":
        x1, y1, x2, y2 = _attributes(shape, "xtl", "ytl", "xbr", "ybr")
        return turned((x1, y1, x2, y2), degrees)
    if shape.tag == "ellipse":
        x, y, rx, ry = _attributes(shape, "cx", "cy", "rx", "ry")
        return ellipse_box(x, y, rx, ry, degrees)
    if shape.tag == "mask":
        left, top, width, height = _attributes(shape, "left", "top", "width", "height")
        return left, top, left + width, top + height
    if shape.tag not in ("polygon", "polyline"):
        raise ValueError(f"expected box, polygon, polyline, ellipse or mask; got <{shape.tag:.40}>")
    pairs = [point.split(",") for point in (shape.get("points") or "").split(";") if point]
    flat = numbers([value for pair in pairs for value in pair], "points x,y;x,y;...")
    return box_around(flat[::2], flat[1::2])


def _attributes(shape: Element, *names: str) -> list[float]:
    values = [shape.get(name) for name in names]
    return numbers(values, f"numbers {', '.join(names)} at <{shape.tag:.40}>")


CVAT = FoundReader(
    name="CVAT",
    version=1,
    layout="CVAT: annotations.xml of an export as 'CVAT for images 1.1', in folders such as {subset}/",
    suffix=".xml",
    recognises=is_cvat,
    parse=parse_cvat,
    group=FileTree.subsets_by_name,
)
