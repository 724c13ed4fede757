"""Unpacking of tar and zip files, never outside the target folder."""

import errno
import gzip
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, cast

from fsdet.data.download.fetch import CHUNK, bytes_bar
from fsdet.data.paths import resolve_inside
from fsdet.errors import InputError

MOST_LETTERS = 255  # bytes of a file name
BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, ValueError, RuntimeError,
)  # fmt: skip
BROKEN_NUMBERS = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EINVAL)
"""Of a file that is a folder in another member's path, and of a place before the start of the archive."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar or zip file into a folder; files of the same name are overwritten.

    All members are checked before the first is written. Only files and folders are allowed, which is stricter
    than tarfile's filter `data` (missing in Python before 3.10.12 and 3.11.4).

    Raises:
        InputError: neither tar nor zip, damaged, a member that is a link or device, or a path outside the
            folder.
    """
    try:
        is_tar = tarfile.is_tarfile(archive)
        with tarfile.open(archive) if is_tar else zipfile.ZipFile(archive) as source:
            members = _members(source)
            for member in members:
                resolve_inside(folder, member.name)
                if any(len(os.fsencode(part)) > MOST_LETTERS for part in member.name.split("/")):
                    raise InputError(f"{archive}: '{member.name:.80}...' is too long a name")
            with bytes_bar(desc="unpacking", total=sum(member.size for member in members)) as bar:
                for member in members:
                    path = folder / member.name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with member.open() as content, open(path, "wb") as file:
                        shutil.copyfileobj(content, file, CHUNK)
                    bar.update(member.size)
    except (*BROKEN, OSError) as error:
        if not isinstance(error, BROKEN) and cast(OSError, error).errno not in BROKEN_NUMBERS:
            raise  # of the folder or of the disk
        raise InputError(
            f"{archive}: cannot be unpacked ({error}); remove the file to download it anew"
        ) from error


class _Member(NamedTuple):
    name: str
    size: int
    open: Callable[[], IO[bytes]]


def _members(source: tarfile.TarFile | zipfile.ZipFile) -> list[_Member]:
    """The files of an archive; their folders are created when they are written."""
    if isinstance(source, zipfile.ZipFile):
        files = [info for info in source.infolist() if not info.is_dir()]
        return [_Member(f.filename, f.file_size, partial(source.open, f)) for f in files]
    members = [member for member in source.getmembers() if not member.isdir()]
    for member in members:
        if not member.isfile():
            raise InputError(
                f"expected files and folders only, '{member.name}' is a link or device"
            )
    return [_Member(m.name, m.size, partial(_content, source, m)) for m in members]


def _content(source: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = source.extractfile(member)
    assert content is not None, "it is a file"
    return content
