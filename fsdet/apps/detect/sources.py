"""Sources of `fsdet detect`: files, folders, patterns and lists of files, or one stream."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fsdet.apps.detect.video import SUFFIXES as VIDEOS
from fsdet.data.images import SUFFIXES as IMAGES
from fsdet.errors import InputError, nearest, printable
from fsdet.files import is_file

LIST = ".txt"


def files_of(sources: Sequence[str]) -> list[Path]:
    """The images and videos that sources name, each once; other files of folders and patterns are named.

    Args:
        sources: each a file, a folder, a pattern such as `photos/**/*.jpg`, or a text file with a path a line.
            Paths in a list are relative to the current folder, else to the list's folder.

    Raises:
        InputError: no such file or folder, no image and no video in a folder, or a pattern that nothing matches.
    """
    files = [file for source in sources for file in _files(source)]
    return list({os.path.abspath(file): file for file in files}.values())


def common_folder(files: Iterable[Path]) -> Path:
    """The innermost folder that has all files somewhere below it.

    Raises:
        InputError: files on different drives.
    """
    try:
        return Path(os.path.commonpath([os.path.abspath(file.parent) for file in files]))
    except ValueError:
        raise InputError("expected files of one drive") from None


def path_below(folder: Path, file: Path) -> str:
    """The path of a file from a folder above it, with forward slashes."""
    return Path(os.path.abspath(file)).relative_to(folder).as_posix()


def stream_of(sources: Sequence[str]) -> str | int | None:
    """The address of the stream, or the number of the webcam, that the one source is; None for files.

    Raises:
        InputError: a stream among other sources.
    """
    streams = [source for source in sources if _is_stream(source)]
    if not streams:
        return None
    if len(sources) > 1:
        raise InputError(f"expected one stream alone, got {len(sources)} sources")
    return int(streams[0]) if _is_number(streams[0]) else streams[0]


def _is_stream(source: str) -> bool:
    return "://" in source or (_is_number(source) and not Path(source).exists())


def _is_number(source: str) -> bool:
    return source.isascii() and source.isdigit() and len(source) < 4


def _files(source: str) -> Iterator[Path]:
    path = Path(source)
    if is_file(path):
        yield from _listed(path) if path.suffix.lower() == LIST else [path]
    elif os.path.isdir(source):
        yield from _of_known_kinds(sorted(path.iterdir()), f"{source}: {{}} in this folder")
    elif glob.has_magic(source):
        matches = filter(is_file, map(Path, sorted(glob.glob(source, recursive=True))))
        yield from _of_known_kinds(matches, f"{{}} matches '{source}'")
    else:
        beside = [file.name for file in path.parent.glob("*")]
        hint = nearest(path.name, beside) if len(source) < 1000 else ""
        raise InputError(f"{source}: no such file or folder{hint}")


def _of_known_kinds(entries: Iterable[Path], none: str) -> list[Path]:
    """The images and videos of some entries of folders; an InputError without one."""
    entries = list(entries)
    files = [f for f in entries if f.suffix.lower() in IMAGES + VIDEOS and is_file(f)]
    if not files:
        raise InputError(none.format("no image and no video"))
    known = set(files)
    for other in entries:
        if other not in known:
            print(printable(f"left out, neither image nor video: {other}"), file=sys.stderr)
    return files


def _listed(file: Path) -> list[Path]:
    """The files that a text file names, one a line."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{file}: expected a list of paths in UTF-8") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        places = [Path(line.strip()), file.parent / line.strip()]
        path = next((place for place in places if is_file(place)), None)
        if path is None:
            raise InputError(
                f"{file}, line {number}: expected the path of an image or video, got '{line:.80}'"
            )
        found.append(path)
    if not found:
        raise InputError(f"{file}: expected a list of paths, got none")
    return found
