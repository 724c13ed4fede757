"""The shots that the field has used since 2019, from the lists as they were published."""

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

# The lists of 2019 write COCO's categories as VOC does; those published later as COCO does.
VOC_SPELLING = {
    "airplane": "aeroplane",
    "couch": "sofa",
    "dining table": "diningtable",
    "motorcycle": "motorbike",
    "potted plant": "pottedplant",
    "tv": "tvmonitor",
}
WITHIN = 0.5  # pixels between a corner in a list and in the data set: some are rounded


class _Listed(NamedTuple):
    """What a list names of a category, and what of it the data set has."""

    images: list[int]
    only: set[int] | None  # annotation ids; None: all boxes of the category in these images
    total: int
    kind: str  # of what the total is: "images" or "boxes"
    absent: int


def published(
    folder: Path | str,
    data: DetectionData,
    classes: Sequence[str],
    k: int,
    seed: int = 0,
) -> dict[str, list[int]]:
    """The annotations that the field's published lists name, category by category.

    `folder` holds, for seed 0, `box_{k}shot_{category}_train.txt` (VOC) or
    `full_box_{k}shot_{category}_trainval.txt` or `.json` (COCO), and `seed{n}/` the same for the
    others; or `{k}_shot.json` (CD-FSOD), which is one draw, seed 0. A list of images means the
    boxes of that category in them, VOC's difficult ones included, as TFA takes them. CD-FSOD's ids
    are its own: its boxes are found by image and corners.

    Where there are more than k boxes, k are taken once, in `sample`'s order. What `data` lacks is
    passed over and logged. A category may have fewer than k, by this or by its list; one left with
    none is an `InputError`.
    """
    shots, refused = published_of_each(folder, data, classes, k, seed)
    for error in refused.values():
        raise error
    return shots


def published_of_each(
    folder: Path | str,
    data: DetectionData,
    classes: Sequence[str],
    k: int,
    seed: int = 0,
) -> tuple[dict[str, list[int]], dict[str, InputError]]:
    """As `published`, and why categories that no list gives are not there."""
    stems: dict[str, list[int]] = {}
    for index in range(len(data)):
        stems.setdefault(_stem(data.paths[index]), []).append(index)
    seed_folder = Path(folder) / f"seed{seed}" if seed else Path(folder)
    shots, refused = {}, {}
    for name in classes:
        try:
            label_of(data, name)  # an unknown category is a better complaint than a missing list
            file = _list_file(Path(folder), seed_folder, name, k)
            shots[name] = _drawn(file, data, name, k, seed, stems)
        except InputError as error:
            refused[name] = error
    return shots, refused


def _drawn(
    file: Path,
    data: DetectionData,
    name: str,
    k: int,
    seed: int,
    stems: Mapping[str, Sequence[int]],
) -> list[int]:
    read = _boxes if file.name == f"{k}_shot.json" else _images
    listed = read(file, data, name, stems)
    shots = draw(data, name, listed.images, k, seed, listed.only)
    absent = f"{listed.absent} of {listed.total} {listed.kind} are not in"
    if listed.absent:
        logger.warning("%s: %s %s", file, absent, data.root)
    if not listed.total:
        raise InputError(f"{file}: the list of '{name}' is empty")
    if not shots:
        raise InputError(f"{file}: {data.root} has none of the {k} boxes of '{name}' ({absent} it)")
    return shots


def _stem(path: str) -> str:
    # COCO's images of 2014 were renamed in 2017: COCO_train2014_000000200155 is 000000200155.
    return re.sub(r"^COCO_(train|val)2014_", "", re.split(r"[/\\]", path)[-1].rpartition(".")[0])


def _list_file(folder: Path, seed_folder: Path, name: str, k: int) -> Path:
    whole = folder / f"{k}_shot.json"
    if whole.is_file() and seed_folder == folder:
        return whole
    for spelling in _spellings(name):
        for pattern in (
            f"box_{k}shot_{spelling}_train.txt",
            f"full_box_{k}shot_{spelling}_trainval.json",
            f"full_box_{k}shot_{spelling}_trainval.txt",
        ):
            if (seed_folder / pattern).is_file():
                return seed_folder / pattern
    raise InputError(
        f"{seed_folder}: no published {k}-shot list of '{name}'{_instead(folder, seed_folder, name)}"
    )


def _spellings(name: str) -> tuple[str, str]:
    return name, VOC_SPELLING.get(name, name)


def _instead(folder: Path, seed_folder: Path, name: str) -> str:
    """What there is where a list was looked for."""
    if not folder.is_dir():
        there = [x.name for x in folder.parent.iterdir()] if folder.parent.is_dir() else []
        hint = nearest(folder.name, [*there, "tfa"])
        return f"; there is no folder '{folder}'{hint} (data.shots: a folder of lists, or tfa)"
    draws = sorted((x.name for x in folder.glob("*_shot.json")), key=lambda n: (len(n), n))
    if draws:
        return f"; {folder} has {', '.join(draws)}, of seed 0 alone (evaluate.seeds=1)"
    if not seed_folder.is_dir():
        seeds = sorted(int(x.name[4:]) for x in folder.glob("seed[0-9]*") if x.name[4:].isdigit())
        return f"; lists are there of seeds 0{''.join(f', {seed}' for seed in seeds)}"
    lists = "*box_*shot_*"
    of = {x.name: re.sub(r"^.*?shot_|_train(val)?$", "", x.stem) for x in seed_folder.glob(lists)}
    files = sorted(file for file, category in of.items() if category in _spellings(name))
    if files:
        return f"; of it there is {', '.join(files)}"
    if of:
        return "; the folder has lists of other categories"
    below = sorted({file.parent.name for file in folder.glob(f"*/{lists}")})
    return "; the folder has no such lists" + (f"; below it: {', '.join(below)}" if below else "")


def _images(
    file: Path, data: DetectionData, name: str, stems: Mapping[str, Sequence[int]]
) -> _Listed:
    """A list of images, or a COCO JSON that names annotations by the data set's own ids."""
    only = None
    if file.suffix == ".json":
        rows = _annotations(file, lambda row: row["id"])
        listed, only = [path for path, _, _ in rows], {number for _, _, number in rows}
    else:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        listed = [line.strip() for line in lines if line.strip()]
    wanted = dict.fromkeys(map(_stem, listed))  # some lists name an image twice
    images = [_image(file, data, stem, stems) for stem in wanted if stem in stems]
    if only is None and data.layout == "VOC":
        label = label_of(data, name)
        only = {int(data.ids[row]) for image in images for row in rows_of(data, image, label)}
    return _Listed(images, only, len(wanted), "images", len(wanted) - len(images))


def _boxes(
    file: Path, data: DetectionData, name: str, stems: Mapping[str, Sequence[int]]
) -> _Listed:
    """The boxes of a category in a COCO JSON, by image and corners."""
    listed = [
        (_stem(path), box) for path, kind, box in _annotations(file, _corners) if kind == name
    ]
    rows = [
        _row(data, _image(file, data, stem, stems), label_of(data, name), box)
        for stem, box in listed
        if stem in stems
    ]
    matched = [row for row in rows if row is not None]
    images = np.unique(data.image_of(matched)).tolist()
    return _Listed(
        images, set(data.ids[matched].tolist()), len(listed), "boxes", len(listed) - len(matched)
    )


def _row(data: DetectionData, image: int, label: int, box: Sequence[float]) -> int | None:
    """The nearest box of the label whose corners are `WITHIN` those of `box`, if there is one."""
    rows, (height, width) = rows_of(data, image, label), data.sizes[image]
    listed = np.clip(box, 0, (width, height, width, height))  # as readers clip theirs
    apart = np.abs(data.boxes[rows] - listed).max(axis=1)
    return int(rows[apart.argmin()]) if len(rows) and apart.min() <= WITHIN else None


def _image(file: Path, data: DetectionData, stem: str, stems: Mapping[str, Sequence[int]]) -> int:
    if len(stems[stem]) > 1:
        raise InputError(f"{file}: {data.root} has several images called '{stem}'")
    return stems[stem][0]


def _annotations(file: Path, value: Callable[[dict], T]) -> list[tuple[str, str | None, T]]:
    """Image file, category and value of each annotation of a COCO JSON of shots."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        images = {image["id"]: image["file_name"] for image in content["images"]}
        kinds = {kind["id"]: kind["name"] for kind in content.get("categories", ())}
        return [
            (images[row["image_id"]], kinds.get(row.get("category_id")), value(row))
            for row in content["annotations"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: not a COCO list of shots ({error!r})") from None


def _corners(row: dict) -> tuple[float, float, float, float]:
    x, y, width, height = map(float, row["bbox"])
    return x, y, x + width, y + height
