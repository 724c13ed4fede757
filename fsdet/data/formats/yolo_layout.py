"""Where a YOLO folder keeps things: what data.yaml says, which images, and whose labels where."""

import os
from pathlib import Path

import yaml

from fsdet.data.formats.validation import DataIssue
from fsdet.data.images import SUFFIXES
from fsdet.data.paths import inside
from fsdet.errors import InputError, one_line

FILES = ("data.yaml", "data.yml", "dataset.yaml")
NOT_SUBSETS = {"path", "names", "nc", "download", "yaml_file"}


def config_file(root: Path) -> Path | None:
    return next((root / name for name in FILES if (root / name).is_file()), None)


def config(root: Path) -> dict | DataIssue | None:
    """data.yaml's content, what is wrong with it, or None where there is none."""
    file = config_file(root)
    if file is None:
        return None
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        return DataIssue(file.name, "data.yaml cannot be read", one_line(error))
    if not isinstance(content, dict) or not isinstance(content.get("names"), (dict, list)):
        return DataIssue(
            file.name, "data.yaml cannot be used", "expected names, and train, val, ..."
        )
    return content


def places(content: dict) -> dict[str, list[str]]:
    """Where data.yaml says the images of each subset are."""
    listed = {key: [v] if isinstance(v, str) else v for key, v in content.items()}
    return {
        str(key): value
        for key, value in listed.items()
        if key not in NOT_SUBSETS
        and isinstance(value, list)
        and value
        and all(isinstance(entry, str) for entry in value)
    }


def classes_of(content: dict) -> dict[int, str]:
    """Names by number; the same name twice, or a number that is none, is an `InputError`."""
    names = content["names"]
    pairs = list(names.items()) if isinstance(names, dict) else list(enumerate(names))
    if not all(type(key) is int for key, _ in pairs):
        raise InputError(f"names: expected numbers from 0, got {[key for key, _ in pairs][:5]}")
    classes = {key: str(name) for key, name in sorted(pairs)}
    if len(set(classes.values())) < len(classes) or not classes:
        raise InputError(f"names: expected different names, got {list(classes.values())[:20]}")
    return classes


def images_of(
    root: Path, content: dict, subset: str, faults: list[DataIssue]
) -> tuple[list[str], list[Path], list[str]]:
    """Image files of a subset, sorted; the lists they were read from; the folders they are in.

    All relative to root. A place that is not there, or not under root, is an `InputError`.
    """
    images, lists, folders = [], [], []
    for entry in places(content)[subset]:
        place = _locate(root, str(content.get("path") or "."), entry, subset)
        if place.is_file():
            lists.append(place)
            images += _listed(root, place, faults)
            continue
        folders.append(os.path.relpath(place, root))
        for parent, below, files in os.walk(place):
            for name in below:
                if os.path.islink(os.path.join(parent, name)):
                    where = os.path.relpath(os.path.join(parent, name), root)
                    detail = "links to folders are not followed here: name them in data.yaml"
                    faults.append(DataIssue(where, "linked folder", detail))
            found = (file for file in files if file.lower().endswith(SUFFIXES))
            images += [os.path.relpath(os.path.join(parent, file), root) for file in found]
    return sorted(set(images)), lists, folders


def label_file_of(image: str) -> str:
    """labels/.../x.txt of images/.../x.jpg: the last `images` of the path counts."""
    return os.path.splitext(_swapped(image))[0] + ".txt"


def labels_of(folder: str) -> str:
    """The folder of the labels of a folder of images."""
    return _swapped(f"{folder}/").rstrip("/")


def _swapped(path: str) -> str:
    before, images, after = f"/{path}".rpartition("/images/")
    return (f"{before}/labels/{after}" if images else path).lstrip("/")


def _locate(root: Path, base: str, entry: str, subset: str) -> Path:
    # `path` is often where the author kept the data, and exports write '../train/images' for a
    # data.yaml that lies beside train/: what is under root counts.
    stripped = entry
    while stripped.startswith(("../", "./")):
        stripped = stripped.partition("/")[2]
    choices = [os.path.normpath(c) for c in (os.path.join(base, entry), entry, stripped)]
    choices = list(dict.fromkeys(choices))
    there = [choice for choice in choices if (root / choice).exists()]
    if not there:
        raise InputError(f"{subset}: no {' or '.join(choices)} under {root}")
    for choice in there:
        try:
            return inside(root, choice)
        except InputError as error:
            outside = error
    raise outside


def _listed(root: Path, file: Path, faults: list[DataIssue]) -> list[str]:
    images, base = [], os.path.relpath(file.parent, root)
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{file.name}, line {number}"
        try:
            path = _locate(root, base, line.strip(), where)
        except InputError as error:
            rule = "missing image file" if ": no " in str(error) else "image outside the data root"
            faults.append(DataIssue(where, rule, str(error)))
            continue
        images.append(os.path.relpath(path, root))
    return images
