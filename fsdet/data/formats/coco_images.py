"""Where the images of a COCO JSON are, and what each is called."""

import os
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path

from fsdet.data.formats.validation import DataIssue
from fsdet.data.paths import Listing, inside
from fsdet.errors import InputError

ROBOFLOW = "_annotations.coco.json"
# Subsets whose images lie under the name of another: CD-FSOD's lists of shots, LVIS v0.5, and TFA's parts of
# COCO 2014, which it keeps in one folder; of 2017 they are these two.
IMAGE_FOLDER_ALIASES = (
    (r"\d+_shot", "train"),
    (r"lvis_.*_(train|val)", r"\g<1>2017"),
    (r"(trainvalno)?5k", "trainval2014"),
    (r"trainvalno5k", "train2017"),
    (r"5k", "val2017"),
)


def folders(root: Path, file: Path) -> list[str]:
    """Where the images of a JSON may be, relative to root, likeliest first."""
    subset = file.parent.name if file.name == ROBOFLOW else file.stem.removeprefix("instances_")
    subsets = [
        subset,
        *(re.sub(*kin, subset) for kin in IMAGE_FOLDER_ALIASES if re.fullmatch(kin[0], subset)),
    ]
    places = [f"{images}{name}" for name in subsets for images in ("images/", "")]
    places += ["images", "."]
    if file.resolve().is_relative_to(root.resolve()):
        places.append(os.path.relpath(file.parent.resolve(), root.resolve()))
    return [place for place in dict.fromkeys(places) if (root / place).is_dir()]


def files(root: Path, file: Path, images: list[dict], faults: list[DataIssue]) -> list[str]:
    """The file of each image, relative to root; empty where there is none to be used."""
    some = images[:16]

    def likely(place: tuple[str, Callable[[dict], object]]) -> tuple[int, int]:
        """How many of some images are there; then, how few are without a name."""
        folder, named = place
        names = [named(image) for image in some]
        found = sum((root / folder / str(name)).is_file() for name in names)
        return found, -names.count(None)

    namings = (_file_name, _of_url, _of_2014, _of_2017)
    folder, named = max(product(folders(root, file), namings), key=likely)
    listings: dict[str, Listing] = {}
    names = []
    for image in images:
        name, where = named(image), f"{file.name}, image {image['id']}"
        names.append("")
        if not isinstance(name, str) or not name:
            detail = f"expected a file_name, got {name!r}"
            faults.append(DataIssue(where, "image is incomplete", detail))
            continue
        try:
            path = name if folder == "." else f"{folder}/{name}"
            if ".." in path or name.startswith("/"):
                path = os.path.relpath(inside(root, path if name[0] != "/" else name), root)
            parent, _, last = path.rpartition("/")
            if parent not in listings:
                listings[parent] = Listing.of(root, parent)
            if last in listings[parent].links:
                inside(root, path)
        except InputError as error:
            faults.append(DataIssue(where, "image outside the data root", str(error)))
            continue
        if last not in listings[parent].files:
            faults.append(DataIssue(where, "missing image file", f"expected {path}", path))
            continue
        names[-1] = path
    return names


def _file_name(image: dict) -> object:
    return image.get("file_name")


def _of_url(image: dict) -> object:
    """Folder and file of COCO's own address, which is all that LVIS v1 says."""
    url = image.get("coco_url")
    return "/".join(url.split("/")[-2:]) if isinstance(url, str) else None


def _of_2014(image: dict) -> object:
    """Folder and file of an image of COCO 2014, whose name says it: a subset may mix train and val."""
    name = image.get("file_name")
    folder = re.match(r"COCO_(train2014|val2014)_", name) if isinstance(name, str) else None
    return f"{folder[1]}/{name}" if folder else None


def _of_2017(image: dict) -> object:
    """What an image that has its name of 2014, as in LVIS v0.5 and TFA's lists, is called since 2017."""
    name = image.get("file_name")
    return re.sub(r"^COCO_(train|val)2014_", "", name) if isinstance(name, str) else None
