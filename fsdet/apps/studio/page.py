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
#studio-progress { font-size: 16px; }
#studio-gallery .grid-wrap { height: auto; max-height: 62vh; padding: 0; }
#studio-gallery, #studio-gallery .gallery-container { height: auto; }
#studio-gallery .grid-container { grid-template-columns: repeat(2, minmax(0, 1fr)) !important; }
#studio-gallery .thumbnail-item { width: 100%; min-width: 0; }
#studio-table .prose { overflow-x: auto; }
#studio-table table { width: 100%; font-size: 12px; }
#studio-table th, #studio-table td { padding: 3px 4px !important; }
footer { display: none !important; }
@media (max-width: 700px) {
  #studio-strip { order: 2; }
  #studio-gallery .grid-wrap { max-height: 30vh; }
}
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
    c, h = components, handlers
    session, outputs = [c.token, c.key, c.filter], c.outputs

    def on(
        event: Any, name: str, handler: Callable[..., Any], *arguments: Any, **more: Any
    ) -> None:
        # On the message only: the canvas would fade at every stroke.
        options = {"outputs": outputs, "show_progress": "minimal", "show_progress_on": c.message}
        event(handler, [*session, *arguments], api_name=name, **options | more)

    def act(event: Any, name: str, change: Callable[..., str | None], *arguments: Any) -> None:
        on(event, name, h.action(change), *arguments)

    # Of messages that come while one is answered only the last is kept: it has all labels.
    on(c.canvas.act, "act", h.act, c.canvas, trigger_mode="always_last")
    on(c.gallery.select, "choose_photo", h.open_chosen)
    act(c.filter.input, "filter", lambda session, opened: None)
    act(c.upload.upload, "add", h.add, c.upload)
    c.upload.upload(lambda: None, None, c.upload, api_visibility="private")
    act(c.take.click, "add_folder", h.add_folder, c.folder)
    act(c.drop.click, "remove_photo", h.remove_photo)
    act(c.accept.click, "accept_above", h.accept_above, c.least)
    on(c.look.click, "review", h.review, c.review_kind, c.review_name, outputs=c.review)
    on(c.review.answer, "answer", h.answer, c.review, outputs=[*outputs, c.review])
    act(c.threshold.release, "threshold", h.set_threshold, c.which, c.threshold)
    act(c.auto.click, "auto_threshold", h.auto_threshold, c.which)
    act(c.rename.click, "rename", h.rename, c.which, c.new_name)
    act(c.remove.click, "delete_category", h.delete_category, c.which)
    act(c.labels.upload, "import_labels", h.import_labels, c.labels)
    act(c.detector.upload, "import_detector", h.import_detector, c.detector)
    on(c.move.click, "move", h.move)
    c.which.input(h.threshold_of, [c.token, c.which], c.threshold)
    c.pack.click(
        h.export_labels, [c.token, c.kind, c.with_photos], c.ready, api_name="export_labels"
    )
    c.save.click(h.export_detector, c.token, c.ready, api_name="export_detector")


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
