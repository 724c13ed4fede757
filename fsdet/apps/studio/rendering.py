"""Rendering of a session: the value of each component of the page."""

from typing import Any

import gradio as gr

from fsdet.apps.studio.boxes import Corners
from fsdet.apps.studio.canvas import SIDE
from fsdet.apps.studio.review import ALL_CATEGORIES, MOST_CROPS
from fsdet.apps.studio.sent import UNNAMED, crop_file, photo_file, sent
from fsdet.apps.studio.studio import Studio
from fsdet.apps.studio.texts import counted, progress, table
from fsdet.apps.studio.view import View
from fsdet.report import palette

THUMBNAIL = 300  # pixels of the longer side of a picture in the gallery


def rendered(
    studio: Studio, session: str, opened: str, shown: str, message: str, view: View
) -> dict[str, Any]:
    """Values of the components in `components.OUTPUTS`, by name.

    Args:
        opened: key of the photograph on the canvas; of an unknown one the first is opened.
        shown: the filter of the gallery; see `View.filtered`.
    """
    keys = [photo.key for photo in view.project.photos]
    opened = opened if opened in keys else next(iter(keys), "")
    listed, any_photo = view.filtered(shown), bool(keys)
    return {
        "token": session,
        "key": opened,
        "guide": gr.update(visible=not view.project.categories),
        "progress": progress(view),
        "message": message,
        "gallery": gr.update(
            value=[
                (photo_file(studio, session, key, THUMBNAIL), _caption(view, key)) for key in listed
            ],
            visible=any_photo,
            selected_index=listed.index(opened) if opened in listed else None,
        ),
        "work": gr.update(visible=any_photo),
        "side": gr.update(visible=any_photo),
        "canvas": _canvas(studio, session, opened, view) if opened else None,
        **_categories(view),
    }


def _caption(view: View, key: str) -> str:
    """The state of a photograph: a tick if complete, its boxes, and what was found."""
    labels, waiting = view.project.of(key), len(view.pending(key))
    if labels.complete and not labels.boxes:
        return "✓ empty"
    counts = [counted(len(labels.boxes), "box")] * bool(labels.boxes)
    counts += [f"{waiting} found"] * bool(waiting)
    return "✓ " * labels.complete + (", ".join(counts) or view.project.photo(key).name)


def _canvas(studio: Studio, session: str, opened: str, view: View) -> dict[str, Any]:
    """The value of the canvas: the photograph, with corners in its pixels; accepted boxes have no score."""
    project, photo = view.project, view.project.photo(opened)
    labels = project.of(opened)
    boxes = [
        *((box.category, box.corners, None) for box in labels.boxes),
        *((d.name, d.box, d.score) for d in view.pending(opened)),
    ]
    return {
        "key": opened,
        "name": photo.name,
        "place": f"{project.photos.index(photo) + 1} of {len(project.photos)}",
        "width": photo.width,
        "height": photo.height,
        "image": sent(photo_file(studio, session, opened, SIDE)),
        "boxes": [
            {"category": name, "corners": corners, "score": score} for name, corners, score in boxes
        ],
        "rejected": labels.rejected,
        "complete": labels.complete,
        "categories": [
            {"name": name, "colour": f"rgb{colour}"}
            for name, colour in palette(project.categories).items()
        ],
    }


def _categories(view: View) -> dict[str, Any]:
    """Names, table and thresholds of the categories."""
    names = list(view.project.categories)
    single = len(names) == 1
    return {
        "table": table(view),
        "which": gr.update(choices=names, value=names[0]) if single else gr.update(choices=names),
        "threshold": round(view.thresholds[names[0]], 2) if single else gr.update(),
        "review_name": gr.update(choices=[ALL_CATEGORIES, *names]),
    }


def crops(studio: Studio, session: str, view: View, kind: str, category: str) -> dict[str, Any]:
    """The value of the review grid: crops of the boxes of a category, or of all.

    Args:
        kind: "found", those with the lowest scores first; or any other word for drawn and accepted boxes.
    """
    rows: list[tuple[str, str, Corners, float | None]]
    if kind == "found":
        found = sorted(view.above(0), key=lambda pair: pair[1].score)
        rows = [(key, d.name, d.box, d.score) for key, d in found]
    else:
        labels = ((photo.key, view.project.of(photo.key)) for photo in view.project.photos)
        rows = [(key, b.category, b.corners, None) for key, of_it in labels for b in of_it.boxes]
    chosen = [row for row in rows if category in (ALL_CATEGORIES, row[1])][:MOST_CROPS]
    colours = palette(view.project.categories)
    return {
        "crops": [
            {
                "image": sent(crop_file(studio, session, key, corners, colours.get(name, UNNAMED))),
                "key": key,
                "corners": corners,
                "category": name,
                "score": score,
            }
            for key, name, corners, score in chosen
        ]
    }
