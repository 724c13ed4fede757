"""Shapes of Label Studio's regions as rectangles: ellipses and polygons become the rectangle around them."""

from typing import Any

LABELS = ("rectanglelabels", "labels", "ellipselabels", "polygonlabels")


def as_rectangles(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The regions of an annotation with a place, as results of the type `rectanglelabels`.

    A project with <Rectangle> and <Labels> has two results of one id for a region; that with the label is taken.
    Other regions, such as key points, brushes and choices, are left out.
    """
    labelled = {result.get("id") for result in results if result.get("type") == "labels"}
    rectangles: list[dict[str, Any]] = []
    for result in results:
        value = result.get("value")
        kind = str(result.get("type"))
        if kind == "rectanglelabels" or not isinstance(value, dict):
            rectangles += [result] if kind == "rectanglelabels" else []
            continue
        if not kind.endswith("labels") and result.get("id") in labelled:
            continue
        if (place := _place(value)) and kind in (*LABELS, "rectangle", "ellipse", "polygon"):
            names: Any = next((value[key] for key in LABELS if key in value), [])
            rotation = {"rotation": value.get("rotation")} if "points" not in value else {}
            region = place | rotation | {"rectanglelabels": names}
            rectangles.append(result | {"type": "rectanglelabels", "value": region})
    return rectangles


def _place(value: dict[str, Any]) -> dict[str, Any] | None:
    """x, y, width and height in percent; None for a region without them."""
    numbers = {key: n for key, n in value.items() if type(n) in (int, float)}
    if numbers.keys() >= {"x", "y", "width", "height"}:
        return {key: numbers[key] for key in ("x", "y", "width", "height")}
    if numbers.keys() >= {"x", "y", "radiusX", "radiusY"}:
        x, y, across, down = (numbers[key] for key in ("x", "y", "radiusX", "radiusY"))
        return {"x": x - across, "y": y - down, "width": 2 * across, "height": 2 * down}
    points = value.get("points")
    if not isinstance(points, list) or not points:
        return None
    if not all(
        isinstance(p, list) and len(p) == 2 and {*map(type, p)} <= {int, float} for p in points
    ):
        return None
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return {"x": min(xs), "y": min(ys), "width": max(xs) - min(xs), "height": max(ys) - min(ys)}
