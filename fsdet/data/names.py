"""File names that mean the same file: other separators, Unicode forms, percent-coding, letter case, endings.

Annotations are written on one system and read on another. Names are compared byte by byte first.
"""

import os
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from urllib.parse import unquote


def name_key(name: str) -> str:
    """A key that names of the same file share."""
    return unicodedata.normalize("NFC", unquote(unicodedata.normalize("NFC", name))).casefold()


def forward(name: str) -> str:
    """A path with forward slashes only, as a Windows tool would have written it elsewhere."""
    return name.replace("\\", "/")


class SimilarNames:
    """The file among many that a name means.

    Args:
        files: names of files in one folder, or paths relative to one folder.
    """

    def __init__(self, files: Iterable[str]):
        self.files = frozenset(files)

    @cached_property
    def _by_key(self) -> dict[str, list[str]]:
        by_key: dict[str, list[str]] = {}
        for file in sorted(self.files):
            by_key.setdefault(name_key(file), []).append(file)
        return by_key

    def find(self, name: str) -> str | None:
        """The file of that name, else the only one with the same `name_key`; None without one."""
        if name in self.files:
            return name
        similar = self._by_key.get(name_key(forward(name)), [])
        return similar[0] if len(similar) == 1 else None


def stem(name: str) -> str:
    """A name without its ending."""
    return os.path.splitext(name)[0]
