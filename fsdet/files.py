"""Files that are written whole or not at all, and folders that one process writes at a time."""

import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from fsdet.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
_PART = re.compile(r"\..+\.[0-9a-f]{12}\.part")  # temporary files of `write_whole`


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path and rename that file to `path`; a kill leaves the old file or the new one.

    The file gets the permissions of the umask.

    Raises:
        OSError: `path` cannot be written, with its name; for instance because the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        with open(temporary, "xb") as file:
            mode = os.fstat(file.fileno()).st_mode
        try:
            write(temporary)
        except Exception as error:
            raise _error_of_system(error, temporary) or error from error
        os.chmod(temporary, mode)  # `write` may have created the file anew
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def write_new(folder: Path, texts: Mapping[str, str]) -> list[str]:
    """Write new files in UTF-8, and return their paths as given.

    Args:
        texts: path in the folder -> text.

    Raises:
        InputError: one of them exists; none is written.
        OSError: as `write_whole`.
    """
    for path in texts:
        if os.path.lexists(folder / path):
            raise InputError(f"'{folder / path}' is there already, and is not overwritten")
    for path, text in texts.items():
        write_whole(folder / path, partial(Path.write_text, data=text, encoding="utf-8"))
    return list(texts)


def is_file(path: Path) -> bool:
    """Whether there is a file; False too for a name that no file can have: too long, or with a NUL."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_regular(path: Path) -> bytes:
    """The bytes of a file; a pipe or a device, which may never end, is not read.

    Raises:
        OSError: no such file, or none that can be read.
        ValueError: a name that no file has.
    """
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "expected a file, not a pipe or a device", str(path))
    return path.read_bytes()


def _error_of_system(error: Exception, file: Path) -> OSError | None:
    """The system's error behind the error of a writer: safetensors quotes its number, PyTorch does not."""
    if number := re.search(r"\(os error (\d+)\)", str(error)):
        return OSError(int(number[1]), os.strerror(int(number[1])))
    try:
        with open(file, "ab") as end:
            end.write(bytes(2**16))
    except OSError as again:
        return again
    return None


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold a folder for this process, which deletes the temporary files of writes that were killed.

    Nothing is held by a system or a file system without record locks.

    Raises:
        InputError: another process holds it.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    path = folder / LOCK
    file = _locked(path)
    try:
        for part in folder.rglob(".*.part"):
            if _PART.fullmatch(part.name):
                part.unlink(missing_ok=True)
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def _locked(path: Path) -> IO[str]:
    """The open file of a lock; record locks end with their process, and processes forked off it have none."""
    while True:
        file = open(path, "a+")  # noqa: SIM115  # closed by the caller
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                holder = f"process {file.read(20).strip() or 'unknown'}"
                file.close()
                raise InputError(
                    f"'{path.parent}' is in use by another run ({holder}); wait for its end, or give this"
                    " run another folder"
                ) from error
        try:
            is_current = os.path.samestat(os.stat(path), os.fstat(file.fileno()))
        except FileNotFoundError:
            is_current = False
        if is_current:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            return file
        file.close()  # its holder has just deleted it
