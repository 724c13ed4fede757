"""Store of sessions on disk: photographs by the hash of their bytes, and the states of each project."""

import os
import re
import secrets
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeGuard

import numpy as np

from fsdet.apps.studio.photos import as_photo, digest, safe_name, with_unique_name
from fsdet.apps.studio.project import Photo, Project, as_json, from_json
from fsdet.data.images import read_image
from fsdet.errors import InputError
from fsdet.files import write_whole

UNDO_STATES = 50  # of a project, stored for undo
KEY = re.compile(r"[0-9a-f]{32}")  # a session's token, or a photograph's key
SESSION_GONE = "this session is no longer here; reload the page to begin a new one"


@dataclass(frozen=True)
class Limits:
    """Limits of a session, and the number of sessions."""

    megabytes: int = 20  # of a photograph's file
    megapixels: int = 40
    photos: int = 200
    sessions: int = 1000


class Store:
    """Sessions in a folder, each in a folder of its own, named after its random token.

    Every change writes a new state, so a session survives a restart of page and server. Undo deletes the
    newest state.

    Args:
        folder: created if missing.
        limits: of each session.
        days: sessions without a change for longer are deleted at the start.
    """

    def __init__(self, folder: Path, limits: Limits = Limits(), days: float = 30):
        self.folder, self.limits = folder, limits
        self._locks: dict[str, threading.RLock] = defaultdict(threading.RLock)
        self._begin_lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        for session in self._sessions_before(time.time() - days * 86400):
            shutil.rmtree(session)

    def begin(self) -> str:
        """The token of a new session; sessions without photographs make room after an hour.

        Raises:
            InputError: the limit of sessions is reached.
        """
        with self._begin_lock:
            if len(self._sessions()) >= self.limits.sessions:
                for session in self._sessions_before(time.time() - 3600):
                    if not (session / "photos").exists():
                        shutil.rmtree(session)
            if len(self._sessions()) >= self.limits.sessions:
                raise InputError(
                    f"the studio holds {self.limits.sessions} sessions, its limit; ask its administrator"
                )
            token = secrets.token_hex(16)
            (self.folder / token).mkdir(mode=0o700)
            (self.folder / token / "states").mkdir()
        self._write(token, Project())
        return token

    def has(self, token: object) -> TypeGuard[str]:
        """Whether a session has this token."""
        return bool(isinstance(token, str) and KEY.fullmatch(token) and self._states(token))

    def project(self, token: str) -> Project:
        """The current project of a session.

        Raises:
            InputError: no such session.
        """
        return _read(self._states_of(token)[-1])

    def change(self, token: str, change: Callable[[Project], Project]) -> Project:
        """Replace a session's project by a changed one; changes of a session run one after the other."""
        with self._locks[token]:
            before = self.project(token)
            after = change(before)
            if after != before:
                self._write(token, after)
            return after

    def undo(self, token: str) -> Project:
        """Revoke the last change.

        Raises:
            InputError: no change is stored.
        """
        with self._locks[token]:
            states = self._states_of(token)
            if len(states) < 2:
                raise InputError("nothing is left to undo")
            states[-1].unlink()
            return self.project(token)

    def add(
        self,
        token: str,
        files: Iterable[tuple[str, bytes]],
        check: Callable[[Photo], None] = lambda photo: None,
    ) -> tuple[Project, list[str]]:
        """Add photographs.

        Args:
            files: name and content of each.
            check: raises an `InputError` for a photograph that the detector cannot process.

        Returns:
            The project, and a message for each refused file.
        """
        refused: list[str] = []
        photos: dict[str, Photo] = {}
        for name, content in files:
            name = safe_name(name)
            try:
                photo = as_photo(name, content, self.limits.megabytes, self.limits.megapixels)
                check(photo)
            except InputError as error:
                refused.append(f"'{name}': {str(error).removeprefix('image bytes: ')}")
                continue
            path = self.place(token, "photos") / photo.key
            if not path.exists():
                write_whole(path, partial(Path.write_bytes, data=content))
            photos.setdefault(photo.key, photo)  # of equal files the first

        def change(project: Project) -> Project:
            keys = {photo.key for photo in project.photos}
            new = [photo for key, photo in photos.items() if key not in keys]
            room = max(self.limits.photos - len(keys), 0)
            if len(new) > room:
                refused.append(
                    f"a session holds up to {self.limits.photos} photographs:"
                    f" {len(new) - room} of {len(new)} were left out"
                )
            for photo in new[:room]:
                project = project.with_photo(with_unique_name(photo, project.photos))
            return project

        return self.change(token, change), refused

    def file(self, token: str, key: str) -> Path:
        """The uploaded file of a photograph.

        Raises:
            InputError: the session has no such photograph.
        """
        path = self.place(token, "photos") / key
        if not KEY.fullmatch(key) or not path.is_file():
            raise InputError("this photograph is not in the session")
        return path

    def image(self, token: str, key: str) -> np.ndarray:
        """A photograph, turned upright: uint8 [H, W, 3] RGB."""
        return read_image(self.file(token, key), max_pixels=self.limits.megapixels * 10**6)

    def put_detector(self, token: str, content: bytes) -> str:
        """Store a detector's file and return its key; deletes files that no stored state refers to."""
        key = digest(content)
        write_whole(self.detector(token, key), lambda to: to.write_bytes(content))
        in_use = {key, *(_read(state).detector for state in self._states(token))}
        for file in self.place(token, "detectors").iterdir():
            if file.stem not in in_use:
                file.unlink()
        return key

    def detector(self, token: str, key: str) -> Path:
        """The file of a detector that `put_detector` stored."""
        return self.place(token, "detectors") / f"{key}.safetensors"

    def place(self, token: str, name: str) -> Path:
        """A folder of a session.

        Raises:
            InputError: no such session.
        """
        if not self.has(token):
            raise InputError(SESSION_GONE)
        return self.folder / token / name

    def _write(self, token: str, project: Project) -> None:
        states = self._states(token)
        number = int(states[-1].stem) + 1 if states else 1
        path = self.folder / token / "states" / f"{number:08}.json"
        write_whole(path, lambda to: to.write_text(as_json(project), encoding="utf-8"))
        os.utime(self.folder / token)
        for old in states[: max(len(states) + 1 - UNDO_STATES, 0)]:
            old.unlink()

    def _states_of(self, token: str) -> list[Path]:
        """As `_states`; an InputError if there is no such session."""
        self.place(token, "states")
        return self._states(token)

    def _states(self, token: str) -> list[Path]:
        """Files of a session's states, oldest first."""
        return sorted((self.folder / token / "states").glob("[0-9]*.json"))

    def _sessions(self) -> list[Path]:
        return [folder for folder in self.folder.iterdir() if KEY.fullmatch(folder.name)]

    def _sessions_before(self, seconds: float) -> list[Path]:
        """Sessions whose last change was before this time."""
        return [folder for folder in self._sessions() if folder.stat().st_mtime < seconds]


def _read(state: Path) -> Project:
    return from_json(state.read_text(encoding="utf-8"))
