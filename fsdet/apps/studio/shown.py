"""Rendering of a session: the value of each component of the page, and its texts."""

import hashlib
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder

from fsdet.apps.studio import canvas, pictures
from fsdet.apps.studio.project import Project
from fsdet.apps.studio.studio import Studio
from fsdet.apps.studio.view import Question, View
from fsdet.errors import InputError, one_line
from fsdet.files import write_whole
from fsdet.report import palette

THUMB = 300  # pixels of the longer side of a picture in the gallery
CACHE = get_upload_folder()  # of Gradio: what lies in it may be sent to the page
WHITE = (255, 255, 255)


def shown(studio: Studio, session: str, opened: str, words: str, view: View) -> tuple:
    """Everything on the page, in the order in which the page names its components."""
    project = view.project
    keys = [photo.key for photo in project.photos]
    opened = opened if opened in keys else (keys[0] if keys else "")
    some, colours = bool(keys), palette(project.categories)
    labels = project.of(opened)
    waiting = view.pending(opened) if opened else []
    thumbs = []
    for photo in project.photos:
        image, scale = studio.picture(session, photo.key, THUMB)
        found = view.pending(photo.key)
        known = project.of(photo.key)
        picture = pictures.with_boxes(image, scale, known, found, colours, texts=False)
        counts = [f"{len(known.boxes)} drawn"] if known.boxes else []
        counts += [f"{len(found)} found"] if found else []
        thumbs.append((_sent(picture), ", ".join(counts) or photo.name))
    if opened:
        image, scale = studio.picture(session, opened, canvas.SIDE)
        value = {
            "image": _sent(image),
            "boxes": [
                dict(
                    zip(
                        ("xmin", "ymin", "xmax", "ymax"), canvas.on_canvas(box, scale), strict=True
                    ),
                    label=box.category,
                    color=colours.get(box.category, pictures.REJECTED),
                )
                for box in labels.boxes
            ],
        }
        found_picture = pictures.with_boxes(image, scale, labels, waiting, colours)
    question = view.question(opened)
    cuts = pictures.album(lambda key: studio.picture(session, key, canvas.SIDE), view, colours)
    names = list(project.categories)
    return (
        session,
        opened,
        gr.update(visible=not some),
        gr.update(visible=some),
        gr.update(value=thumbs, visible=some, selected_index=keys.index(opened) if some else None),
        gr.update(visible=len(keys) > 1),
        gr.update(visible=some),
        gr.update(value=value, visible=True) if some else gr.update(value=None, visible=False),
        gr.update(visible=some),
        gr.update(visible=some),
        gr.update(choices=names),
        words,
        gr.update(visible=question is not None),
        question,
        _asked(studio, session, project, question) if question else None,
        gr.update(value=_sent(found_picture), visible=True)
        if waiting
        else gr.update(visible=False),
        gr.update(visible=bool(names)),
        _table(view, colours),
        gr.update(choices=names, value=names[0]) if len(names) == 1 else gr.update(choices=names),
        round(view.thresholds[names[0]], 2) if len(names) == 1 else gr.update(),
        gr.update(visible=bool(names)),
        [(_sent(picture), text) for picture, text in cuts],
        gr.update(visible=some),
    )


def _sent(image: np.ndarray) -> str:
    """A picture's file where Gradio may send it from: whole, whoever else makes the same at the same time."""
    encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    place = Path(CACHE) / "studio" / hashlib.sha256(encoded).hexdigest() / "picture.jpg"
    if not place.is_file():
        write_whole(place, lambda to: to.write_bytes(encoded))
    return str(place)


def _asked(studio: Studio, session: str, project: Project, question: Question) -> dict:
    key, found = question
    part = pictures.cut(studio.picture(session, key, canvas.SIDE), found.box, WHITE)
    words = f"Is this {found.name}? (score {found.score:.2f}, {project.photo(key).name})"
    return gr.update(value=_sent(part), label=words)


def _table(view: View, colours: dict) -> str:
    """The categories: colour, shots, what was found, least score."""
    counts, shots = view.counts(), view.project.shots()
    rows = "".join(
        f"<tr><td><span style='color:rgb{colours[name]}'>■</span> {_escaped(name)}</td><td>{shots[name]}</td>"
        f"<td>{counts[name]}</td><td>{view.thresholds[name]:.2f}</td></tr>"
        for name in view.project.categories
    )
    head = "<tr><th>category</th><th>shots</th><th>found</th><th>least score</th></tr>"
    return f"<table>{head}{rows}</table>"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def summary(view: View) -> str:
    """What was learned and found, and how long it took."""
    counts, shots = view.counts(), view.project.shots()
    parts = [
        f"**{_escaped(name)}** from {shots[name]} {'box' if shots[name] == 1 else 'boxes'}: {counts[name]} found"
        for name in view.project.categories
    ]
    hidden = [
        f" **{_escaped(name)}** was not learned: other boxes lie on its own."
        for name in view.unlearned()
    ]
    return f"{'; '.join(parts)}. ({view.seconds:.1f} s){''.join(hidden)}" if parts else ""


def refusals(refused: list[str]) -> str:
    """What was left out, also as a warning."""
    if not refused:
        return ""
    gr.Warning("; ".join(refused[:3]), title=f"{len(refused)} left out")
    return "**Left out:** " + "; ".join(map(_escaped, refused[:10]))


def plain(error: InputError) -> str:
    """A message in one line, without markup."""
    return _escaped(one_line(error))
