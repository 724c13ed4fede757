"""Boxes around what tools draw: points, circles, ellipses."""

import math
from collections import Counter
from collections.abc import Sequence

from fsdet.data.formats.coco_boxes import Box
from fsdet.data.formats.coco_ids import number
from fsdet.data.formats.validation import DataIssue


def numbers(values: Sequence[object], expected: str) -> list[float]:
    """The values as finite numbers; a `ValueError` that says what was expected for others."""
    found = [number(value) for value in values]
    finite = [value for value in found if value is not None and math.isfinite(value)]
    if len(finite) != len(found):
        raise ValueError(f"expected {expected}; got {', '.join(str(v)[:40] for v in values[:8])}")
    return finite


def box_around(xs: Sequence[float], ys: Sequence[float]) -> Box:
    """The box around points; a `ValueError` without two of them."""
    if len(xs) != len(ys) or len(xs) < 2:
        raise ValueError(f"expected two or more points x, y; got {len(xs)} x and {len(ys)} y")
    return min(xs), min(ys), max(xs), max(ys)


def ellipse_box(x: float, y: float, rx: float, ry: float, degrees: float = 0.0) -> Box:
    """The upright box around an ellipse that is turned about its centre."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half_width, half_height = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
    return x - half_width, y - half_height, x + half_width, y + half_height


def unread_shapes(where: str, kinds: Sequence[str]) -> list[DataIssue]:
    """One warning for all shapes of a file that have no box."""
    if not kinds:
        return []
    counts = ", ".join(f"{count} x {kind:.40}" for kind, count in Counter(kinds).most_common(8))
    return [DataIssue(where, "shapes without a box are not read", counts)]
