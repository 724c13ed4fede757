"""Handlers of the page's events: arguments from components in, values of components out."""

import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from fsdet.api.moving import Moving
from fsdet.apps.studio.canvas import Message, message_of
from fsdet.apps.studio.changes import changed_photo, difference
from fsdet.apps.studio.components import Components
from fsdet.apps.studio.project import Box
from fsdet.apps.studio.rendering import crops, rendered
from fsdet.apps.studio.review import answers_of
from fsdet.apps.studio.sent import CACHE
from fsdet.apps.studio.studio import Studio
from fsdet.apps.studio.texts import markdown, plain, refusals, summary
from fsdet.apps.studio.view import View
from fsdet.errors import InputError

Updates = dict[Any, Any]  # component -> its value or update


@dataclass(frozen=True)
class Handlers:
    """Handlers of a studio.

    Their first arguments are the same everywhere: `token` from the browser, the key of the `opened` photograph, and
    the filter of the gallery, `shown`.
    """

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
        self,
        session: str,
        opened: str,
        shown: str,
        message: str = "",
        loop: Callable[[Any], Any] = iter,
    ) -> Updates:
        """Values of all components that follow the session, which learns if its labels have changed."""
        view = self.studio.view(session, loop)
        values = rendered(self.studio, session, opened, shown, message or summary(view), view)
        return {getattr(self.components, name): value for name, value in values.items()}

    def refuse(self, session: str, opened: str, shown: str, error: InputError) -> Updates:
        """A warning, and the session as it is."""
        gr.Warning(plain(error), title="Not done")
        return self.show(session, opened, shown, f"**Not done:** {markdown(error)}")

    def action(self, change: Callable[..., str | None]) -> Callable[..., Updates]:
        """A handler that changes the session and shows the message that `change` returns."""

        def handler(token: str, opened: str, shown: str, *values: Any) -> Updates:
            session = self.session(token)
            try:
                return self.show(session, opened, shown, change(session, opened, *values) or "")
            except InputError as error:
                return self.refuse(session, opened, shown, error)

        return handler

    def begin(self, token: str) -> Updates:
        return self.show(self.session(token), "", "")

    def open_chosen(self, token: str, opened: str, shown: str, event: gr.SelectData) -> Updates:
        session = self.session(token)
        keys = self.studio.view(session).filtered(shown)
        index = event.index if isinstance(event.index, int) else 0
        return self.show(session, keys[index] if 0 <= index < len(keys) else opened, shown)

    def act(
        self,
        token: str,
        opened: str,
        shown: str,
        value: Any,
        bar: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way)
    ) -> Updates:
        """Store the labels on the canvas, and do what its message asks for."""
        session = self.session(token)
        try:
            message = message_of(value)
            if message is None:
                return self.show(session, opened, shown)
            before = self.studio.store.project(session)
            if message.action != "undo":
                self.studio.label(session, message.key, message.labels)
            if message.action == "keep":  # other updates would disturb the drawing
                return {self.components.message: ""}
            if message.action == "undo":
                after = self.studio.store.undo(session)
                key = changed_photo(before, after) or message.key
                told = f"Undone: {markdown(difference(before, after))}."
                return self.show(session, key, shown, told)
            if message.action == "teach":
                self.studio.teach(session)
            return self.show(
                session,
                self._opened_next(self._view_of(session, bar), message),
                shown,
            )
        except InputError as error:
            return self.refuse(session, opened, shown, error)

    def _view_of(self, session: str, bar: gr.Progress) -> View:
        return self.studio.view(session, lambda photos: bar.tqdm(photos, desc="Detecting"))

    def _opened_next(self, view: View, message: Message) -> str:
        """The key of the photograph that an action opens."""
        match message.action:
            case "done":
                return view.after(message.key)
            case "next":
                return view.beside(message.key, 1)
            case "previous":
                return view.beside(message.key, -1)
            case "doubtful":
                return view.doubtful() or message.key
        return message.key

    def accept_above(self, session: str, opened: str, score: float) -> str:
        number = self.studio.accept_above(session, score)
        return f"{number} boxes of a score from {score:.2f} were accepted; Undo takes that back."

    def review(self, token: str, opened: str, shown: str, kind: str, category: str) -> Updates:
        session = self.session(token)
        value = crops(self.studio, session, self.studio.view(session), kind, category)
        if not value["crops"]:
            gr.Info("No boxes of this kind.")
        return {self.components.review: value}

    def answer(self, token: str, opened: str, shown: str, value: Any) -> Updates:
        """Take the answers of the review grid, and empty it."""

        def change(session: str, opened: str) -> str:
            answers = answers_of(value)
            right = [(a.key, Box(a.category, a.corners)) for a in answers if not a.wrong]
            found = {a.key for a in answers if a.score is not None}
            wrong = [(a.key, a.corners) for a in answers if a.wrong]
            self.studio.answer(session, right if found else [], wrong)
            return f"{len(answers) - len(wrong)} boxes were right, {len(wrong)} wrong."

        return self.action(change)(token, opened, shown) | {self.components.review: None}

    def add(self, session: str, opened: str, files: list[str] | None) -> str:
        return refusals(self.studio.add(session, map(Path, files or [])))

    def add_folder(self, session: str, opened: str, folder: str | None) -> str:
        return refusals(self.studio.add_folder(session, folder or ""))

    def remove_photo(self, session: str, opened: str) -> str:
        self.studio.store.change(session, lambda p: p.without_photo(opened))
        return "The photograph was removed; Undo brings it back."

    def set_threshold(self, session: str, opened: str, category: str, value: float) -> None:
        self.studio.store.change(session, lambda p: p.with_threshold(category, value))

    def auto_threshold(self, session: str, opened: str, category: str) -> str:
        self.studio.store.change(session, lambda p: p.with_threshold(category, None))
        value = self.studio.view(session).thresholds[category]
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
        return "The detector was replaced; Undo brings the one before back."

    def move(
        self,
        token: str,
        opened: str,
        shown: str,
        bar: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way)
    ) -> Updates:
        def change(session: str, opened: str) -> str:
            steps = Moving().steps
            self.studio.move(session, lambda done: bar((done, steps), desc="Training"))
            return "The detector was moved; Undo brings the one before back."

        return self.action(change)(token, opened, shown)

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
