"""Cache of indexes: arrays on disk that are mapped into memory; it may be deleted at any time."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from fsdet.data.dataset import load, save, verify
from fsdet.data.formats.reader import ReadResult
from fsdet.data.formats.validation import DataIssue
from fsdet.errors import InputError


def cache_key(sources: Iterable[os.PathLike[str]], *parts: object) -> str:
    """A key that changes with the path, the size or the modification time of any source."""
    stamps = [(os.path.abspath(source), *_stamp(source)) for source in sources]
    text = json.dumps([list(map(str, parts)), stamps], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def read_cached(key: str, root: Path, read: Callable[[], ReadResult]) -> ReadResult:
    """The result of `read`, from the cache if it has the key; warnings are not cached.

    The cache is `$FSDET_CACHE` or `~/.cache/fsdet`; if it cannot be written, nothing is cached. A
    damaged entry is read again, and so is one with a faulty image file that has changed since.
    """
    try:
        folder = Path(os.environ.get("FSDET_CACHE") or Path.home() / ".cache" / "fsdet") / key
    except RuntimeError:  # no home folder
        return read()
    cached = _load(folder, root)
    if cached is not None:
        return cached
    result = read()
    if result.data is None:
        return result
    part = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f"{key}.part", dir=folder.parent))
        stamps = {fault.file: _stamp(root / fault.file) for fault in result.faults if fault.file}
        save(result.data, part, faults=result.faults, stamps=stamps)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged or outdated entry
        os.replace(part, folder)
    except OSError:  # read-only, full, or another process was faster
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
    return _load(folder, root) or result


def _load(folder: Path, root: Path) -> ReadResult | None:
    try:
        notes = verify(folder)
        if any(_stamp(root / file) != tuple(stamp) for file, stamp in notes["stamps"].items()):
            return None
        return ReadResult(load(folder, root), [DataIssue(*fault) for fault in notes["faults"]])
    except (OSError, ValueError, KeyError, TypeError, EOFError, InputError):
        return None


def _stamp(source: os.PathLike[str]) -> tuple[int, int]:
    """Size and modification time in nanoseconds; (-1, -1) for a file that does not exist."""
    try:
        stat = source.stat() if isinstance(source, os.DirEntry) else os.stat(source)
    except (OSError, ValueError):  # a name with NUL
        return -1, -1
    return stat.st_size, stat.st_mtime_ns
