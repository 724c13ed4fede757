"""Actions of the studio, independent of the page; each takes the token of a session."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from cachetools import LRUCache, cachedmethod

from fsdet.api.detector import Detector
from fsdet.api.load import load
from fsdet.apps.studio import exchange
from fsdet.apps.studio.boxes import Corners
from fsdet.apps.studio.lesson import Teacher
from fsdet.apps.studio.moving import moved
from fsdet.apps.studio.photos import contents
from fsdet.apps.studio.project import Box, Labels, Project
from fsdet.apps.studio.store import Store
from fsdet.apps.studio.view import View
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
        """Learn a session's labels and detect its categories in all its photographs, if they have changed."""
        project, start = self.store.project(token), time.perf_counter()
        with self._lock:
            old = self._views.get(token)
        if old is not None and _taught(old.project) == _taught(project):
            view = View(project, old.lesson, old.seconds)
        else:
            lesson = self._teacher(token, project).lesson(project, self._reader(token), progress)
            view = View(project, lesson, time.perf_counter() - start)
        with self._lock:
            self._views[token] = view
        return view

    def picture(self, token: str, key: str, side: int) -> tuple[np.ndarray, float]:
        """A photograph of a session resized to `side` pixels along its longer side, and its scale."""
        self.store.file(token, key)  # raises if it is not the session's
        return self._picture(token, key, side)

    # Photographs and labels

    def add(self, token: str, files: Iterable[Path]) -> list[str]:
        """Add photographs and frames of videos, and compute their candidates.

        Returns:
            A message for each refused file.
        """
        most = self.store.limits.megabytes * 10**6
        unreadable: list[str] = []

        def photographs() -> Iterator[tuple[str, bytes]]:
            for file in files:
                try:
                    yield from contents(file, most)
                except InputError as error:
                    unreadable.append(str(error))

        before = self.store.project(token)
        teacher = self._teacher(token, before)
        project, refused = self.store.add(token, photographs(), teacher.check)
        keys = {photo.key for photo in before.photos}
        new = [photo.key for photo in project.photos if photo.key not in keys]
        teacher.prepare(new, self._reader(token))
        return unreadable + refused

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

    def label(self, token: str, key: str, labels: Labels) -> None:
        """Replace the labels of a photograph; see `Project.labelled`."""
        self.store.change(token, lambda p: p.labelled(key, labels))

    def teach(self, token: str, progress: Callable[[Iterable], Iterable] = iter) -> View:
        """The view of a session in which there is something to learn.

        Raises:
            InputError: no box with a category.
        """
        if not self.store.project(token).categories:
            raise InputError(
                "nothing to learn yet: draw a box around an object and type its category"
            )
        return self.view(token, progress)

    def accept_above(self, token: str, score: float) -> int:
        """Accept the pending detections of all photographs with at least this score; returns their number."""
        chosen = self.view(token).above(score)
        self.answer(token, [(key, Box(d.name, d.box)) for key, d in chosen])
        return len(chosen)

    def answer(
        self,
        token: str,
        right: Iterable[tuple[str, Box]],
        wrong: Iterable[tuple[str, Corners]] = (),
    ) -> None:
        """Accept and reject detections, each with the key of its photograph, in one change."""

        def change(project: Project) -> Project:
            for key, box in right:
                project = project.accepted(key, box)
            for key, corners in wrong:
                project = project.rejected(key, corners)
            return project

        self.store.change(token, change)

    # Export and import

    def export_labels(self, token: str, kind: str, to: Path, with_photos: bool) -> None:
        """Write the labels as the zip of a data set; see `fsdet.apps.studio.exchange.write_zip`."""
        file_of = (lambda key: self.store.file(token, key)) if with_photos else None
        exchange.write_zip(self.store.project(token), kind, to, file_of)

    def import_labels(self, token: str, file: Path) -> list[str]:
        """Add the labels of a data set, and its photographs.

        Returns:
            A message for each refused photograph.
        """
        photos = self.store.project(token).photos
        files = {photo.name: self.store.file(token, photo.key) for photo in photos}
        boxes, contents = exchange.read_labels(file.read_bytes(), file.name, files)
        with TemporaryDirectory() as folder:
            for name, content in contents.items():
                (Path(folder) / name).write_bytes(content)
            refused = self.add(token, sorted(Path(folder).iterdir()))

        def change(project: Project) -> Project:
            for photo in project.photos:
                if boxes.get(photo.name):
                    labels = Labels(tuple(boxes[photo.name]), complete=True)
                    project = project.labelled(photo.key, labels)
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
        self._replace_detector(token, teacher, file)

    def move(self, token: str, watch: Callable[[int], None]) -> None:
        """Replace the base detector of a session by one trained on its labels; see `moved`."""
        project = self.store.project(token)
        base = self._teacher(token, project).detector
        detector = moved(base, project, self.store.place(token, "photos"), watch)
        with TemporaryDirectory() as folder:
            file = Path(folder) / "detector.safetensors"
            detector.save(file)
            self._replace_detector(token, Teacher(detector, IMPORTED_GIGABYTES), file)

    def _replace_detector(self, token: str, teacher: Teacher, file: Path) -> None:
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
        return fitted(self.store.image(token, key), side)


def _taught(project: Project) -> tuple:
    """The parts of a project that its lesson depends on."""
    return project.photos, dict(project.labels), project.detector


def fitted(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """The image resized to `side` pixels along its longer side, and the scale of its coordinates."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=interpolation), scale


def _photos(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
