"""Paths under a data root: many of them in one array, listings of folders, and the check that they stay inside."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fsdet.data.names import SimilarNames
from fsdet.errors import InputError


@dataclass(frozen=True, eq=False)
class PackedNames:
    """Strings in one byte array: loader workers share it without touching an object per string."""

    text: np.ndarray  # [bytes] uint8, UTF-8
    ends: np.ndarray  # [I + 1] int64: string i is text[ends[i]:ends[i + 1]]

    @classmethod
    def pack(cls, names: Sequence[str]) -> "PackedNames":
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        ends = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(name) for name in encoded], out=ends[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, i: int) -> str:
        if not 0 <= i < len(self):
            raise IndexError(i)
        text = self.text[self.ends[i] : self.ends[i + 1]]
        return text.tobytes().decode("utf-8", "surrogateescape")

    def take(self, indices: np.ndarray) -> "PackedNames":
        return PackedNames.pack([self[i] for i in indices.tolist()])


def resolve_inside(root: Path, name: str) -> Path:
    """`root / name`; an `InputError` if that lies outside `root` once links are followed."""
    path = root / name
    try:
        resolved = path.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # too long, NUL, or a circle of links
        raise InputError(f"{root}: {name!r:.80} is no name of a file ({error!s:.80})") from None
    if not resolved.is_relative_to(root.resolve()):
        raise InputError(f"{root}: '{name}' points outside the data root ({resolved})")
    return path


@dataclass(frozen=True)
class FolderListing:
    """The names of the files in a folder."""

    files: frozenset[str]
    links: frozenset[str]  # the files that are links, and so may lead out of the root

    @cached_property
    def similar(self) -> SimilarNames:
        """The files by names that mean the same."""
        return SimilarNames(self.files)

    @classmethod
    def scan(cls, root: Path, folder: str) -> "FolderListing":
        """List `root / folder`: empty if it does not exist, `InputError` if it is outside `root`."""
        try:
            with os.scandir(resolve_inside(root, folder)) as entries:
                files = [(entry.name, entry.is_symlink()) for entry in entries if entry.is_file()]
        except InputError:
            raise
        except (OSError, ValueError):  # a name with NUL
            files = []
        names = frozenset(name for name, _ in files)
        return cls(names, frozenset(name for name, is_link in files if is_link))
