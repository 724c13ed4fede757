"""Layout of a YOLO folder: data.yaml, the images of a subset, and the label file of each image."""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fsdet import safe_yaml
from fsdet.data.formats.validation import DataIssue
from fsdet.data.formats.yolo_classes import image_entries, names_file, read_names
from fsdet.data.formats.yolo_lists import with_lists
from fsdet.data.images import SUFFIXES
from fsdet.data.names import forward
from fsdet.data.paths import resolve_inside
from fsdet.errors import InputError, one_line, printable

FILES = ("data.yaml", "data.yml", "dataset.yaml")
NOT_SUBSETS = {
    "path",
    "names",
    "nc",
    "download",
    "yaml_file",
    "kpt_shape",
    "flip_idx",
    "roboflow",
    "kpt_names",
}


@dataclass(frozen=True)
class DataYaml:
    """A data.yaml with class names, not yet validated further."""

    file: Path
    content: dict[Any, Any]

    def class_names(self) -> dict[int, str]:
        """Class number -> name, ascending.

        Raises:
            InputError: no name, a name twice, or a number that is not whole.
        """
        names = self.content["names"]
        pairs = list(names.items()) if isinstance(names, dict) else list(enumerate(names))
        if not all(re.fullmatch(r"[0-9]{1,9}", str(number)) for number, _ in pairs):
            numbers = [number for number, _ in pairs][:5]
            raise InputError(f"names: expected whole numbers from 0 as keys, got {numbers}")
        if unnamed := [n for n, name in pairs if not isinstance(name, str) or not name.strip()]:
            raise InputError(f"names: expected a name for each class, number {unnamed[0]} has none")
        class_names = {
            int(number): printable(name) for number, name in sorted(pairs, key=lambda p: int(p[0]))
        }
        if len(set(class_names.values())) < len(pairs) or not class_names:
            names = list(class_names.values())[:20]
            raise InputError(f"names: expected one or more names, all different, got {names}")
        return class_names

    def points(self) -> int | None:
        """Numbers of the key points in each line, after its box; None for boxes and outlines.

        Raises:
            InputError: kpt_shape is not two whole numbers.
        """
        shape = self.content.get("kpt_shape")
        if shape is None:
            return None
        if not isinstance(shape, list) or not all(
            re.fullmatch(r"[0-9]{1,4}", str(n)) for n in shape
        ):
            raise InputError(f"kpt_shape: expected [points, 2 or 3], got {shape}")
        return math.prod(map(int, shape))

    def image_paths(self) -> dict[str, list[str]]:
        """Subset -> its entries: folders of images, or text files that list images."""
        entries = {key: [v] if isinstance(v, str) else v for key, v in self.content.items()}
        return {
            str(key): value
            for key, value in entries.items()
            if key not in NOT_SUBSETS
            and isinstance(value, list)
            and value
            and all(isinstance(entry, str) and entry for entry in value)
        }


def load_data_yaml(root: Path) -> DataYaml | DataIssue | None:
    """The folder's data.yaml, the issue that keeps it from being read, or None without one.

    Values are text as they stand: YAML itself would read the name no as False, and 007 as 7. Without a data.yaml
    there may be a file of class names beside folders of images and labels.
    """
    file = next((root / name for name in FILES if (root / name).is_file()), None)
    if file is None:
        names = names_file(root)
        if names is None:
            return None
        content = {"names": read_names(names), **image_entries(root)}
        return DataYaml(names, with_lists(root, content))
    try:
        content = safe_yaml.load(file.read_text(encoding="utf-8-sig"), yaml.BaseLoader)
    except (OSError, ValueError) as error:
        return DataIssue(file.name, "data.yaml cannot be read", one_line(error))
    if not isinstance(content, dict) or not isinstance(content.get("names"), (dict, list)):
        detail = "expected the keys names (of the classes) and train, val, ... (image folders)"
        return DataIssue(file.name, "data.yaml cannot be used", detail)
    return DataYaml(file, with_lists(root, content))


class SubsetFiles(NamedTuple):
    """Image files of a subset, and where they were found."""

    images: list[str]  # sorted, relative to the root
    lists: list[Path]  # text files that list images
    folders: list[str]  # folders of images, relative to the root


def locate_images(
    root: Path, data_yaml: DataYaml, subset: str, faults: list[DataIssue]
) -> SubsetFiles:
    """Find the images of a subset.

    Raises:
        InputError: an entry of data.yaml that does not exist, or lies outside the root.
    """
    images, lists, folders = [], [], []
    for entry in data_yaml.image_paths()[subset]:
        path = _locate(root, str(data_yaml.content.get("path") or "."), entry, subset)
        if path.is_file():
            lists.append(path)
            images += _read_list(root, path, faults)
        else:
            folders.append(os.path.relpath(path, root))
            images += _images_below(root, path, faults)
    return SubsetFiles(sorted(set(images)), lists, folders)


def _locate(root: Path, base: str, entry: str, where: str) -> Path:
    # `path` is often the author's own folder, and exports write '../train/images' for a data.yaml
    # that lies beside train/: candidates under the root are tried in turn.
    stripped = entry
    while stripped.startswith(("../", "./")):
        stripped = stripped.partition("/")[2]
    parts = stripped.split("/")
    spellings = (
        os.path.join(base, entry),
        entry,
        *("/".join(parts[n:]) for n in range(len(parts))),
    )
    candidates = [os.path.normpath(c) for c in spellings if c]
    candidates = list(dict.fromkeys(candidates))
    existing = [candidate for candidate in candidates if os.path.exists(root / candidate)]
    if not existing:
        raise _NotFound(f"{where}: no {' or '.join(candidates[:3])} under {root}")
    for candidate in existing:
        try:
            return resolve_inside(root, candidate)
        except InputError as error:
            outside = error
    raise outside


class _NotFound(InputError):
    """No candidate exists."""


def _read_list(root: Path, file: Path, faults: list[DataIssue]) -> list[str]:
    images, base = [], os.path.relpath(file.parent, root)
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{file.name}, line {number}"
        try:
            path = _locate(root, base, forward(line.strip()), where)
        except InputError as error:
            missing = isinstance(error, _NotFound)
            rule = "missing image file" if missing else "image outside the data root"
            faults.append(DataIssue(where, rule, str(error)))
            continue
        images.append(os.path.relpath(path, root))
    return images


def _images_below(root: Path, folder: Path, faults: list[DataIssue]) -> list[str]:
    images = []
    for parent, folders, files in os.walk(folder):
        for name in folders:
            if os.path.islink(os.path.join(parent, name)):
                link = os.path.relpath(os.path.join(parent, name), root)
                detail = "links to folders are not followed: name their targets in data.yaml"
                faults.append(DataIssue(link, "linked folder", detail))
        names = (file for file in files if file.lower().endswith(SUFFIXES))
        images += [os.path.relpath(os.path.join(parent, name), root) for name in names]
    return images
