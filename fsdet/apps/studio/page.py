"""The page: Gradio's components, and which action of the studio each of them calls."""

import functools
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio_image_annotation import image_annotator
from starlette.middleware import Middleware

from fsdet.apps.hosts import HostGate, names_of
from fsdet.apps.studio.canvas import LEAST, Drawn, with_drawn
from fsdet.apps.studio.shown import CACHE, plain, refusals, shown, summary
from fsdet.apps.studio.studio import Studio
from fsdet.apps.studio.view import Question, View
from fsdet.data.formats.write import FORMATS
from fsdet.errors import InputError

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

        everything = [
            token, key, guide, heading, gallery, after, drop, canvas, keys, teaching, name, said, answer,
            question, asked, seen, settings, table, which, threshold, beside, album, trade,
        ]  # fmt: skip

        def show(session: str, opened: str, words: str = "", view: View | None = None) -> tuple:
            return shown(studio, session, opened, words, view or studio.view(session))

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
                    gr.Warning(plain(error), title="Not done")
                    return show(session, opened, f"**Not done:** {plain(error)}")

            on(handler, [token, key, *inputs], everything, show_progress="minimal", api_name=called)

        def begin(session: str) -> tuple:
            return show(_session(studio, session), "")

        page.load(begin, token, everything)

        def keep(session: str, opened: str, boxes: list[Drawn], typed: str | None) -> None:
            """What was drawn, as soon as it is; nothing is sent back that could disturb the drawing."""
            if not studio.store.has(session) or not opened:
                return
            try:
                studio.store.change(session, lambda p: with_drawn(p, opened, boxes, typed))
            except InputError as error:
                gr.Warning(plain(error), title="Not kept")

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
                    studio.store.change(session, lambda p: with_drawn(p, opened, boxes, typed))
                studio.teach(session, typed or "")
                view = studio.view(session, lambda loop: progress.tqdm(loop, desc="Looking"))
                yield show(session, opened, summary(view), view)
                chosen = studio.choose(session)
                if chosen.thresholds != view.thresholds:
                    yield show(session, opened, summary(chosen), chosen)
            except InputError as error:
                gr.Warning(plain(error), title="Not done")
                yield show(session, opened, f"**Not done:** {plain(error)}")

        teach.click(learn, [token, key, canvas, name], everything, show_progress="minimal")

        def add(session: str, opened: str, files: list[str] | None) -> str:
            return refusals(studio.add(session, map(Path, files or [])))

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
            return summary(studio.view(session))

        def accept_all(session: str, opened: str, asked: Question | None) -> str:
            if asked is not None:
                for found in studio.view(session).pending(asked.key):
                    studio.accept(session, Question(asked.key, found))
            return summary(studio.view(session))

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
            return refusals(studio.bring_labels(session, Path(file)))

        def bring_detector(session: str, opened: str, file: str) -> str:
            studio.bring_detector(session, Path(file))
            return "The detector was exchanged."

        action("add", add, upload, on=upload.upload)
        upload.upload(lambda: None, None, upload, api_visibility="private")
        action(
            "add_folder",
            lambda s, o, f: refusals(studio.add_folder(s, f or "")),
            folder,
            on=take.click,
        )
        gallery.select(choose_photo, [token, key], everything, show_progress="minimal")
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
                gr.Warning(plain(error), title="Not done")
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
    """Serve the page until it is stopped and print its address; port 0 takes any free port.

    Pages of other sites are refused, uploads included (`fsdet.apps.hosts`).
    """
    hosts = names_of(host) if password is None else None
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
        app_kwargs={"middleware": [Middleware(HostGate, hosts=hosts)]},
        prevent_thread_lock=True,
    )
    print(f"the studio is open at {address} (Ctrl-C closes it; sessions stay)", flush=True)
    page.block_thread()


def _free(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        return probe.getsockname()[1]


def _session(studio: Studio, token: object) -> str:
    """The browser's session, or a new one where there is none."""
    try:
        return token if studio.store.has(token) else studio.store.begin()  # type: ignore[return-value]
    except InputError as error:
        raise gr.Error(plain(error)) from error
