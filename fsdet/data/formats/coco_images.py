"""Image files of a COCO JSON: the folders that may hold them, and the name of each image there."""

import os
import re
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from fsdet.data.formats.image_files import ImageFiles
from fsdet.data.formats.validation import DataIssue, is_name
from fsdet.errors import InputError
from fsdet.files import is_file

ROBOFLOW_FILE = "_annotations.coco.json"
# Subsets whose images lie in the folder of another one: shot lists of CD-FSOD, LVIS v0.5, and the
# parts of COCO 2014 that TFA uses (one folder in its own layout, these two in COCO 2017's).
IMAGE_FOLDER_ALIASES = (
    (r"\d+_shot", "train"),
    (r"lvis_.*_(train|val)", r"\g<1>2017"),
    (r"(trainvalno)?5k", "trainval2014"),
    (r"trainvalno5k", "train2017"),
    (r"5k", "val2017"),
    (r"(?:person_keypoints|captions|stuff|panoptic)_(.+)", r"\g<1>"),  # COCO's other annotations
)


def image_folders(root: Path, file: Path) -> list[str]:
    """Existing folders that may hold the images of a JSON, relative to the root, likeliest first."""
    beside_images = file.name == ROBOFLOW_FILE or file.stem in ("annotations", "labels", "result")
    subset = file.parent.name if beside_images else file.stem.removeprefix("instances_")
    aliases = [
        re.sub(pattern, alias, subset)
        for pattern, alias in IMAGE_FOLDER_ALIASES
        if re.fullmatch(pattern, subset)
    ]
    folders = [f"{parent}{name}" for name in (subset, *aliases) for parent in ("images/", "")]
    folders += ["images", "data", "."]
    if file.resolve().is_relative_to(root.resolve()):
        beside = os.path.relpath(file.parent.resolve(), root.resolve())
        folders += [beside, f"{beside}/images", f"{beside}/data"]
    return [folder for folder in dict.fromkeys(folders) if (root / folder).is_dir()]


def locate_images(
    root: Path, file: Path, images: Sequence[dict[str, Any]], faults: list[DataIssue]
) -> list[str]:
    """Find the file of each image entry.

    Folder and naming are the pair that finds most of the first images; all images must follow it.

    Returns:
        Paths relative to the root, "" for an image without a usable file.
    """
    namings = (_file_name, _name_in_url, _name_in_coco_2014, _name_in_coco_2017)
    folders = image_folders(root, file)
    finders = {folder: ImageFiles(root, [folder]) for folder in folders}

    def num_found(pair: tuple[str, Callable[[dict[str, Any]], object]]) -> tuple[int, int, int]:
        folder, naming = pair
        names = [naming(image) for image in images[:16]]
        exact = sum(is_file(root / folder / name) for name in names if is_name(name))
        return exact, sum(_is_found(finders[folder], name) for name in names), -names.count(None)

    folder, naming = max(product(folders, namings), key=num_found)
    paths = []
    for image in images:
        name, path = naming(image), None
        issue_where = f"{file.name}, image {image['id']}"
        if not is_name(name) or not name.strip():
            detail = f"expected a file_name; got {name!r:.80}"
            faults.append(DataIssue(issue_where, "image is incomplete", detail))
        else:
            try:
                path = finders[folder].find(name)
            except InputError as error:
                faults.append(DataIssue(issue_where, "image outside the data root", str(error)))
            else:
                expected = name if folder == "." else f"{folder}/{name}"
                if path is None:
                    detail = f"expected {expected}"
                    faults.append(DataIssue(issue_where, "missing image file", detail, expected))
        paths.append(path or "")
    return paths


def _is_found(files: ImageFiles, name: object) -> bool:
    try:
        return is_name(name) and files.find(name) is not None
    except InputError:
        return False


def _file_name(image: dict[str, Any]) -> object:
    return image.get("file_name")


def _name_in_url(image: dict[str, Any]) -> object:
    """Folder and file of `coco_url`; LVIS v1 has no file_name."""
    url = image.get("coco_url")
    return "/".join(url.split("/")[-2:]) if isinstance(url, str) else None


def _name_in_coco_2014(image: dict[str, Any]) -> object:
    """Folder and file of an image of COCO 2014, as a subset may mix train2014 and val2014."""
    name = image.get("file_name")
    folder = re.match(r"COCO_(train2014|val2014)_", name) if isinstance(name, str) else None
    return f"{folder[1]}/{name}" if folder else None


def _name_in_coco_2017(image: dict[str, Any]) -> object:
    """The name in COCO 2017 of an image with its name of 2014, as in LVIS v0.5 and TFA's lists."""
    name = image.get("file_name")
    return re.sub(r"^COCO_(train|val)2014_", "", name) if isinstance(name, str) else None
