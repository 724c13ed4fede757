"""Cleaning of a finished run folder: checkpoints and stored region features go, results stay."""

from collections.abc import Iterator
from pathlib import Path

from fsdet.errors import InputError
from fsdet.files import sole_writer

# Files that a run computes again where they are missing; `shots` are lists of annotation ids.
PATTERNS = ("*.state", "*.bank.safetensors", "test-*.safetensors")


def clean(folder: Path) -> list[tuple[Path, int]]:
    """Delete checkpoints and stored region features of a run, also those of a benchmark's base detectors.

    Returns:
        The deleted files and their sizes in bytes.

    Raises:
        InputError: no run folder, one without results, or one that another process uses.
    """
    if not any(folder.glob("**/config.yaml")):
        raise InputError(f"'{folder}' is no run folder: it has no config.yaml")
    if not any(folder.glob("**/results.json")) and not any(folder.glob("**/*.csv")):
        raise InputError(
            f"'{folder}' has no results yet; expected a finished run, as a stopped one goes on from these files"
        )
    with sole_writer(folder):
        deleted = [(file, file.stat().st_size) for file in _files(folder)]
        for file, _ in deleted:
            file.unlink()
    return deleted


def _files(folder: Path) -> Iterator[Path]:
    for pattern in PATTERNS:
        yield from (file for file in sorted(folder.rglob(pattern)) if not file.is_symlink())
