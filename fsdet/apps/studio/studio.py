"""Actions of the studio, independent of the page: each takes a session token and returns a view."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from cachetools import LRUCache

from fsdet.api.detector import Detector, load
from fsdet.apps.studio import labels, pictures
from fsdet.apps.studio.lesson import USUAL, Teacher
from fsdet.apps.studio.project import Box, Project
from fsdet.apps.studio.store import Store
from fsdet.apps.studio.view import Question, View
from fsdet.data.images import SUFFIXES
from fsdet.data.paths import resolve_inside
from fsdet.errors import InputError

PICTURES = 300 * 10**6  # bytes of fitted photographs that are kept
BROUGHT = 0.5  # gigabytes that a detector which was brought in may keep


class Studio:
    """Sessions, and the detector that teaches itself their categories.

    Args:
        detector: the base detector of every session that brings none.
        shelf: a folder of the server's from which photographs may be taken; None: there is none.
    """

    def __init__(self, store: Store, detector: Detector, shelf: Path | None = None):
        self.store, self.shelf = store, shelf
        self._own = Teacher(detector)
        self._brought: LRUCache[str, Teacher] = LRUCache(2)
        self._views: LRUCache[str, View] = LRUCache(64)
        self._pictures: LRUCache[tuple[str, int], tuple[np.ndarray, float]]
        self._pictures = LRUCache(PICTURES, lambda made: made[0].nbytes)
        self._lock = threading.Lock()

    # What is there to see

    def view(self, token: str, progress: Callable[[Iterable], Iterable] = iter) -> View:
        """Learn what a session's boxes say, unless that is done, and look for it in all its photographs.

        Thresholds stay as they were last chosen, and are chosen where nobody remembers; see `choose`.
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
        chosen = {name: last.get(name, USUAL) for name in project.categories}
        return self._keep(token, View(project, lesson, chosen | dict(project.thresholds), seconds))

    def choose(self, token: str) -> View:
        """The same with thresholds chosen anew from the shots, but for those set by hand."""
        view = self.view(token)
        chosen = self._teacher(token, view.project).thresholds(view.project, self._reader(token))
        known = chosen | {n: t for n, t in view.project.thresholds.items() if n in chosen}
        return self._keep(token, View(view.project, view.lesson, known, view.seconds))

    def picture(self, token: str, key: str, side: int) -> tuple[np.ndarray, float]:
        """A photograph of a session, fitted: see `fsdet.apps.studio.pictures.fitted`."""
        self.store.file(token, key)  # it is the session's
        with self._lock:
            if (key, side) in self._pictures:
                return self._pictures[key, side]
        made = pictures.fitted(self.store.image(token, key), side)
        with self._lock:
            self._pictures[key, side] = made
        return made

    # What a person says

    def add(self, token: str, files: Iterable[Path]) -> list[str]:
        """Take photographs in, and have the image side look at them.

        Returns:
            What was wrong with those that were refused.
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
        known = {photo.key for photo in before.photos}
        new = [photo.key for photo in project.photos if photo.key not in known]
        teacher.look(new, self._reader(token))
        return refused

    def folders(self) -> list[str]:
        """Folders of the shelf that hold photographs."""
        if self.shelf is None:
            return []
        places = [self.shelf, *(place for place in sorted(self.shelf.rglob("*")) if place.is_dir())]
        return [str(place.relative_to(self.shelf)) for place in places[:1000] if _photos(place)]

    def add_folder(self, token: str, name: str) -> list[str]:
        """Take the photographs of a folder of the shelf in.

        Raises:
            InputError: there is no shelf, or no such folder on it.
        """
        if self.shelf is None:
            raise InputError(
                "the studio was started without --photos: there is no folder to take from"
            )
        place = resolve_inside(self.shelf, name)
        if not place.is_dir():
            raise InputError(f"expected one of {', '.join(self.folders()[:8])}, got '{name:.80}'")
        return self.add(
            token,
            [resolve_inside(self.shelf, str(f.relative_to(self.shelf))) for f in _photos(place)],
        )

    def teach(self, token: str, name: str) -> None:
        """Give the boxes that have no name yet this one, if there are any."""
        project = self.store.project(token)
        nameless = any(not box.category for known in project.labels.values() for box in known.boxes)
        if nameless:
            self.store.change(token, lambda p: p.named(name))
        elif not project.categories:
            raise InputError(
                "nothing to learn yet: open a photograph and draw a box around an object"
            )

    def accept(self, token: str, question: Question) -> None:
        """A detection is right."""
        box = Box(question.found.name, question.found.box)
        self.store.change(token, lambda p: p.accepted(question.key, box))

    def reject(self, token: str, question: Question) -> None:
        """A detection is wrong."""
        self.store.change(token, lambda p: p.rejected(question.key, question.found.box))

    # What goes out and comes in

    def labels(self, token: str, kind: str, to: Path, with_photos: bool) -> None:
        """Write the labels as the zip of a data set; see `fsdet.apps.studio.labels.zipped`."""
        file_of = (lambda key: self.store.file(token, key)) if with_photos else None
        labels.zipped(self.store.project(token), kind, to, file_of)

    def bring_labels(self, token: str, file: Path) -> list[str]:
        """Labels of a data set, and its photographs, into the session.

        Returns:
            What was wrong with photographs that were refused.
        """
        known = {photo.name: photo.key for photo in self.store.project(token).photos}
        files = {name: self.store.file(token, key) for name, key in known.items()}
        boxes, photos = labels.brought(file.read_bytes(), file.name, files)
        with TemporaryDirectory() as folder:
            for name, content in photos.items():
                (Path(folder) / name).write_bytes(content)
            refused = self.add(token, sorted(Path(folder).iterdir()))

        def change(project: Project) -> Project:
            for photo in project.photos:
                if boxes.get(photo.name):
                    project = project.drawn(photo.key, boxes[photo.name])
            return project

        self.store.change(token, change)
        return refused

    def bring_detector(self, token: str, file: Path) -> None:
        """Another base detector for this session.

        Raises:
            InputError: the file is no detector, or of one that cannot look at a photograph of the session.
        """
        teacher = Teacher(load(file), BROUGHT)
        for photo in self.store.project(token).photos:
            teacher.check(photo)
        key = self.store.put_detector(token, file.read_bytes())
        with self._lock:
            self._brought[key] = teacher
        self.store.change(token, lambda p: replace(p, detector=key))

    # Inside

    def _teacher(self, token: str, project: Project) -> Teacher:
        if not project.detector:
            return self._own
        with self._lock:
            if project.detector not in self._brought:
                detector = load(self.store.detector(token, project.detector))
                self._brought[project.detector] = Teacher(detector, BROUGHT)
            return self._brought[project.detector]

    def _reader(self, token: str) -> Callable[[str], np.ndarray]:
        return lambda key: self.store.image(token, key)

    def _keep(self, token: str, view: View) -> View:
        with self._lock:
            self._views[token] = view
        return view


def _taught(project: Project) -> tuple:
    """What a lesson hangs on."""
    return project.photos, dict(project.labels), project.detector


def _photos(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
