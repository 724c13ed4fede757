"""Rendering of a session: the value of each component of the page, and its texts."""

import hashlib
import re
from html import escape
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder

from fsdet.apps.studio import canvas, pictures
from fsdet.apps.studio.project import Project
from fsdet.apps.studio.studio import Studio
from fsdet.apps.studio.view import Question, View
from fsdet.errors import one_line
from fsdet.files import write_whole
from fsdet.report import palette

THUMBNAIL = 300  # pixels of the longer side of a picture in the gallery
CACHE = get_upload_folder()  # Gradio sends files from this folder to the page
WHITE = (255, 255, 255)


def rendered(studio: Studio, session: str, opened: str, message: str, view: View) -> dict[str, Any]:
    """Values of the components in `components.OUTPUTS`, by name."""
    keys = [photo.key for photo in view.project.photos]
    opened = opened if opened in keys else (keys[0] if keys else "")
    colours, any_photo = palette(view.project.categories), bool(keys)
    question = view.question(opened)
    values = {
        "token": session,
        "key": opened,
        "guide": gr.update(visible=not any_photo),
        "message": message,
        "question": question,
        "question_image": _question(studio, session, view.project, question) if question else None,
        "answer": gr.update(visible=question is not None),
        "gallery": gr.update(
            value=_thumbnails(studio, session, view, colours),
            visible=any_photo,
            selected_index=keys.index(opened) if any_photo else None,
        ),
        "after": gr.update(visible=len(keys) > 1),
    }
    for name in ("heading", "drop", "keys", "teaching", "trade"):
        values[name] = gr.update(visible=any_photo)
    values |= _opened(studio, session, opened, view, colours)
    return values | _categories(studio, session, view, colours)


def _thumbnails(studio: Studio, session: str, view: View, colours: dict) -> list[tuple[str, str]]:
    """Pictures of the gallery with their captions."""
    thumbnails = []
    for photo in view.project.photos:
        image, scale = studio.picture(session, photo.key, THUMBNAIL)
        detections, labels = view.pending(photo.key), view.project.of(photo.key)
        picture = pictures.with_boxes(image, scale, labels, detections, colours, texts=False)
        counts = [f"{len(labels.boxes)} drawn"] if labels.boxes else []
        counts += [f"{len(detections)} found"] if detections else []
        thumbnails.append((_file(picture), ", ".join(counts) or photo.name))
    return thumbnails


def _opened(studio: Studio, session: str, opened: str, view: View, colours: dict) -> dict[str, Any]:
    """The canvas with the boxes of the opened photograph, and the picture of its detections."""
    hidden = gr.update(visible=False)
    if not opened:
        return {"canvas": gr.update(value=None, visible=False), "detections": hidden}
    labels, pending = view.project.of(opened), view.pending(opened)
    image, scale = studio.picture(session, opened, canvas.SIDE)
    corners = ("xmin", "ymin", "xmax", "ymax")
    boxes = [
        dict(zip(corners, canvas.on_canvas(box, scale), strict=True))
        | {"label": box.category, "color": colours.get(box.category, pictures.REJECTED)}
        for box in labels.boxes
    ]
    values = {
        "canvas": gr.update(value={"image": _file(image), "boxes": boxes}, visible=True),
        "detections": hidden,
    }
    if pending:
        picture = pictures.with_boxes(image, scale, labels, pending, colours)
        values["detections"] = gr.update(value=_file(picture), visible=True)
    return values


def _categories(studio: Studio, session: str, view: View, colours: dict) -> dict[str, Any]:
    """Names, table, thresholds and shots of the categories."""
    names = list(view.project.categories)
    single = len(names) == 1
    crops = pictures.album(lambda key: studio.picture(session, key, canvas.SIDE), view, colours)
    return {
        "name": gr.update(choices=names),
        "settings": gr.update(visible=bool(names)),
        "table": _table(view, colours),
        "which": gr.update(choices=names, value=names[0]) if single else gr.update(choices=names),
        "threshold": round(view.thresholds[names[0]], 2) if single else gr.update(),
        "beside": gr.update(visible=bool(names)),
        "album": [(_file(crop), text) for crop, text in crops],
    }


def _file(image: np.ndarray) -> str:
    """The picture's file in `CACHE`, named by its content: equal pictures share it."""
    encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    path = Path(CACHE) / "studio" / hashlib.sha256(encoded).hexdigest() / "picture.jpg"
    if not path.is_file():
        write_whole(path, lambda to: to.write_bytes(encoded))
    return str(path)


def _question(studio: Studio, session: str, project: Project, question: Question) -> dict:
    """The crop of the detection in question, and the question as its label."""
    key, detection = question
    crop = pictures.cut(studio.picture(session, key, canvas.SIDE), detection.box, WHITE)
    text = f"Is this {detection.name}? (score {detection.score:.2f}, {project.photo(key).name})"
    return gr.update(value=_file(crop), label=text)


def _table(view: View, colours: dict) -> str:
    """The table of the categories: colour, shots, pending detections, threshold."""
    counts, shots = view.counts(), view.project.shots()
    rows = "".join(
        f"<tr><td><span style='color:rgb{colours[name]}'>■</span> {plain(name)}</td><td>{shots[name]}</td>"
        f"<td>{counts[name]}</td><td>{view.thresholds[name]:.2f}</td></tr>"
        for name in view.project.categories
    )
    head = "<tr><th>category</th><th>shots</th><th>found</th><th>minimum score</th></tr>"
    return f"<table>{head}{rows}</table>"


def summary(view: View) -> str:
    """The number of boxes and of detections of each category, and the seconds they took."""
    counts, shots = view.counts(), view.project.shots()
    parts = [
        f"**{markdown(name)}** from {shots[name]} {'box' if shots[name] == 1 else 'boxes'}: {counts[name]} found"
        for name in view.project.categories
    ]
    unlearned = [
        f" **{markdown(name)}** was not learned: other boxes cover its boxes."
        for name in view.unlearned()
    ]
    return f"{'; '.join(parts)}. ({view.seconds:.1f} s){''.join(unlearned)}" if parts else ""


def refusals(refused: list[str]) -> str:
    """The refused files as a message, and as a warning."""
    if not refused:
        return ""
    gr.Warning("; ".join(refused[:3]), title=f"{len(refused)} left out")
    return "**Left out:** " + "; ".join(map(markdown, refused[:10]))


def plain(message: object) -> str:
    """A message on one line, without HTML."""
    return escape(one_line(message), quote=False)


def markdown(message: object) -> str:
    """A message on one line for a Markdown component, without HTML and without Markdown."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~$-])", r"\\\1", plain(message))
