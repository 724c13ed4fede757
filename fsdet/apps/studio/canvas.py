"""The canvas: the component that boxes are drawn on, and what its boxes are to a project."""

from typing import Any, NamedTuple

import gradio as gr
from gradio_image_annotation import image_annotator

from fsdet.apps.studio.project import Box, Corners, Photo, Project

SIDE = 1024  # pixels of the longer side of the picture on it
LEAST = 3  # pixels of a box's sides there


class Drawn(NamedTuple):
    """A box on the canvas."""

    label: str
    corners: Corners  # in pixels of the picture there


def _boxes_of(canvas: image_annotator, payload: Any) -> list[Drawn]:
    """The boxes on a canvas.

    Raises:
        gr.Error: they are none.
    """
    if payload is None:
        return []
    try:
        found = []
        for box in payload.boxes[:1000]:
            scale = float(box.get("scaleFactor") or 1)
            x1, y1, x2, y2 = (float(box[side]) / scale for side in ("xmin", "ymin", "xmax", "ymax"))
            found.append(Drawn(str(box.get("label") or ""), (x1, y1, x2, y2)))
        return found
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise gr.Error("expected boxes with xmin, ymin, xmax and ymax in pixels") from error


# The picture on a canvas is ours already: only its boxes are to come back, and nobody's file is decoded.
image_annotator.preprocess = _boxes_of


def with_drawn(project: Project, key: str, boxes: list[Drawn], typed: str | None) -> Project:
    """The project with a photograph's boxes as the canvas has them; new ones take the name that is typed."""
    scale = scale_of(project.photo(key))
    before = {(box.category, on_canvas(box, scale)): box for box in project.of(key).boxes}
    made = []
    for label, (x1, y1, x2, y2) in boxes:
        if min(x2 - x1, y2 - y1) < LEAST:  # the mouse has just gone down
            continue
        name = label if label in project.categories else (typed or "").strip()
        box = Box(name, (x1 / scale, y1 / scale, x2 / scale, y2 / scale))
        # One that was not touched stays what it was, to the last digit.
        made.append(before.get((name, on_canvas(box, scale)), box))
    return project.drawn(key, made)


def scale_of(photo: Photo) -> float:
    """Pixels of the canvas for each of a photograph: small ones are enlarged, to be drawn in."""
    return SIDE / max(photo.width, photo.height)


def on_canvas(box: Box, scale: float) -> tuple[int, ...]:
    """A box's corners in pixels of the canvas, whole as the component has them."""
    return tuple(round(value * scale) for value in box.corners)
