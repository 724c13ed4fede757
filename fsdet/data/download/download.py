"""Published data sets from their hosts into a folder: fetched, checked, unpacked."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from fsdet.data.download.catalog import Archive
from fsdet.data.download.fetch import beside, fetch, length
from fsdet.data.download.unpack import unpack
from fsdet.errors import InputError


def download(
    archives: Sequence[Archive],
    folder: Path,
    mirror: str | None = None,
    keep: bool = False,
    say: Callable[[str], object] = print,
) -> None:
    """Fetch, check and unpack what the folder has not yet; each file is removed once it is unpacked.

    Args:
        archives: in this order.
        folder: where they are unpacked; it is made.
        mirror: address to be taken in the place of every host; the paths under it are the hosts'.
        keep: the files, beside what they give.
        say: is called with a line for each.

    Raises:
        InputError: too little space on the disk, before the first byte; all that `fetch` and
            `unpack` raise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [archive for archive in archives if not archive.is_there(folder)]
    needed, free = space(missing, folder, keep), shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: expected {gigabytes(needed)} of free space for "
            f"{', '.join(archive.name for archive in missing)}, the disk has {gigabytes(free)}"
        )
    for archive in archives:
        if archive not in missing:
            say(f"{archive.name}: there already ({', '.join(archive.gives)})")
            continue
        file, half = folder / archive.name, archive.unpacking(folder)
        try:
            if not half.exists():
                url = f"{(mirror or archive.host).rstrip('/')}/{archive.path}"
                say(f"{archive.name}: {gigabytes(archive.size)} from {url}")
                fetch(url, file, archive.size, archive.sha256)
                os.replace(file, half)
            say(f"{archive.name}: unpacking")
            unpack(half, folder / archive.into)
            if keep:
                os.replace(half, file)
            else:
                half.unlink()
        except OSError as error:
            if error.filename is not None:
                raise
            # A disk that is full says so without saying where.
            raise InputError(f"{folder}: {error.strerror}; the same command goes on") from error


def space(archives: Sequence[Archive], folder: Path, keep: bool = False) -> int:
    """Bytes that getting some archives one after the other takes at most at once, beside what is there."""
    most = taken = 0
    for archive in archives:
        if archive.unpacking(folder).exists():
            coming = unpacked = 0  # nobody knows how much of it is missing
        else:
            file = folder / archive.name
            coming = max(archive.size - length(file) - length(beside(file, ".part")), 0)
            unpacked = round(archive.size * archive.grows)
        most = max(most, taken + coming + unpacked)
        taken += coming + unpacked - (0 if keep else archive.size)
    return most


def gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
