"""The page: Gradio's components, and which action of the studio each of them calls."""

import functools
import hashlib
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder
from gradio_image_annotation import image_annotator

from fsdet.data.write import FORMATS
from fsdet.errors import InputError
from fsdet.files import write_whole
from fsdet.report import palette
from fsdet.studio import pictures
from fsdet.studio.project import Box, Corners, Photo, Project
from fsdet.studio.studio import Studio
from fsdet.studio.view import Question, View

CANVAS, THUMB = 1024, 300  # pixels of the longer side
CACHE = get_upload_folder()  # of Gradio: what lies in it may be sent to the page
WHITE = (255, 255, 255)
LEAST = 3  # pixels of a box's sides on the canvas
UPLOAD = "500mb"  # a file of any kind; photographs have a limit of their own
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
CSS = """
#studio-canvas canvas { touch-action: none; }
#studio-gallery .grid-wrap { height: auto; max-height: 60vh; padding: 0; }
#studio-gallery, #studio-gallery .gallery-container { height: auto; }
#studio-table table { width: 100%; }
.studio-answer button { min-height: 44px; }
footer { display: none !important; }
"""


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


def build(studio: Studio, secret: str) -> gr.Blocks:
    """The page of a studio.

    Args:
        secret: of the browser's note of its session: the same after a restart, or sessions are lost to it.
    """
    with gr.Blocks(
        title="fsdet studio", analytics_enabled=False, delete_cache=(3600, 86400)
    ) as page:
        token = gr.BrowserState("", storage_key="fsdet-studio", secret=secret)
        key = gr.State("")
        question = gr.State(None)
        guide = gr.Markdown(EMPTY, elem_id="studio-guide")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                upload = gr.File(
                    label="Drop photographs here",
                    file_count="multiple",
                    height=120,
                    elem_id="studio-upload",
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
            with gr.Column(scale=3, min_width=320):
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
                        label="What new boxes show",
                        elem_id="studio-name",
                        scale=2,
                    )
                    teach = gr.Button("Teach", variant="primary", elem_id="studio-teach", scale=1)
                    undo = gr.Button("Undo", elem_id="studio-undo", scale=1)
                said = gr.Markdown(elem_id="studio-said")
                with gr.Row(visible=False, elem_classes="studio-answer") as answer:
                    asked = gr.Image(
                        label="Is this right?",
                        interactive=False,
                        height=220,
                        buttons=[],
                        scale=2,
                    )
                    with gr.Column(min_width=120, scale=1):
                        yes = gr.Button("✓ Yes", variant="primary", elem_id="studio-yes")
                        no = gr.Button("✗ No", variant="stop", elem_id="studio-no")
                        every = gr.Button("✓ All in this photograph", elem_id="studio-every")
                seen = gr.Image(
                    label="Found",
                    interactive=False,
                    visible=False,
                    buttons=["fullscreen"],
                    elem_id="studio-found",
                )
        with gr.Row(visible=False) as settings:
            with gr.Column(scale=2, min_width=300):
                table = gr.HTML(elem_id="studio-table")
            with gr.Column(scale=3, min_width=300):
                with gr.Row():
                    which = gr.Dropdown([], label="Category", elem_id="studio-which", min_width=120)
                    threshold = gr.Slider(
                        0.05, 0.95, 0.5, step=0.01, label="Least score", elem_id="studio-threshold"
                    )
                with gr.Row():
                    chosen = gr.Button("Choose the score from the shots", size="sm")
                    renamed = gr.Textbox(label="New name", max_lines=1, min_width=100)
                    rename = gr.Button("Rename", size="sm")
                    remove = gr.Button("Delete category", size="sm", variant="stop")
        with gr.Accordion("Shots beside what they found", open=False, visible=False) as beside:
            album = gr.Gallery(show_label=False, columns=8, buttons=[], elem_id="studio-album")
        with (
            gr.Accordion(
                "Take away, bring in", open=False, visible=False, elem_id="studio-trade"
            ) as trade,
            gr.Row(),
        ):
            with gr.Column(min_width=280):
                kind = gr.Radio(
                    list(FORMATS), value="COCO", label="Labels as", elem_id="studio-kind"
                )
                photos = gr.Checkbox(True, label="with the photographs")
                pack = gr.Button("Make the zip", elem_id="studio-pack")
                save = gr.Button("Make the detector's file", elem_id="studio-save")
                away = gr.File(label="Ready", interactive=False, elem_id="studio-away")
            with gr.Column(min_width=280):
                labels = gr.File(label="Labels: a zip (COCO, VOC, YOLO) or a COCO JSON")
                other = gr.File(label="Another detector: a .safetensors file")

        shown = [
            token, key, guide, heading, gallery, after, drop, canvas, keys, teaching, name, said, answer,
            question, asked, seen, settings, table, which, threshold, beside, album, trade,
        ]  # fmt: skip

        def show(session: str, opened: str, words: str = "", view: View | None = None) -> tuple:
            return _shown(studio, session, opened, words, view or studio.view(session))

        def action(
            called: str, does: Callable[..., str | None], *inputs: Any, on: Any, opens: bool = False
        ) -> None:
            """An event that changes the session: what `does` says is shown, or the photograph it opens."""

            def handler(session: str, opened: str, *values: Any) -> tuple:
                session = _session(studio, session)
                try:
                    result = does(session, opened, *values) or ""
                    return show(session, result, "") if opens else show(session, opened, result)
                except InputError as error:
                    gr.Warning(_plain(error), title="Not done")
                    return show(session, opened, f"**Not done:** {_plain(error)}")

            on(handler, [token, key, *inputs], shown, show_progress="minimal", api_name=called)

        def begin(session: str) -> tuple:
            return show(_session(studio, session), "")

        page.load(begin, token, shown)

        def keep(session: str, opened: str, boxes: list[Drawn], typed: str | None) -> None:
            """What was drawn, as soon as it is; nothing is sent back that could disturb the drawing."""
            if not studio.store.has(session) or not opened:
                return
            try:
                studio.store.change(session, lambda p: _with_drawn(p, opened, boxes, typed))
            except InputError as error:
                gr.Warning(_plain(error), title="Not kept")

        canvas.change(keep, [token, key, canvas, name], None, show_progress="hidden")

        def learn(
            session: str,
            opened: str,
            boxes: list[Drawn],
            typed: str | None,
            progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way)
        ) -> Iterator[tuple]:
            session = _session(studio, session)
            try:
                if opened:
                    studio.store.change(session, lambda p: _with_drawn(p, opened, boxes, typed))
                studio.teach(session, typed or "")
                view = studio.view(session, lambda loop: progress.tqdm(loop, desc="Looking"))
                yield show(session, opened, _summary(view), view)
                chosen = studio.choose(session)
                if chosen.thresholds != view.thresholds:
                    yield show(session, opened, _summary(chosen), chosen)
            except InputError as error:
                gr.Warning(_plain(error), title="Not done")
                yield show(session, opened, f"**Not done:** {_plain(error)}")

        teach.click(learn, [token, key, canvas, name], shown, show_progress="minimal")

        def add(session: str, opened: str, files: list[str] | None) -> str:
            return _refusals(studio.add(session, map(Path, files or [])))

        def choose_photo(session: str, opened: str, event: gr.SelectData) -> tuple:
            session = _session(studio, session)
            project = studio.store.project(session)
            place = event.index if isinstance(event.index, int) else 0
            there = 0 <= place < len(project.photos)
            return show(session, project.photos[place].key if there else "")

        def answered(
            does: Callable[[str, Question], None],
            session: str,
            opened: str,
            asked: Question | None,
        ) -> str:
            if asked is not None:
                does(session, asked)
            return _summary(studio.view(session))

        def accept_all(session: str, opened: str, asked: Question | None) -> str:
            if asked is not None:
                for found in studio.view(session).pending(asked.key):
                    studio.accept(session, Question(asked.key, found))
            return _summary(studio.view(session))

        def take_back(session: str, opened: str) -> str:
            studio.store.undo(session)
            return "The last change was taken back."

        def without(session: str, opened: str) -> str:
            studio.store.change(session, lambda p: p.without_photo(opened))
            return "The photograph was removed; Undo brings it back."

        def least(session: str, opened: str, category: str, value: float) -> str:
            studio.store.change(session, lambda p: p.with_threshold(category, value))
            return ""

        def least_again(session: str, opened: str, category: str) -> str:
            studio.store.change(session, lambda p: p.with_threshold(category, None))
            value = studio.choose(session).thresholds[category]
            return f"**{category}** is shown from a score of {value:.2f} on."

        def new_name(session: str, opened: str, category: str, text: str) -> str:
            studio.store.change(session, lambda p: p.renamed(category, text))
            return ""

        def no_category(session: str, opened: str, category: str) -> str:
            studio.store.change(session, lambda p: p.without_category(category))
            return f"**{category}** was deleted; Undo brings it back."

        def bring_labels(session: str, opened: str, file: str) -> str:
            return _refusals(studio.bring_labels(session, Path(file)))

        def bring_detector(session: str, opened: str, file: str) -> str:
            studio.bring_detector(session, Path(file))
            return "The detector was exchanged."

        action("add", add, upload, on=upload.upload)
        upload.upload(lambda: None, None, upload, api_visibility="private")
        action(
            "add_folder",
            lambda s, o, f: _refusals(studio.add_folder(s, f or "")),
            folder,
            on=take.click,
        )
        gallery.select(choose_photo, [token, key], shown, show_progress="minimal")
        action("next", lambda s, o: studio.view(s).next(), on=after.click, opens=True)
        action("remove_photo", without, on=drop.click)
        action("yes", functools.partial(answered, studio.accept), question, on=yes.click)
        action("no", functools.partial(answered, studio.reject), question, on=no.click)
        action("yes_to_all", accept_all, question, on=every.click)
        action("undo", take_back, on=undo.click)
        action("least", least, which, threshold, on=threshold.release)
        action("least_again", least_again, which, on=chosen.click)
        action("rename", new_name, which, renamed, on=rename.click)
        action("delete_category", no_category, which, on=remove.click)
        action("bring_labels", bring_labels, labels, on=labels.upload)
        action("bring_detector", bring_detector, other, on=other.upload)

        def threshold_of(session: str, category: str) -> float:
            return studio.view(_session(studio, session)).thresholds.get(category, 0.5)

        which.input(threshold_of, [token, which], threshold)

        def file_for(session: str, make: Callable[[str, Path], None], file: str) -> str | None:
            place = Path(CACHE) / secrets.token_hex(16) / file
            place.parent.mkdir(parents=True)
            try:
                make(_session(studio, session), place)
            except InputError as error:
                shutil.rmtree(place.parent)
                gr.Warning(_plain(error), title="Not done")
                return None
            return str(place)

        def make_zip(session: str, form: str, with_photos: bool) -> str | None:
            def make(session: str, to: Path) -> None:
                studio.labels(session, form, to, with_photos)

            return file_for(session, make, f"labels-{str(form).lower()[:8]}.zip")

        def make_detector(session: str) -> str | None:
            def make(session: str, to: Path) -> None:
                studio.view(session).lesson.detector.save(to)

            return file_for(session, make, "detector.safetensors")

        pack.click(make_zip, [token, kind, photos], away)
        save.click(make_detector, token, away)
    return page


def serve(studio: Studio, host: str, port: int, password: str | None, secret: str) -> None:
    """Open the page until it is stopped; its address is printed. Port 0: any that is free."""
    page = build(studio, secret).queue(default_concurrency_limit=4, max_size=200)
    _, address, _ = page.launch(
        server_name=host,
        server_port=port or _free(host),
        auth=None if password is None else ("studio", password),
        max_file_size=UPLOAD,
        blocked_paths=[str(studio.store.folder.resolve())],
        css=CSS,
        footer_links=[],
        share=False,
        quiet=True,
        show_error=True,
        enable_monitoring=False,
        ssr_mode=False,
        prevent_thread_lock=True,
    )
    print(f"the studio is open at {address} (Ctrl-C closes it; sessions stay)", flush=True)
    page.block_thread()


def _free(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        return probe.getsockname()[1]


def _with_drawn(project: Project, key: str, boxes: list[Drawn], typed: str | None) -> Project:
    """The project with a photograph's boxes as the canvas has them; new ones take the name that is typed."""
    scale = _scale(project.photo(key))
    before = {(box.category, _on_canvas(box, scale)): box for box in project.of(key).boxes}
    made = []
    for label, (x1, y1, x2, y2) in boxes:
        if min(x2 - x1, y2 - y1) < LEAST:  # the mouse has just gone down
            continue
        name = label if label in project.categories else (typed or "").strip()
        box = Box(name, (x1 / scale, y1 / scale, x2 / scale, y2 / scale))
        # One that was not touched stays what it was, to the last digit.
        made.append(before.get((name, _on_canvas(box, scale)), box))
    return project.drawn(key, made)


def _scale(photo: Photo) -> float:
    """Pixels of the canvas for each of a photograph: small ones are enlarged, to be drawn in."""
    return CANVAS / max(photo.width, photo.height)


def _on_canvas(box: Box, scale: float) -> tuple[int, ...]:
    return tuple(round(value * scale) for value in box.corners)


def _session(studio: Studio, token: object) -> str:
    """The browser's session, or a new one where there is none."""
    try:
        return token if studio.store.has(token) else studio.store.begin()  # type: ignore[return-value]
    except InputError as error:
        raise gr.Error(_plain(error)) from error


def _shown(studio: Studio, session: str, opened: str, words: str, view: View) -> tuple:
    """Everything on the page, for the order of `shown`."""
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
        image, scale = studio.picture(session, opened, CANVAS)
        value = {
            "image": _sent(image),
            "boxes": [
                dict(
                    zip(("xmin", "ymin", "xmax", "ymax"), _on_canvas(box, scale), strict=True),
                    label=box.category,
                    color=colours.get(box.category, pictures.REJECTED),
                )
                for box in labels.boxes
            ],
        }
        found_picture = pictures.with_boxes(image, scale, labels, waiting, colours)
    question = view.question(opened)
    cuts = pictures.album(lambda key: studio.picture(session, key, CANVAS), view, colours)
    names = list(project.categories)
    first = names[0] if names else None
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
        gr.update(choices=names, value=first),
        round(view.thresholds[first], 2) if first else 0.5,
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
    part = pictures.cut(studio.picture(session, key, CANVAS), found.box, WHITE)
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


def _summary(view: View) -> str:
    counts, shots = view.counts(), view.project.shots()
    parts = [
        f"**{_escaped(name)}** from {shots[name]} {'box' if shots[name] == 1 else 'boxes'}: {counts[name]} found"
        for name in view.project.categories
    ]
    return f"{'; '.join(parts)}. ({view.seconds:.1f} s)" if parts else ""


def _refusals(refused: list[str]) -> str:
    if not refused:
        return ""
    gr.Warning("; ".join(refused[:3]), title=f"{len(refused)} left out")
    return "**Left out:** " + "; ".join(map(_escaped, refused[:10]))


def _plain(error: InputError) -> str:
    return _escaped(" ".join(str(error).split()))
