"""Names of files under a data root: packed by the hundred thousand, listed, and kept inside."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fsdet.errors import InputError


@dataclass(frozen=True, eq=False)
class PackedNames:
    """Strings end to end in one array: no object per string for a worker to touch and so copy."""

    text: np.ndarray  # [bytes] uint8, UTF-8
    ends: np.ndarray  # [I + 1] int64: string i is text[ends[i]:ends[i + 1]]

    @classmethod
    def pack(cls, names: Sequence[str]) -> "PackedNames":
        coded = [name.encode("utf-8", "surrogateescape") for name in names]
        ends = np.zeros(len(coded) + 1, np.int64)
        np.cumsum([len(name) for name in coded], out=ends[1:])
        return cls(np.frombuffer(b"".join(coded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, i: int) -> str:
        if not 0 <= i < len(self):
            raise IndexError(i)
        text = self.text[self.ends[i] : self.ends[i + 1]]
        return text.tobytes().decode("utf-8", "surrogateescape")

    def take(self, indices: np.ndarray) -> "PackedNames":
        return PackedNames.pack([self[i] for i in indices.tolist()])


def inside(root: Path, name: str) -> Path:
    """`root / name`, if that lies under `root` when links are followed; else an `InputError`."""
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{root}: '{name}' points outside the data root ({path.resolve()})")
    return path


@dataclass(frozen=True)
class Listing:
    """The files of a folder under a data root; a folder that leads out of it is an `InputError`."""

    files: frozenset[str]
    links: frozenset[str]  # those of the files that are links and may lead out

    @classmethod
    def of(cls, root: Path, folder: str) -> "Listing":
        try:
            with os.scandir(inside(root, folder)) as entries:
                files = [(entry.name, entry.is_symlink()) for entry in entries if entry.is_file()]
        except OSError:  # no such folder has no files
            files = []
        return cls(frozenset(name for name, _ in files), frozenset(n for n, link in files if link))
