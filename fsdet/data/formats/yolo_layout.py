"""Layout of a YOLO folder: data.yaml, the images of a subset, and the label file of each image."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fsdet import safe_yaml
from fsdet.data.formats.validation import DataIssue
from fsdet.data.images import SUFFIXES
from fsdet.data.paths import resolve_inside
from fsdet.errors import InputError, one_line, printable

FILES = ("data.yaml", "data.yml", "dataset.yaml")
NOT_SUBSETS = {"path", "names", "nc", "download", "yaml_file"}


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
        if not all(type(number) is int for number, _ in pairs):
            numbers = [number for number, _ in pairs][:5]
            raise InputError(f"names: expected whole numbers from 0 as keys, got {numbers}")
        class_names = {number: printable(str(name)) for number, name in sorted(pairs)}
        if len(set(class_names.values())) < len(class_names) or not class_names:
            names = list(class_names.values())[:20]
            raise InputError(f"names: expected one or more names, all different, got {names}")
        return class_names

    def image_paths(self) -> dict[str, list[str]]:
        """Subset -> its entries: folders of images, or text files that list images."""
        entries = {key: [v] if isinstance(v, str) else v for key, v in self.content.items()}
        return {
            str(key): value
            for key, value in entries.items()
            if key not in NOT_SUBSETS
            and isinstance(value, list)
            and value
            and all(isinstance(entry, str) for entry in value)
        }


def load_data_yaml(root: Path) -> DataYaml | DataIssue | None:
    """The folder's data.yaml, the issue that keeps it from being read, or None without one."""
    file = next((root / name for name in FILES if (root / name).is_file()), None)
    if file is None:
        return None
    try:
        content = safe_yaml.load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return DataIssue(file.name, "data.yaml cannot be read", one_line(error))
    if not isinstance(content, dict) or not isinstance(content.get("names"), (dict, list)):
        detail = "expected the keys names (of the classes) and train, val, ... (image folders)"
        return DataIssue(file.name, "data.yaml cannot be used", detail)
    return DataYaml(file, content)


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


def label_file_of(image: str) -> str:
    """labels/.../x.txt for images/.../x.jpg; the last `images` of the path is replaced."""
    return os.path.splitext(_images_to_labels(image))[0] + ".txt"


def label_folder_of(folder: str) -> str:
    """The folder of the labels for a folder of images."""
    return _images_to_labels(f"{folder}/").rstrip("/")


def orphan_label_files(root: Path, folders: Sequence[str], images: Sequence[str]) -> Iterator[str]:
    """Label files that belong to none of the images, relative to the root."""
    expected = set(map(label_file_of, images))
    for folder in dict.fromkeys(map(label_folder_of, folders)):
        if folder in folders:
            continue  # labels beside images: other text files are indistinguishable from labels
        for parent, _, files in sorted(os.walk(root / folder)):
            for file in sorted(files):
                path = os.path.relpath(os.path.join(parent, file), root)
                if file.endswith(".txt") and file != "classes.txt" and path not in expected:
                    yield path


def _images_to_labels(path: str) -> str:
    before, images, after = f"/{path}".rpartition("/images/")
    return (f"{before}/labels/{after}" if images else path).lstrip("/")


def _locate(root: Path, base: str, entry: str, where: str) -> Path:
    # `path` is often the author's own folder, and exports write '../train/images' for a data.yaml
    # that lies beside train/: candidates under the root are tried in turn.
    stripped = entry
    while stripped.startswith(("../", "./")):
        stripped = stripped.partition("/")[2]
    candidates = [os.path.normpath(c) for c in (os.path.join(base, entry), entry, stripped)]
    candidates = list(dict.fromkeys(candidates))
    existing = [candidate for candidate in candidates if os.path.exists(root / candidate)]
    if not existing:
        raise _NotFound(f"{where}: no {' or '.join(candidates)} under {root}")
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
            path = _locate(root, base, line.strip(), where)
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
