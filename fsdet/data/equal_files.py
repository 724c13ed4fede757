"""Files with the same content."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def equal_files(files: Iterable[Path]) -> list[list[Path]]:
    """Groups of two or more different paths with the same content, in the order of their first files.

    Only files of equal length are hashed. Files that do not exist are in no group.
    """
    by_length: dict[int, list[Path]] = {}
    for file in dict.fromkeys(files):
        if file.is_file():
            by_length.setdefault(file.stat().st_size, []).append(file)
    by_content: dict[tuple[int, str], list[Path]] = {}
    for length, group in by_length.items():
        for file in group if len(group) > 1 else []:
            by_content.setdefault((length, _digest(file)), []).append(file)
    return [group for group in by_content.values() if len(group) > 1]


def _digest(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
