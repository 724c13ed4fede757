"""Published lists of shots: the files that few-shot detection has used since 2019."""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.shots.sampling import draw, label_of, rows_of
from fsdet.errors import InputError, nearest

logger = logging.getLogger("fsdet")
T = TypeVar("T")

Stems = Mapping[str, Sequence[int]]
"""File name of an image without folder and ending -> indices of the images with this name."""

# The lists of 2019 write COCO's categories as VOC does, later lists as COCO does.
VOC_SPELLING = {
    "airplane": "aeroplane",
    "couch": "sofa",
    "dining table": "diningtable",
    "motorcycle": "motorbike",
    "potted plant": "pottedplant",
    "tv": "tvmonitor",
}
TOLERANCE = 0.5  # pixels between a corner in a list and in the data set, as some lists are rounded


class _Listed(NamedTuple):
    """The entries of a list for one category, found in the data set."""

    images: list[int]
    ids: set[int] | None  # annotation ids; None: all boxes of the category in these images
    total: int  # entries
    missing: int  # entries that the data set lacks
    noun: str  # "images" or "boxes"


def image_stems(data: DetectionData) -> Stems:
    """Index the images by name, for `published` (about a second for COCO's 118,000)."""
    stems: dict[str, list[int]] = {}
    for index in range(len(data)):
        stems.setdefault(_stem(data.paths[index]), []).append(index)
    return stems


def published(
    folder: Path | str,
    data: DetectionData,
    classes: Sequence[str],
    k: int,
    seed: int = 0,
    stems: Stems | None = None,
) -> dict[str, list[int]]:
    """Read the shots of each category from published lists.

    A list of images (`.txt`) stands for all boxes of its category in them, with VOC's difficult ones, as in
    TFA. The ids of CD-FSOD's lists are not those of the data set: its boxes are matched by image and corners.
    Of more than k boxes, k are drawn in the order of `sample`. Entries that `data` lacks are skipped and
    logged, so a category may have fewer than k shots.

    Args:
        folder: holds `box_{k}shot_{category}_train.txt` (VOC) or `full_box_{k}shot_{category}_trainval.txt`
            or `.json` (COCO) for seed 0, and the same files in `seed{n}/` for other seeds; or
            `{k}_shot.json` (CD-FSOD), for seed 0 only.
        stems: `image_stems` of the data, for callers that read many lists.

    Returns:
        Category -> annotation ids.

    Raises:
        InputError: no list for a category, a damaged list, or a category without shots in `data`.
    """
    shots, errors = published_of_each(folder, data, classes, k, seed, stems)
    for error in errors.values():
        raise error
    return shots


def published_of_each(
    folder: Path | str,
    data: DetectionData,
    classes: Sequence[str],
    k: int,
    seed: int = 0,
    stems: Stems | None = None,
) -> tuple[dict[str, list[int]], dict[str, InputError]]:
    """As `published`, but returns the errors of the categories that have no shots."""
    if stems is None:
        stems = image_stems(data)
    shots: dict[str, list[int]] = {}
    errors: dict[str, InputError] = {}
    for name in classes:
        try:
            label_of(data, name)  # report an unknown category rather than a missing list
            shots[name] = _read_list(Path(folder), data, name, k, seed, stems)
        except InputError as error:
            errors[name] = error
    return shots, errors


def _read_list(
    folder: Path, data: DetectionData, name: str, k: int, seed: int, stems: Stems
) -> list[int]:
    """Annotation ids of the shots of one category."""
    file = _list_file(folder, name, k, seed)
    read = _listed_boxes if file.name == f"{k}_shot.json" else _listed_images
    listed = read(file, data, name, stems)
    shots = draw(data, name, listed.images, k, seed, listed.ids)
    missing = f"{listed.missing} of {listed.total} {listed.noun} are not in"
    if listed.missing:
        logger.warning("%s: %s %s", file, missing, data.root)
    if not listed.total:
        raise InputError(f"{file}: the list of '{name}' is empty")
    if not shots:
        raise InputError(
            f"{file}: {data.root} has none of the {k} boxes of '{name}' ({missing} it)"
        )
    return shots


def _stem(path: str) -> str:
    # COCO's images of 2014 were renamed in 2017: COCO_train2014_000000200155 is 000000200155.
    return re.sub(r"^COCO_(train|val)2014_", "", re.split(r"[/\\]", path)[-1].rpartition(".")[0])


def _list_file(folder: Path, name: str, k: int, seed: int) -> Path:
    seed_folder = folder / f"seed{seed}" if seed else folder
    spellings = dict.fromkeys((name, VOC_SPELLING.get(name, name)))
    patterns = (
        "box_{}shot_{}_train.txt",
        "full_box_{}shot_{}_trainval.json",
        "full_box_{}shot_{}_trainval.txt",
    )
    files = [seed_folder / pattern.format(k, s) for s in spellings for pattern in patterns]
    if not seed:
        files.insert(0, folder / f"{k}_shot.json")
    for file in files:
        if file.is_file():
            return file
    hint = _available(folder, seed_folder, tuple(spellings))
    raise InputError(f"{seed_folder}: no published {k}-shot list of '{name}'; {hint}")


def _available(folder: Path, seed_folder: Path, spellings: Sequence[str]) -> str:
    """The lists that a folder does have, for the error about a missing one."""
    if not folder.is_dir():
        siblings = [path.name for path in folder.parent.glob("*")]
        hint = nearest(folder.name, [*siblings, "tfa"])
        return f"there is no folder '{folder}'{hint} (data.shots: a folder of lists, or tfa)"
    whole = sorted((path.name for path in folder.glob("*_shot.json")), key=lambda n: (len(n), n))
    if whole:
        return f"{folder} has {', '.join(whole)}, for seed 0 only (evaluate.seeds=1)"
    if not seed_folder.is_dir():
        names = (path.name[4:] for path in folder.glob("seed[0-9]*"))
        seeds = sorted(int(name) for name in names if name.isdigit())
        return f"the folder has lists of seeds {', '.join(map(str, [0, *seeds]))}"
    pattern = "*box_*shot_*"
    category_of = {
        path.name: re.sub(r"^.*?shot_|_train(val)?$", "", path.stem)
        for path in seed_folder.glob(pattern)
    }
    files = sorted(file for file, category in category_of.items() if category in spellings)
    if files:
        return f"lists of this category: {', '.join(files)}"
    if category_of:
        return "the folder has lists of other categories"
    below = sorted({path.parent.name for path in folder.glob(f"*/{pattern}")})
    return "the folder has no such lists" + (f"; below it: {', '.join(below)}" if below else "")


def _listed_images(file: Path, data: DetectionData, name: str, stems: Stems) -> _Listed:
    """The images of a list, or of a COCO JSON that names annotations by the data set's own ids."""
    ids = None
    if file.suffix == ".json":
        rows = _annotations(file, lambda row: row["id"])
        paths, ids = [path for path, _, _ in rows], {annotation for _, _, annotation in rows}
    else:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        paths = [line.strip() for line in lines if line.strip()]
    listed = dict.fromkeys(map(_stem, paths))  # some lists name an image twice
    images = [_image(file, data, stem, stems) for stem in listed if stem in stems]
    if ids is None and data.layout == "VOC":
        label = label_of(data, name)
        ids = {int(data.ids[row]) for image in images for row in rows_of(data, image, label)}
    return _Listed(images, ids, len(listed), len(listed) - len(images), "images")


def _listed_boxes(file: Path, data: DetectionData, name: str, stems: Stems) -> _Listed:
    """The boxes of a category in a COCO JSON, matched by image and corners."""
    rows = _annotations(file, _corners)
    boxes = [(_stem(path), box) for path, category, box in rows if category == name]
    label = label_of(data, name)
    nearest_rows = [
        _nearest_row(data, _image(file, data, stem, stems), label, box)
        for stem, box in boxes
        if stem in stems
    ]
    matched = [row for row in nearest_rows if row is not None]
    images, ids = np.unique(data.image_of(matched)).tolist(), set(data.ids[matched].tolist())
    return _Listed(images, ids, len(boxes), len(boxes) - len(matched), "boxes")


def _nearest_row(data: DetectionData, image: int, label: int, box: Sequence[float]) -> int | None:
    """Row of the nearest box of the label; None if a corner is further away than `TOLERANCE`."""
    rows, (height, width) = rows_of(data, image, label), data.sizes[image]
    clipped = np.clip(box, 0, (width, height, width, height))  # as the readers clip boxes
    distance = np.abs(data.boxes[rows] - clipped).max(axis=1)
    return int(rows[distance.argmin()]) if len(rows) and distance.min() <= TOLERANCE else None


def _image(file: Path, data: DetectionData, stem: str, stems: Stems) -> int:
    if len(stems[stem]) > 1:
        raise InputError(f"{file}: {data.root} has several images called '{stem}'")
    return stems[stem][0]


def _annotations(file: Path, value: Callable[[dict], T]) -> list[tuple[str, str | None, T]]:
    """Image file, category and value of each annotation of a COCO JSON of shots."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        images = {image["id"]: image["file_name"] for image in content["images"]}
        names = {category["id"]: category["name"] for category in content.get("categories", ())}
        return [
            (images[row["image_id"]], names.get(row.get("category_id")), value(row))
            for row in content["annotations"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: not a COCO list of shots ({error!r})") from None


def _corners(row: dict) -> tuple[float, float, float, float]:
    x, y, width, height = map(float, row["bbox"])
    return x, y, x + width, y + height
