"""Lists of images in the root of a YOLO folder, as Darknet, Ultralytics and `fsdet split` write them."""

from itertools import islice
from pathlib import Path
from typing import Any

from fsdet.data.images import SUFFIXES
from fsdet.files import is_file

MOST_LISTS = 100  # text files in the root; with more of them, label files lie beside their images


def with_lists(root: Path, content: dict[Any, Any]) -> dict[Any, Any]:
    """The entries of data.yaml; where it has none of the name, NAME.txt, a list of images, is the subset NAME."""
    files = list(islice(root.glob("*.txt"), MOST_LISTS + 1))
    if len(files) > MOST_LISTS:
        return content
    lists = {file.stem: file.name for file in sorted(files) if _lists_images(file)}
    return content | {name: file for name, file in lists.items() if not content.get(name)}


def _lists_images(file: Path) -> bool:
    if not is_file(file):  # a pipe would be waited for
        return False
    with file.open("rb") as handle:
        line = handle.readline(4096)
    return line.strip().lower().endswith(tuple(suffix.encode() for suffix in SUFFIXES))
