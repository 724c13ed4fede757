"""Indexes kept between runs as arrays to map into memory; they may be deleted at any time."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from fsdet.data.dataset import DetectionData, load, save, verify
from fsdet.data.formats.validation import DataIssue
from fsdet.errors import InputError

Read = tuple[DetectionData | None, list[DataIssue]]


def key_of(sources: Iterable[os.PathLike], *parts: object) -> str:
    """Another key when a source is another file, has another size or was written since."""
    stats = [(os.path.abspath(source), *_stamp(source)) for source in sources]
    text = json.dumps([list(map(str, parts)), stats], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def kept(key: str, root: Path, read: Callable[[], Read]) -> Read:
    """What `read` returns, mapped from the cache; read anew where there is none or it is damaged.

    The cache is `$FSDET_CACHE`, or `~/.cache/fsdet`; where it cannot be written there is none.
    Faults of image files are looked at again, as these may be cured with no source written.
    """
    try:
        place = Path(os.environ.get("FSDET_CACHE") or Path.home() / ".cache" / "fsdet") / key
    except RuntimeError:  # nobody's home
        return read()
    found = _recall(place, root)
    if found is not None:
        return found
    data, faults = read()
    if data is None:
        return data, faults
    part = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f"{key}.part", dir=place.parent))
        stamps = {fault.file: _stamp(root / fault.file) for fault in faults if fault.file}
        save(data, part, faults=faults, stamps=stamps)
        shutil.rmtree(place, ignore_errors=True)  # damaged, or of images since cured
        os.replace(part, place)
    except OSError:  # read-only, full, or another process was faster
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
    return _recall(place, root) or (data, faults)


def _recall(place: Path, root: Path) -> Read | None:
    try:
        notes = verify(place)
        if any(_stamp(root / file) != tuple(stamp) for file, stamp in notes["stamps"].items()):
            return None
        return load(place, root), [DataIssue(*fault) for fault in notes["faults"]]
    except (OSError, ValueError, KeyError, TypeError, EOFError, InputError):
        return None


def _stamp(source: os.PathLike) -> tuple[int, int]:
    """Length and time of the last writing; of what is not there, none."""
    try:
        stat = source.stat() if isinstance(source, os.DirEntry) else os.stat(source)
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns
