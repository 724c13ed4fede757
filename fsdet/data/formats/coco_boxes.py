"""Boxes of COCO annotations: bbox, the box around an outline, and rectangles that were turned."""

import math
from typing import Any

from fsdet.data.formats.coco_ids import number

Box = tuple[float, float, float, float]
EXPECTED = "expected bbox [x, y, width, height] of numbers, or a segmentation of polygons"


def annotation_box(row: dict[str, Any]) -> Box | str:
    """The xyxy box of an annotation in pixels, or what is wrong with it.

    Without a bbox it is the box around the outline. CVAT stores a turned rectangle as it was before it was turned
    about its centre, and the angle beside it: then it is the upright box around the rectangle.
    """
    bbox = row.get("bbox")
    if bbox in (None, []):
        around = _box_around(row.get("segmentation"))
        return around or f"{EXPECTED}; got neither"
    numbers = [number(value) for value in bbox] if isinstance(bbox, list) else []
    if len(numbers) != 4 or None in numbers:
        return f"{EXPECTED}; got bbox {str(bbox)[:80]}"
    x, y, width, height = (float(value) for value in numbers if value is not None)
    return turned((x, y, x + width, y + height), _rotation(row))


def turned(box: Box, degrees: float) -> Box:
    """The upright box around a box that is turned about its centre."""
    if not degrees % 180:
        return box
    x1, y1, x2, y2 = box
    cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    half_width = ((x2 - x1) * cos + (y2 - y1) * sin) / 2
    half_height = ((x2 - x1) * sin + (y2 - y1) * cos) / 2
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def _rotation(row: dict[str, Any]) -> float:
    attributes = row.get("attributes")
    angle = number(attributes.get("rotation")) if isinstance(attributes, dict) else None
    return angle if angle is not None and math.isfinite(angle) else 0.0


def _box_around(polygons: object) -> Box | None:
    """The box around polygons [[x, y, x, y, ...], ...]; None if they are none."""
    if not isinstance(polygons, list) or not all(isinstance(points, list) for points in polygons):
        return None
    pairs = [points for points in polygons if len(points) >= 4 and len(points) % 2 == 0]
    values = [[number(value) for value in points] for points in pairs]
    if not values or len(pairs) < len(polygons) or any(None in points for points in values):
        return None
    xs = [float(x) for points in values for x in points[::2] if x is not None]
    ys = [float(y) for points in values for y in points[1::2] if y is not None]
    return min(xs), min(ys), max(xs), max(ys)
