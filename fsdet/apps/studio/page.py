"""The studio's page: its components, the handlers of its events, and its server."""

import socket
from collections.abc import Callable
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from fsdet.apps.hosts import HostGate, names_of
from fsdet.apps.studio.components import Components
from fsdet.apps.studio.handlers import Handlers
from fsdet.apps.studio.studio import Studio

UPLOAD = "500mb"  # limit of any file; photographs have their own
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
        secret: see `Components`.
    """
    with gr.Blocks(
        title="fsdet studio", analytics_enabled=False, delete_cache=(3600, 86400)
    ) as page:
        components = Components(studio, secret)
        handlers = Handlers(studio, components)
        page.load(handlers.begin, components.token, components.outputs)
        connect(components, handlers)
    return page


def connect(components: Components, handlers: Handlers) -> None:
    """Connect every event of the page with its handler."""
    c, h, studio = components, handlers, handlers.studio
    session, outputs = [c.token, c.key], c.outputs

    def on(
        event: Any, name: str, handler: Callable[..., Any], *arguments: gr.components.Component
    ) -> None:
        event(handler, [*session, *arguments], outputs, show_progress="minimal", api_name=name)

    def act(event: Any, name: str, change: Callable[..., str | None], *arguments: Any) -> None:
        on(event, name, h.action(change), *arguments)

    c.canvas.change(
        h.save_boxes, [*session, c.canvas, c.name], api_name="keep", show_progress="hidden"
    )
    on(c.teach.click, "learn", h.teach, c.canvas, c.name)
    on(c.gallery.select, "choose_photo", h.open_chosen)
    on(c.after.click, "next", h.open_next)
    act(c.upload.upload, "add", h.add, c.upload)
    c.upload.upload(lambda: None, None, c.upload, api_visibility="private")
    act(c.take.click, "add_folder", h.add_folder, c.folder)
    act(c.drop.click, "remove_photo", h.remove_photo)
    act(c.yes.click, "yes", h.answer(studio.accept), c.question)
    act(c.no.click, "no", h.answer(studio.reject), c.question)
    act(c.yes_to_all.click, "yes_to_all", h.answer(studio.accept_all), c.question)
    act(c.undo.click, "undo", h.undo)
    act(c.threshold.release, "least", h.set_threshold, c.which, c.threshold)
    act(c.choose.click, "least_again", h.choose_threshold, c.which)
    act(c.rename.click, "rename", h.rename, c.which, c.new_name)
    act(c.remove.click, "delete_category", h.delete_category, c.which)
    act(c.labels.upload, "bring_labels", h.import_labels, c.labels)
    act(c.detector.upload, "bring_detector", h.import_detector, c.detector)
    c.which.input(h.threshold_of, [c.token, c.which], c.threshold)
    c.pack.click(h.export_labels, [c.token, c.kind, c.with_photos], c.ready, api_name="make_zip")
    c.save.click(h.export_detector, c.token, c.ready, api_name="make_detector")


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
