"""Pictures by their addresses: local paths, and what fsspec reads, such as `s3://bucket/folder`."""

from pathlib import Path

import fsspec
import numpy as np

from fsdet.apps.detect.sources import LIST
from fsdet.data.images import SUFFIXES, read_image
from fsdet.errors import InputError, one_line

FAILURES = (
    OSError,
    ValueError,
    ImportError,
)  # no access, unknown protocol, protocol without its package


def addresses_of(source: str) -> list[str]:
    """The addresses of all pictures below a folder or in a list, each once; local ones are absolute paths.

    Args:
        source: a folder with folders in it, or a text file with an address a line, local or of fsspec. Paths of a
            list count from the current folder, else from that of the list.

    Raises:
        InputError: no picture, or nothing that can be read.
    """
    try:
        files, place = fsspec.core.url_to_fs(source)
        if place.endswith(LIST):
            with files.open(place, "rt", encoding="utf-8") as lines:
                found = [
                    _of_line(line.strip(), Path(place).parent) for line in lines if line.strip()
                ]
        else:
            found = [_name(files, f) for f in files.find(place) if f.lower().endswith(SUFFIXES)]
    except FAILURES as error:
        raise InputError(f"{source}: cannot be read ({one_line(error, 200)})") from error
    if not found:
        raise InputError(
            f"{source}: expected a folder of pictures ({' '.join(SUFFIXES)}) or a list of them"
            f" (NAME{LIST}), found no picture"
        )
    return list(dict.fromkeys(found))


def read_address(address: str) -> np.ndarray:
    """The picture at an address, uint8 [H, W, 3] RGB.

    Raises:
        InputError: no picture can be read there.
    """
    if "://" not in address:
        return read_image(Path(address))
    try:
        with fsspec.open(address, "rb") as file:
            encoded = file.read()
    except Exception as error:  # the packages behind fsspec share no narrower class
        raise InputError(f"{address}: cannot be read ({one_line(error, 200)})") from error
    return read_image(encoded)


def _name(files: fsspec.AbstractFileSystem, place: str) -> str:
    is_local = "file" in (files.protocol, *files.protocol)
    return place if is_local else files.unstrip_protocol(place)


def _of_line(line: str, folder: Path) -> str:
    if "://" in line:
        return line
    path = Path(line).absolute()
    return str(path if path.exists() else folder / line)
