"""Components of the studio's page, by name and in their layout."""

from typing import NamedTuple

import gradio as gr
from gradio_image_annotation import image_annotator

from fsdet.apps.studio.canvas import LEAST
from fsdet.apps.studio.studio import Studio
from fsdet.data.formats.write import FORMATS

EMPTY = """
### Teach a detector something new

1. **Drop photographs** into the field below, half a dozen that show the thing and some that do not.
2. **Draw a box** around it, in two or three of them: every one of its kind in a photograph you draw in.
3. **Name it** and press *Teach*: it is found in the other photographs. Say yes or no to what was found; each answer
   makes the next round better.

At the end take the labels away (COCO, VOC, YOLO), or the detector.
"""
KEYS = (
    "Drag to draw; drag a box or its corners to change it. **Delete** removes the chosen box,"
    " **Space** switches between drawing and choosing."
)


class Shown(NamedTuple):
    """Components whose values follow the session: the outputs of every action, in this order."""

    token: gr.BrowserState
    key: gr.State
    guide: gr.Markdown
    heading: gr.Markdown
    gallery: gr.Gallery
    after: gr.Button
    drop: gr.Button
    canvas: image_annotator
    keys: gr.Markdown
    teaching: gr.Row
    name: gr.Dropdown
    message: gr.Markdown
    answer: gr.Row
    question: gr.State
    question_image: gr.Image
    detections: gr.Image
    settings: gr.Row
    table: gr.HTML
    which: gr.Dropdown
    threshold: gr.Slider
    beside: gr.Accordion
    album: gr.Gallery
    trade: gr.Accordion


class Inputs(NamedTuple):
    """Components that only start actions or give their arguments."""

    upload: gr.File
    folder: gr.Dropdown
    take: gr.Button
    teach: gr.Button
    undo: gr.Button
    yes: gr.Button
    no: gr.Button
    yes_to_all: gr.Button
    choose: gr.Button
    new_name: gr.Textbox
    rename: gr.Button
    remove: gr.Button
    kind: gr.Radio
    with_photos: gr.Checkbox
    pack: gr.Button
    save: gr.Button
    ready: gr.File
    labels: gr.File
    detector: gr.File


def layout(studio: Studio, secret: str) -> tuple[Shown, Inputs]:
    """All components of the page, created inside the current `gr.Blocks`.

    Args:
        secret: encrypts the session id in the browser; with another one, earlier sessions are lost.
    """
    parts: dict = {
        "token": gr.BrowserState("", storage_key="fsdet-studio", secret=secret),
        "key": gr.State(""),
        "question": gr.State(None),
        "guide": gr.Markdown(EMPTY, elem_id="studio-guide"),
    }
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            parts |= _photographs(studio)
        with gr.Column(scale=3, min_width=320):
            parts |= _canvas()
            parts |= _question()
    with gr.Row(visible=False) as settings:
        parts |= _settings()
    with gr.Accordion("Shots beside their detections", open=False, visible=False) as beside:
        parts["album"] = gr.Gallery(show_label=False, columns=8, buttons=[], elem_id="studio-album")
    accordion = gr.Accordion("Export, import", open=False, visible=False, elem_id="studio-trade")
    with accordion as trade, gr.Row():
        parts |= _exchange()
    parts |= {"settings": settings, "beside": beside, "trade": trade}
    return (
        Shown(**{name: parts[name] for name in Shown._fields}),
        Inputs(**{name: parts[name] for name in Inputs._fields}),
    )


def _photographs(studio: Studio) -> dict:
    """Upload and gallery."""
    upload = gr.File(
        label="Drop photographs here", file_count="multiple", height=120, elem_id="studio-upload"
    )
    with gr.Row(visible=studio.shelf is not None):
        folder = gr.Dropdown(studio.folders(), label="or take a folder of the server's")
        take = gr.Button("Add folder")
    heading = gr.Markdown("**Photographs**: choose one to draw in", visible=False)
    gallery = gr.Gallery(
        label="Photographs",
        show_label=False,
        buttons=[],
        columns=3,
        allow_preview=False,
        object_fit="cover",
        elem_id="studio-gallery",
        visible=False,
    )
    after = gr.Button("What to label next", visible=False, elem_id="studio-next")
    drop = gr.Button("Remove this photograph", visible=False, size="sm")
    return {
        "upload": upload,
        "folder": folder,
        "take": take,
        "heading": heading,
        "gallery": gallery,
        "after": after,
        "drop": drop,
    }


def _canvas() -> dict:
    """The canvas, the category of new boxes, teach and undo."""
    canvas = image_annotator(
        label="Draw boxes",
        sources=[],
        disable_edit_boxes=True,
        show_download_button=False,
        show_clear_button=False,
        show_remove_button=True,
        box_min_size=LEAST,
        visible=False,
        elem_id="studio-canvas",
    )
    keys = gr.Markdown(KEYS, visible=False)
    with gr.Row(visible=False) as teaching:
        name = gr.Dropdown(
            [],
            value=None,
            allow_custom_value=True,
            label="Category of new boxes",
            elem_id="studio-name",
            scale=2,
        )
        teach = gr.Button("Teach", variant="primary", elem_id="studio-teach", scale=1)
        undo = gr.Button("Undo", elem_id="studio-undo", scale=1)
    return {
        "canvas": canvas,
        "keys": keys,
        "teaching": teaching,
        "name": name,
        "teach": teach,
        "undo": undo,
    }


def _question() -> dict:
    """The message of the last action, the detection in question, and all detections."""
    message = gr.Markdown(elem_id="studio-said")
    with gr.Row(visible=False, elem_classes="studio-answer") as answer:
        image = gr.Image(label="Is this right?", interactive=False, height=220, buttons=[], scale=2)
        with gr.Column(min_width=120, scale=1):
            yes = gr.Button("✓ Yes", variant="primary", elem_id="studio-yes")
            no = gr.Button("✗ No", variant="stop", elem_id="studio-no")
            yes_to_all = gr.Button("✓ All in this photograph", elem_id="studio-every")
    detections = gr.Image(
        label="Detections",
        interactive=False,
        visible=False,
        buttons=["fullscreen"],
        elem_id="studio-found",
    )
    return {
        "message": message,
        "answer": answer,
        "question_image": image,
        "yes": yes,
        "no": no,
        "yes_to_all": yes_to_all,
        "detections": detections,
    }


def _settings() -> dict:
    """Categories with their thresholds."""
    with gr.Column(scale=2, min_width=300):
        table = gr.HTML(elem_id="studio-table")
    with gr.Column(scale=3, min_width=300):
        with gr.Row():
            which = gr.Dropdown([], label="Category", elem_id="studio-which", min_width=120)
            threshold = gr.Slider(
                0.05, 0.95, 0.5, step=0.01, label="Minimum score", elem_id="studio-threshold"
            )
        with gr.Row():
            choose = gr.Button("Choose the score from the shots", size="sm")
            new_name = gr.Textbox(label="New name", max_lines=1, min_width=100)
            rename = gr.Button("Rename", size="sm")
            remove = gr.Button("Delete category", size="sm", variant="stop")
    return {
        "table": table,
        "which": which,
        "threshold": threshold,
        "choose": choose,
        "new_name": new_name,
        "rename": rename,
        "remove": remove,
    }


def _exchange() -> dict:
    """Export of labels and detector, import of both."""
    with gr.Column(min_width=280):
        kind = gr.Radio(list(FORMATS), value="COCO", label="Labels as", elem_id="studio-kind")
        with_photos = gr.Checkbox(True, label="with the photographs")
        pack = gr.Button("Make the zip", elem_id="studio-pack")
        save = gr.Button("Make the detector's file", elem_id="studio-save")
        ready = gr.File(label="Ready", interactive=False, elem_id="studio-away")
    with gr.Column(min_width=280):
        labels = gr.File(label="Labels: a zip (COCO, VOC, YOLO) or a COCO JSON")
        detector = gr.File(label="Another detector: a .safetensors file")
    return {
        "kind": kind,
        "with_photos": with_photos,
        "pack": pack,
        "save": save,
        "ready": ready,
        "labels": labels,
        "detector": detector,
    }
