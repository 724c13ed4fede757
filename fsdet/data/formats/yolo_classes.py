"""YOLO folders without data.yaml: names in classes.txt (labelImg, Label Studio) or obj.names (CVAT, Darknet)."""

import os
from pathlib import Path

from fsdet.data.formats.file_tree import DEFAULT
from fsdet.data.images import SUFFIXES

NAME_FILES = (
    "classes.txt",
    "obj.names",
    "labels/classes.txt",
    "*/classes.txt",
    "*/labels/classes.txt",
)


def names_file(root: Path) -> Path | None:
    """The file of class names, one a line."""
    return next((file for name in NAME_FILES for file in sorted(root.glob(name))), None)


def read_names(file: Path) -> list[str]:
    """The class names in the order of their numbers."""
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.strip() for line in lines]


def image_entries(root: Path) -> dict[str, str]:
    """Subset -> its folder of images or list of images, relative to the root."""
    if (root / "obj.data").is_file():
        return _darknet(root)
    images = root / "images"
    if images.is_dir():
        below = sorted(path.name for path in images.iterdir() if _has_images(path))
        return {name: f"images/{name}" for name in below} or {DEFAULT: "images"}
    folders = sorted(path.name for path in root.iterdir() if (path / "images").is_dir())
    if folders:
        return {name: f"{name}/images" for name in folders}
    folders = sorted(path.name for path in root.iterdir() if _has_images(path))
    return {DEFAULT: "."} if _has_images(root) else {name: name for name in folders}


def _darknet(root: Path) -> dict[str, str]:
    """The lists of obj.data: lines such as `train = data/train.txt`."""
    lines = (root / "obj.data").read_text(encoding="utf-8-sig", errors="replace").splitlines()
    pairs = [line.partition("=")[::2] for line in lines]
    entries = {key.strip(): value.strip().rpartition("/")[2] for key, value in pairs}
    return {
        key: value for key, value in entries.items() if key in ("train", "valid", "test") and value
    }


def _has_images(folder: Path) -> bool:
    try:
        return any(entry.name.lower().endswith(SUFFIXES) for entry in os.scandir(folder))
    except OSError:
        return False
