"""Handlers of the page's events: arguments from components in, values of components out."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from fsdet.apps.studio.canvas import Drawn, with_drawn
from fsdet.apps.studio.components import Components
from fsdet.apps.studio.rendering import CACHE, markdown, plain, refusals, rendered, summary
from fsdet.apps.studio.studio import Studio
from fsdet.apps.studio.view import Question, View
from fsdet.errors import InputError

Updates = dict[Any, Any]  # component -> its value or update


@dataclass(frozen=True)
class Handlers:
    """Handlers of a studio; `token` comes from the browser, `opened` is the key of the opened photograph."""

    studio: Studio
    components: Components

    def session(self, token: object) -> str:
        """The browser's session, or a new one."""
        store = self.studio.store
        try:
            return token if store.has(token) else store.begin()
        except InputError as error:
            raise gr.Error(plain(error)) from error

    def show(
        self, session: str, opened: str, message: str = "", view: View | None = None
    ) -> Updates:
        """Values of all components that follow the session."""
        values = rendered(self.studio, session, opened, message, view or self.studio.view(session))
        return {getattr(self.components, name): value for name, value in values.items()}

    def refuse(self, session: str, opened: str, error: InputError) -> Updates:
        """A warning, and the session as it is."""
        gr.Warning(plain(error), title="Not done")
        return self.show(session, opened, f"**Not done:** {markdown(error)}")

    def action(self, change: Callable[..., str | None]) -> Callable[..., Updates]:
        """A handler that changes the session and shows the message that `change` returns."""

        def handler(token: str, opened: str, *values: Any) -> Updates:
            session = self.session(token)
            try:
                return self.show(session, opened, change(session, opened, *values) or "")
            except InputError as error:
                return self.refuse(session, opened, error)

        return handler

    def answer(self, store: Callable[[str, Question], None]) -> Callable[..., str]:
        """A change that stores the answer to a question; see `action`."""

        def change(session: str, opened: str, question: Question | None) -> str:
            if question is not None:
                store(session, question)
            return summary(self.studio.view(session))

        return change

    def begin(self, token: str) -> Updates:
        return self.show(self.session(token), "")

    def open_next(self, token: str, opened: str) -> Updates:
        session = self.session(token)
        try:
            return self.show(session, self.studio.view(session).next())
        except InputError as error:
            return self.refuse(session, opened, error)

    def open_chosen(self, token: str, opened: str, event: gr.SelectData) -> Updates:
        session = self.session(token)
        photos = self.studio.store.project(session).photos
        index = event.index if isinstance(event.index, int) else 0
        return self.show(session, photos[index].key if 0 <= index < len(photos) else "")

    def save_boxes(self, session: str, opened: str, boxes: list[Drawn], name: str | None) -> None:
        """Store the boxes on the canvas while it is in use; updates would disturb the drawing."""
        if not self.studio.store.has(session) or not opened:
            return
        try:
            self.studio.store.change(session, lambda p: with_drawn(p, opened, boxes, name))
        except InputError as error:
            gr.Warning(plain(error), title="Not saved")

    def teach(
        self,
        token: str,
        opened: str,
        boxes: list[Drawn],
        name: str | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way)
    ) -> Iterator[Updates]:
        """Register the drawn boxes and show detections, then again with thresholds from the shots."""
        session = self.session(token)
        try:
            if opened:
                self.studio.store.change(session, lambda p: with_drawn(p, opened, boxes, name))
            self.studio.teach(session, name or "")
            view = self.studio.view(session, lambda loop: progress.tqdm(loop, desc="Detecting"))
            yield self.show(session, opened, summary(view), view)
            chosen = self.studio.choose(session)
            if chosen.thresholds != view.thresholds:
                yield self.show(session, opened, summary(chosen), chosen)
        except InputError as error:
            yield self.refuse(session, opened, error)

    def add(self, session: str, opened: str, files: list[str] | None) -> str:
        return refusals(self.studio.add(session, map(Path, files or [])))

    def add_folder(self, session: str, opened: str, folder: str | None) -> str:
        return refusals(self.studio.add_folder(session, folder or ""))

    def undo(self, session: str, opened: str) -> str:
        self.studio.store.undo(session)
        return "The last change was undone."

    def remove_photo(self, session: str, opened: str) -> str:
        self.studio.store.change(session, lambda p: p.without_photo(opened))
        return "The photograph was removed; Undo brings it back."

    def set_threshold(self, session: str, opened: str, category: str, value: float) -> None:
        self.studio.store.change(session, lambda p: p.with_threshold(category, value))

    def choose_threshold(self, session: str, opened: str, category: str) -> str:
        self.studio.store.change(session, lambda p: p.with_threshold(category, None))
        value = self.studio.choose(session).thresholds[category]
        return f"**{markdown(category)}** is shown from a score of {value:.2f}."

    def rename(self, session: str, opened: str, category: str, name: str) -> None:
        self.studio.store.change(session, lambda p: p.renamed(category, name))

    def delete_category(self, session: str, opened: str, category: str) -> str:
        self.studio.store.change(session, lambda p: p.without_category(category))
        return f"**{markdown(category)}** was deleted; Undo brings it back."

    def import_labels(self, session: str, opened: str, file: str) -> str:
        return refusals(self.studio.import_labels(session, Path(file)))

    def import_detector(self, session: str, opened: str, file: str) -> str:
        self.studio.import_detector(session, Path(file))
        return "The detector was replaced."

    def threshold_of(self, token: str, category: str) -> float:
        return self.studio.view(self.session(token)).thresholds.get(category, 0.5)

    def export_labels(self, token: str, kind: str, with_photos: bool) -> str | None:
        return self._file(
            token,
            f"labels-{str(kind).lower()[:8]}.zip",
            lambda session, path: self.studio.export_labels(session, kind, path, with_photos),
        )

    def export_detector(self, token: str) -> str | None:
        return self._file(
            token,
            "detector.safetensors",
            lambda session, path: self.studio.view(session).detector().save(path),
        )

    def _file(self, token: str, name: str, write: Callable[[str, Path], object]) -> str | None:
        """A file for the browser in a folder of its own."""
        path = Path(CACHE) / secrets.token_hex(16) / name
        path.parent.mkdir(parents=True)
        try:
            write(self.session(token), path)
        except InputError as error:
            shutil.rmtree(path.parent)
            gr.Warning(plain(error), title="Not done")
            return None
        return str(path)
