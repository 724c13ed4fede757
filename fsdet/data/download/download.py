"""Download of published data sets: fetch, check and unpack their archives."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from fsdet.data.download.catalog import Archive
from fsdet.data.download.fetch import fetch, length, with_suffix
from fsdet.data.download.unpack import unpack
from fsdet.errors import InputError


def download(
    archives: Sequence[Archive],
    folder: Path,
    mirror: str | None = None,
    keep: bool = False,
    say: Callable[[str], object] = print,
) -> None:
    """Fetch, check and unpack the archives that are not unpacked yet, in this order.

    Args:
        folder: the archives are unpacked there; created if missing.
        mirror: address that replaces every host; it has the same paths.
        keep: keep the archives after unpacking.
        say: prints a line of progress.

    Raises:
        InputError: too little space on the disk (checked before the first byte), or an error of `fetch` or
            `unpack`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [archive for archive in archives if not archive.is_unpacked(folder)]
    needed, free = space(missing, folder, keep), shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: expected {gigabytes(needed)} of free space for "
            f"{', '.join(archive.name for archive in missing)}, the disk has {gigabytes(free)}"
        )
    for archive in archives:
        if archive not in missing:
            say(f"{archive.name}: there already ({', '.join(archive.contents)})")
            continue
        file, unpacking = folder / archive.name, archive.unpacking(folder)
        try:
            if not unpacking.exists():
                url = f"{(mirror or archive.host).rstrip('/')}/{archive.path}"
                say(f"{archive.name}: {gigabytes(archive.size)} from {url}")
                fetch(url, file, archive.size, archive.sha256)
                os.replace(file, unpacking)
            say(f"{archive.name}: unpacking")
            unpack(unpacking, folder / archive.subfolder)
            if keep:
                os.replace(unpacking, file)
            else:
                unpacking.unlink()
        except OSError as error:
            if error.filename is not None:
                raise
            # The error of a full disk names no file.
            raise InputError(f"{folder}: {error.strerror}; the same command resumes") from error


def space(archives: Sequence[Archive], folder: Path, keep: bool = False) -> int:
    """Peak of the disk space that downloading and unpacking the archives in turn adds, in bytes."""
    peak = used = 0
    for archive in archives:
        if archive.unpacking(folder).exists():
            remaining = unpacked = 0  # how much is unpacked already is unknown
        else:
            file = folder / archive.name
            remaining = max(archive.size - length(file) - length(with_suffix(file, ".part")), 0)
            unpacked = round(archive.size * archive.growth)
        peak = max(peak, used + remaining + unpacked)
        used += remaining + unpacked - (0 if keep else archive.size)
    return peak


def gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
