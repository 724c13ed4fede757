"""Images of Label Studio tasks: the key in the task's data, and the file in a local folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from fsdet.data.images import SUFFIXES
from fsdet.data.paths import resolve_inside
from fsdet.errors import InputError

LOCAL_FILES = "/data/local-files/"


def task_image(task: dict[str, Any], image_key: str | None) -> str:
    """The path or address of a task's image.

    Args:
        image_key: key in the task's data; None: the only value that ends like an image file.

    Raises:
        InputError: no such key, or not exactly one image.
    """
    data = task.get("data")
    if not isinstance(data, dict):
        raise InputError("expected a task with data")
    if image_key is None:
        image_keys = [
            key
            for key, value in data.items()
            if isinstance(value, str) and value.split("?d=")[-1].lower().endswith(SUFFIXES)
        ]
        if len(image_keys) != 1:
            raise InputError(
                f"expected one image in the task's data, found {len(image_keys)}: {list(data)}"
            )
        image_key = image_keys[0]
    image = data.get(image_key)
    if not isinstance(image, str):
        raise InputError(f"expected an image at '{image_key}' of the task's data, has {list(data)}")
    return image


def find_image(root: Path | str, image: str) -> Path:
    """Find the file of a task's image in a folder.

    Args:
        root: for `/data/local-files/?d=NAME` the folder that holds NAME; for an upload
            `/data/upload/3/a.jpg` one that holds `upload/3/a.jpg`, `3/a.jpg` or `a.jpg`.
        image: as `task_image` returns it.

    Raises:
        InputError: no such file, or one outside the folder.
    """
    try:
        parts = urlsplit(image)
        path = unquote(parts.path)
        names: Iterable[str] = [path.lstrip("/")]
        if path.endswith(LOCAL_FILES):
            names = parse_qs(parts.query).get("d", [])
        elif "/data/upload/" in path:
            steps = path.rsplit("/data/", 1)[1].split("/")
            names = ["/".join(steps[n:]) for n in range(len(steps))]
        for name in names:
            if (file := resolve_inside(Path(root), name)).is_file():
                return file
    except (ValueError, OSError) as error:  # an invalid address, NUL, a name that is too long
        if isinstance(error, InputError):
            raise
        raise InputError(f"'{image[:200]}' is not the name of an image: {error}") from None
    raise InputError(f"{root}: no file for the image '{image[:200]}'")
