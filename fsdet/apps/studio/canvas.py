"""Canvas: the component for drawing boxes, and its boxes as labels of a project."""

from typing import Any, NamedTuple

import gradio as gr
from gradio_image_annotation import image_annotator

from fsdet.apps.studio.boxes import Corners
from fsdet.apps.studio.project import Box, Photo, Project

SIDE = 1024  # pixels of the longer side of the image on the canvas
MIN_SIDE = 3  # pixels of a box's side on the canvas


class Drawn(NamedTuple):
    """A box on the canvas."""

    label: str
    corners: Corners  # in pixels of the canvas


def _drawn_boxes(canvas: image_annotator, payload: Any) -> list[Drawn]:
    """The boxes on a canvas; raises a gr.Error for anything else."""
    if payload is None:
        return []
    try:
        boxes = []
        for box in payload.boxes[:1000]:
            scale = float(box.get("scaleFactor") or 1)
            x1, y1, x2, y2 = (float(box[side]) / scale for side in ("xmin", "ymin", "xmax", "ymax"))
            boxes.append(Drawn(str(box.get("label") or ""), (x1, y1, x2, y2)))
        return boxes
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise gr.Error("expected boxes with xmin, ymin, xmax and ymax in pixels") from error


# The component would decode the image again, from any path that a client names; only the boxes are needed.
image_annotator.preprocess = _drawn_boxes


def with_drawn(project: Project, key: str, boxes: list[Drawn], new_name: str | None) -> Project:
    """The project with the boxes of the canvas in a photograph; new boxes get the category `new_name`."""
    scale = scale_of(project.photo(key))
    before = {(box.category, on_canvas(box, scale)): box for box in project.of(key).boxes}
    after = []
    for label, (x1, y1, x2, y2) in boxes:
        if min(x2 - x1, y2 - y1) < MIN_SIDE:  # the mouse button was just pressed
            continue
        name = label if label in project.categories else (new_name or "").strip()
        box = Box(name, (x1 / scale, y1 / scale, x2 / scale, y2 / scale))
        # An untouched box keeps its corners: the canvas rounds them.
        after.append(before.get((name, on_canvas(box, scale)), box))
    return project.drawn(key, after)


def scale_of(photo: Photo) -> float:
    """Pixels of the canvas per pixel of a photograph; small photographs are enlarged."""
    return SIDE / max(photo.width, photo.height)


def on_canvas(box: Box, scale: float) -> tuple[int, ...]:
    """A box's corners in whole pixels of the canvas."""
    return tuple(round(value * scale) for value in box.corners)
