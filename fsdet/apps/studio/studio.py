"""Actions of the studio, independent of the page; each takes the token of a session."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from cachetools import LRUCache, cachedmethod

from fsdet.api.detector import Detector
from fsdet.api.load import load
from fsdet.apps.studio import labels, pictures
from fsdet.apps.studio.lesson import DEFAULT_THRESHOLD, Teacher
from fsdet.apps.studio.project import Box, Project
from fsdet.apps.studio.store import Store
from fsdet.apps.studio.view import Question, View
from fsdet.data.images import SUFFIXES
from fsdet.data.paths import resolve_inside
from fsdet.errors import InputError

PICTURE_BYTES = 300 * 10**6  # of cached fitted photographs
IMPORTED_GIGABYTES = 0.5  # of the caches of an imported detector


class Studio:
    """Sessions, and the detectors that learn their categories.

    Args:
        detector: base detector of every session that has not imported another.
        shelf: a folder on the server whose photographs may be added; None: no such folder.
    """

    def __init__(self, store: Store, detector: Detector, shelf: Path | None = None):
        self.store, self.shelf = store, shelf
        self._own = Teacher(detector)
        self._imported: LRUCache[str, Teacher] = LRUCache(2)
        self._views: LRUCache[str, View] = LRUCache(64)
        self._pictures: LRUCache[tuple[str, int], tuple[np.ndarray, float]]
        self._pictures = LRUCache(PICTURE_BYTES, lambda picture: picture[0].nbytes)
        self._lock = threading.Lock()

    # Views

    def view(self, token: str, progress: Callable[[Iterable], Iterable] = iter) -> View:
        """Learn a session's labels and detect its categories in all its photographs, if they have changed.

        Thresholds stay as they are; in the first view after a start they are chosen from the shots.
        """
        project, start = self.store.project(token), time.perf_counter()
        teacher, read = self._teacher(token, project), self._reader(token)
        with self._lock:
            old = self._views.get(token)
        if old is not None and _taught(old.project) == _taught(project):
            lesson, seconds = old.lesson, old.seconds
        else:
            lesson = teacher.lesson(project, read, progress)
            seconds = time.perf_counter() - start
        last = teacher.thresholds(project, read) if old is None else old.thresholds
        chosen = {name: last.get(name, DEFAULT_THRESHOLD) for name in project.categories}
        return self._store_view(
            token, View(project, lesson, chosen | dict(project.thresholds), seconds)
        )

    def choose(self, token: str) -> View:
        """The view with thresholds chosen from the shots, except those set by hand."""
        view = self.view(token)
        chosen = self._teacher(token, view.project).thresholds(view.project, self._reader(token))
        by_hand = {n: t for n, t in view.project.thresholds.items() if n in chosen}
        return self._store_view(token, replace(view, thresholds=chosen | by_hand))

    def picture(self, token: str, key: str, side: int) -> tuple[np.ndarray, float]:
        """A photograph of a session, fitted: see `fsdet.apps.studio.pictures.fitted`."""
        self.store.file(token, key)  # raises if it is not the session's
        return self._picture(token, key, side)

    # Answers and drawings

    def add(self, token: str, files: Iterable[Path]) -> list[str]:
        """Add photographs, and compute their candidates.

        Returns:
            A message for each refused file.
        """
        most = self.store.limits.megabytes * 10**6

        def contents() -> Iterable[tuple[str, bytes]]:
            for file in files:
                size = file.stat().st_size
                # One byte above the limit is enough to be refused.
                yield file.name, file.read_bytes() if size <= most else bytes(most + 1)

        before = self.store.project(token)
        teacher = self._teacher(token, before)
        project, refused = self.store.add(token, contents(), teacher.check)
        keys = {photo.key for photo in before.photos}
        new = [photo.key for photo in project.photos if photo.key not in keys]
        teacher.prepare(new, self._reader(token))
        return refused

    def folders(self) -> list[str]:
        """Folders of the shelf with photographs."""
        if self.shelf is None:
            return []
        folders = [self.shelf, *(path for path in sorted(self.shelf.rglob("*")) if path.is_dir())]
        return [str(path.relative_to(self.shelf)) for path in folders[:1000] if _photos(path)]

    def add_folder(self, token: str, name: str) -> list[str]:
        """Add the photographs of a folder of the shelf; see `add`.

        Raises:
            InputError: no shelf, or no such folder on it.
        """
        if self.shelf is None:
            raise InputError(
                "the studio was started without --photos: there is no folder to take from"
            )
        folder = resolve_inside(self.shelf, name)
        if not folder.is_dir():
            raise InputError(f"expected one of {', '.join(self.folders()[:8])}, got '{name:.80}'")
        names = [str(file.relative_to(self.shelf)) for file in _photos(folder)]
        return self.add(token, [resolve_inside(self.shelf, name) for name in names])

    def teach(self, token: str, name: str) -> None:
        """Give this category to the boxes without one.

        Raises:
            InputError: no box at all, or boxes without a category and a wrong name.
        """
        project = self.store.project(token)
        if any(not box.category for labels in project.labels.values() for box in labels.boxes):
            self.store.change(token, lambda p: p.named(name))
        elif not project.categories:
            raise InputError(
                "nothing to learn yet: open a photograph and draw a box around an object"
            )

    def accept(self, token: str, question: Question) -> None:
        """Accept a detection."""
        box = Box(question.detection.name, question.detection.box)
        self.store.change(token, lambda p: p.accepted(question.key, box))

    def accept_all(self, token: str, question: Question) -> None:
        """Accept all pending detections in the photograph of a question."""
        for detection in self.view(token).pending(question.key):
            self.accept(token, Question(question.key, detection))

    def reject(self, token: str, question: Question) -> None:
        """Reject a detection."""
        self.store.change(token, lambda p: p.rejected(question.key, question.detection.box))

    # Export and import

    def export_labels(self, token: str, kind: str, to: Path, with_photos: bool) -> None:
        """Write the labels as the zip of a data set; see `fsdet.apps.studio.labels.write_zip`."""
        file_of = (lambda key: self.store.file(token, key)) if with_photos else None
        labels.write_zip(self.store.project(token), kind, to, file_of)

    def import_labels(self, token: str, file: Path) -> list[str]:
        """Add the labels of a data set, and its photographs.

        Returns:
            A message for each refused photograph.
        """
        photos = self.store.project(token).photos
        files = {photo.name: self.store.file(token, photo.key) for photo in photos}
        boxes, contents = labels.read_labels(file.read_bytes(), file.name, files)
        with TemporaryDirectory() as folder:
            for name, content in contents.items():
                (Path(folder) / name).write_bytes(content)
            refused = self.add(token, sorted(Path(folder).iterdir()))

        def change(project: Project) -> Project:
            for photo in project.photos:
                if boxes.get(photo.name):
                    project = project.drawn(photo.key, boxes[photo.name])
            return project

        self.store.change(token, change)
        return refused

    def import_detector(self, token: str, file: Path) -> None:
        """Replace the base detector of a session.

        Raises:
            InputError: no detector, or a photograph of the session is too narrow for it.
        """
        teacher = Teacher(load(file), IMPORTED_GIGABYTES)
        for photo in self.store.project(token).photos:
            teacher.check(photo)
        key = self.store.put_detector(token, file.read_bytes())
        with self._lock:
            self._imported[key] = teacher
        self.store.change(token, lambda p: replace(p, detector=key))

    # Caches

    def _teacher(self, token: str, project: Project) -> Teacher:
        if not project.detector:
            return self._own
        with self._lock:
            if project.detector not in self._imported:
                detector = load(self.store.detector(token, project.detector))
                self._imported[project.detector] = Teacher(detector, IMPORTED_GIGABYTES)
            return self._imported[project.detector]

    def _reader(self, token: str) -> Callable[[str], np.ndarray]:
        return lambda key: self.store.image(token, key)

    @cachedmethod(
        lambda self: self._pictures,
        key=lambda self, token, key, side: (key, side),
        lock=lambda self: self._lock,
    )
    def _picture(self, token: str, key: str, side: int) -> tuple[np.ndarray, float]:
        return pictures.fitted(self.store.image(token, key), side)

    def _store_view(self, token: str, view: View) -> View:
        with self._lock:
            self._views[token] = view
        return view


def _taught(project: Project) -> tuple:
    """The parts of a project that its lesson depends on."""
    return project.photos, dict(project.labels), project.detector


def _photos(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
