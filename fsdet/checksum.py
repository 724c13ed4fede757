"""Checksum in a file: SHA-256 of all its bytes, where its own 64 digits count as zeros."""

import hashlib
from pathlib import Path
from typing import IO

_MARK, _ZEROS = b"sha256:", b"0" * 64
_HEAD = 256  # bytes at the start of a file in which the checksum may stand; else it is at the end
BLANK = (_MARK + _ZEROS).decode()
"""Placeholder of the checksum in the first bytes of a file, or at its end."""


def seal(path: Path) -> None:
    """Replace the `BLANK` of a file by its checksum.

    Raises:
        ValueError: the file has none.
    """
    with open(path, "r+b") as file:
        place = _place(file)
        digits = _digits(file, place)
        file.seek(place)
        file.write(digits)


def verify(path: Path) -> None:
    """Compare a file with its checksum.

    Raises:
        ValueError: it has no checksum, or another content.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        place = _place(file)
        file.seek(place)
        if file.read(len(_ZEROS)) != _digits(file, place):
            raise ValueError("its content differs from its checksum")


def has_checksum(path: Path) -> bool:
    """Whether a file has a checksum, right or wrong."""
    try:
        with open(path, "rb") as file:
            _place(file)
    except ValueError:
        return False
    return True


def _place(file: IO[bytes]) -> int:
    """Position of the 64 digits."""
    place = file.read(_HEAD).find(_MARK)
    if place < 0:
        place = max(file.seek(0, 2) - len(BLANK), 0)
    file.seek(place)
    found = file.read(len(BLANK))
    if len(found) < len(BLANK) or not found.startswith(_MARK):
        raise ValueError("it has no checksum")
    return place + len(_MARK)


def _digits(file: IO[bytes], place: int) -> bytes:
    file.seek(0)
    hasher = hashlib.sha256(file.read(place))
    hasher.update(_ZEROS)
    file.seek(place + len(_ZEROS))
    while chunk := file.read(2**20):
        hasher.update(chunk)
    return hasher.hexdigest().encode()
