"""Store of the studio on disk: photographs by the hash of their bytes, and the states of each project."""

import hashlib
import os
import re
import secrets
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fsdet.apps.studio.project import Photo, Project, as_json, from_json
from fsdet.data.images import read_image
from fsdet.errors import InputError
from fsdet.files import write_whole

KEPT = 50  # states of a project that undo can go back through
TOKEN = re.compile(r"[0-9a-f]{32}")  # of a session, and the key of a photograph
GONE = "this session is no longer here; reload the page to begin a new one"


@dataclass(frozen=True)
class Limits:
    """What a session may bring."""

    megabytes: int = 20  # of a photograph's file
    megapixels: int = 40
    photos: int = 200
    sessions: int = 1000


class Store:
    """Sessions in a folder, each under a token that nobody can guess and in a folder of its own.

    Every change writes a new state, so that a session outlives the page and the server, and undo is to take
    the newest state away.

    Args:
        folder: is made.
        limits: of each session.
        days: sessions that nobody has touched for longer are removed at the start.
    """

    def __init__(self, folder: Path, limits: Limits = Limits(), days: float = 30):
        self.folder, self.limits = folder, limits
        self._locks: dict[str, threading.RLock] = defaultdict(threading.RLock)
        self._begin = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._remove(time.time() - days * 86400, lambda session: True)

    def begin(self) -> str:
        """The token of a new session.

        Raises:
            InputError: there are as many as there may be.
        """
        with self._begin:
            if len(self._sessions()) >= self.limits.sessions:
                self._remove(time.time() - 3600, self._without_photos)
            if len(self._sessions()) >= self.limits.sessions:
                raise InputError(
                    f"the studio holds {self.limits.sessions} sessions, which is all it may; ask whoever runs it"
                )
            token = secrets.token_hex(16)
            (self.folder / token).mkdir(mode=0o700)
            (self.folder / token / "states").mkdir()
        self._write(token, Project())
        return token

    def has(self, token: object) -> bool:
        """Whether there is such a session."""
        return (
            isinstance(token, str)
            and TOKEN.fullmatch(token) is not None
            and bool(self._states(token))
        )

    def project(self, token: str) -> Project:
        """A session's project as it is now.

        Raises:
            InputError: no such session.
        """
        return from_json(self._newest(token).read_text(encoding="utf-8"))

    def change(self, token: str, change: Callable[[Project], Project]) -> Project:
        """Make another project of a session's, one change at a time; what it was is kept for undo."""
        with self._locks[token]:
            before = self.project(token)
            after = change(before)
            if after != before:
                self._write(token, after)
            return after

    def undo(self, token: str) -> Project:
        """Take the last change back.

        Raises:
            InputError: there is none left.
        """
        with self._locks[token]:
            newest = self._newest(token)
            if len(self._states(token)) < 2:
                raise InputError("nothing is left to undo")
            newest.unlink()
            return self.project(token)

    def add(
        self,
        token: str,
        files: Iterable[tuple[str, bytes]],
        check: Callable[[Photo], None] = lambda photo: None,
    ) -> tuple[Project, list[str]]:
        """Take photographs in.

        Args:
            files: name and content of each.
            check: raises an `InputError` of a photograph that is of no use.

        Returns:
            The project, and what was wrong with those that were refused.
        """
        refused, photos = [], []
        for name, content in files:
            try:
                photos.append(self._kept(token, name, content, check))
            except InputError as error:
                refused.append(str(error))
        most = self.limits.photos

        def change(project: Project) -> Project:
            known = {photo.key for photo in project.photos}
            first: dict[str, Photo] = {}  # of two of one content
            for photo in photos:
                first.setdefault(photo.key, photo)
            new = [photo for key, photo in first.items() if key not in known]
            room = max(most - len(project.photos), 0)
            if len(new) > room:
                refused.append(
                    f"a session holds up to {most} photographs: {len(new) - room} of {len(new)} were left out"
                )
            for photo in new[:room]:
                project = project.with_photos([_distinct(photo, project)])
            return project

        return self.change(token, change), refused

    def file(self, token: str, key: str) -> Path:
        """The file of a photograph, as it came.

        Raises:
            InputError: the session has no such photograph.
        """
        place = self.place(token, "photos") / key
        if not TOKEN.fullmatch(key) or not place.is_file():
            raise InputError("this photograph is not in the session")
        return place

    def image(self, token: str, key: str) -> np.ndarray:
        """A photograph upright: uint8 [H, W, 3] RGB."""
        return read_image(self.file(token, key), max_pixels=self.limits.megapixels * 10**6)

    def put_detector(self, token: str, content: bytes) -> str:
        """Keep a detector's file of a session, and of earlier ones those that undo can go back to; its key."""
        key = digest(content)
        write_whole(self.detector(token, key), lambda to: to.write_bytes(content))
        states = [from_json(state.read_text(encoding="utf-8")) for state in self._states(token)]
        kept = {key, *(state.detector for state in states)}
        for file in self.place(token, "detectors").iterdir():
            if file.stem not in kept:
                file.unlink()
        return key

    def detector(self, token: str, key: str) -> Path:
        """Where the file of a detector is that `put_detector` kept."""
        return self.place(token, "detectors") / f"{key}.safetensors"

    def place(self, token: str, name: str) -> Path:
        """A folder of a session.

        Raises:
            InputError: no such session.
        """
        if not self.has(token):
            raise InputError(GONE)
        return self.folder / token / name

    def _kept(self, token: str, name: str, content: bytes, check: Callable[[Photo], None]) -> Photo:
        name = _file_name(name)
        most = self.limits.megabytes
        if len(content) > most * 10**6:
            raise InputError(
                f"'{name}': {len(content) / 1e6:.0f} MB; expected a photograph of up to {most} MB"
            )
        try:
            height, width = read_image(content, max_pixels=self.limits.megapixels * 10**6).shape[:2]
            photo = Photo(digest(content), name, width, height)
            check(photo)
        except InputError as error:
            raise InputError(f"'{name}': {str(error).removeprefix('image bytes: ')}") from error
        place = self.place(token, "photos") / photo.key
        if not place.exists():
            write_whole(place, lambda to: to.write_bytes(content))
        return photo

    def _remove(self, before: float, which: Callable[[Path], bool]) -> None:
        """Sessions go that nobody has touched since."""
        for session in self._sessions():
            if session.stat().st_mtime < before and which(session):
                shutil.rmtree(session)

    def _without_photos(self, session: Path) -> bool:
        return not (session / "photos").exists()

    def _write(self, token: str, project: Project) -> None:
        states = self._states(token)
        number = int(states[-1].stem) + 1 if states else 1
        place = self.folder / token / "states" / f"{number:08}.json"
        write_whole(place, lambda to: to.write_text(as_json(project), encoding="utf-8"))
        os.utime(self.folder / token)
        for old in states[: max(len(states) + 1 - KEPT, 0)]:
            old.unlink()

    def _newest(self, token: str) -> Path:
        return sorted(self.place(token, "states").glob("[0-9]*.json"))[-1]

    def _states(self, token: str) -> list[Path]:
        return sorted((self.folder / token / "states").glob("[0-9]*.json"))

    def _sessions(self) -> list[Path]:
        return [place for place in self.folder.iterdir() if TOKEN.fullmatch(place.name)]


def digest(content: bytes) -> str:
    """What a file is known by: the same for the same content."""
    return hashlib.sha256(content).hexdigest()[:32]


def _file_name(name: str) -> str:
    """What is left of a file's name when its folders and what no file system likes are gone."""
    last = re.split(r"[/\\]", str(name))[-1]
    stem, suffix = os.path.splitext(
        "".join(c for c in last if c.isprintable() and c not in '<>:"|?*')
    )
    return (stem.strip(". ")[:80] or "photograph") + suffix[:6].lower()


def _distinct(photo: Photo, project: Project) -> Photo:
    """The photograph under a name that, without its ending, no other has."""
    taken = {os.path.splitext(other.name)[0] for other in project.photos}
    stem, suffix = os.path.splitext(photo.name)
    if stem in taken:
        return replace(photo, name=f"{stem}-{photo.key[:8]}{suffix}")
    return photo
