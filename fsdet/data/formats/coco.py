"""COCO folders: annotations/instances_<subset>.json, or <subset>/_annotations.coco.json."""

import gc
import os
from pathlib import Path

import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.formats.coco_images import ROBOFLOW, files, folders
from fsdet.data.formats.coco_json import (
    corners,
    distinct,
    entries,
    few,
    integers,
    numbered,
    numbers,
    parse,
    place,
    position,
)
from fsdet.data.formats.lvis import federated
from fsdet.data.formats.validation import DataIssue, RawAnnotations, measured, validate

LOOKED_FOR = (
    "COCO: annotations/instances_{subset}.json, annotations/{subset}.json "
    "or {subset}/_annotations.coco.json"
)
VERSION = 2  # of the answer: indexes kept under another are read anew
LINKS = ("id", "image_id", "category_id")


def subsets(root: Path) -> list[str]:
    """The names of the subsets that the folder has."""
    names = {file.stem.removeprefix("instances_") for file in root.glob("annotations/*.json")}
    return sorted(names | {file.parent.name for file in root.glob(f"*/{ROBOFLOW}")})


def find(root: Path, subset: str) -> Path | None:
    """The JSON of a subset, or that a subset ending in .json names, from `root` or from here."""
    if subset.endswith(".json"):
        places = [root / subset, Path(subset)]
    else:
        stems = (f"annotations/instances_{subset}", f"annotations/{subset}")
        places = [*(root / f"{stem}.json" for stem in stems), root / subset / ROBOFLOW]
    return next((file for file in places if file.is_file()), None)


def sources(root: Path, subset: str) -> list[os.PathLike]:
    """All that the answer of `read` depends on: files, and folders whose listing matters."""
    file = _json(root, subset)
    # The root itself is written to for other reasons too (a folder of runs in it).
    return [file, *(root / folder for folder in folders(root, file) if folder != ".")]


def read(root: Path, subset: str) -> tuple[DetectionData | None, list[DataIssue]]:
    """The images of a subset with their boxes, and what was wrong; no data from a broken file.

    Labels are in the order of the category ids, images in that of the file.
    """
    file = _json(root, subset)
    # The collector would go through millions of dicts again and again while they are made.
    collecting = gc.isenabled()
    gc.disable()
    try:
        content = parse(file)
        if isinstance(content, DataIssue):
            return None, [content]
        return _read(root, file, numbered(content))
    finally:
        if collecting:
            gc.enable()


def _json(root: Path, subset: str) -> Path:
    file = find(root, subset)
    assert file is not None, "find has found it"
    return file


def _read(root: Path, file: Path, content: dict) -> tuple[DetectionData, list[DataIssue]]:
    faults: list[DataIssue] = []
    category_ids, classes = _categories(file, content["categories"], faults)
    listed = entries(file, "image", content["images"], ("id",), faults)
    known = np.unique(integers(listed, "id"))
    images = distinct(file, listed, faults)
    names = files(root, file, images, faults)
    sizes = np.array([_size(root, *pair, faults) for pair in zip(images, names, strict=True)])
    sizes = sizes.reshape(-1, 2)
    image_ids = integers(images, "id")
    label_of = {category: label for label, category in enumerate(category_ids.tolist(), 1)}

    rows = entries(file, "annotation", content["annotations"], LINKS, faults)
    rows, boxes = corners(file, rows, faults)
    ids, of_image, of_category = (integers(rows, key) for key in LINKS)
    labels = position(category_ids, of_category) + 1
    is_known = position(known, of_image) >= 0
    for row in np.flatnonzero(~is_known).tolist():
        detail = f"image_id {of_image[row]} is none of the {len(known)} images"
        faults.append(DataIssue(place(file, ids[row]), "annotation of a missing image", detail))
    for row in np.flatnonzero(is_known & (labels == 0)).tolist():
        detail = f"category_id {of_category[row]} is none of {few(category_ids.tolist())}"
        faults.append(DataIssue(place(file, ids[row]), "annotation of a missing category", detail))
    order = np.argsort(image_ids)
    at = position(image_ids[order], of_image)
    kept = np.flatnonzero((at >= 0) & (labels > 0))
    ids = ids[kept]
    draft = RawAnnotations(
        root=root,
        classes=classes,
        category_ids=category_ids,
        names=[
            name or str(image.get("file_name", image.get("coco_url")))
            for name, image in zip(names, images, strict=True)
        ],
        image_ids=image_ids,
        sizes=sizes,
        usable=np.array([bool(name) for name in names], bool) & (sizes[:, 0] > 0),
        image_index=order[at[kept]],
        labels=labels[kept].astype(np.int32),
        boxes=boxes[kept],
        ids=ids,
        areas=numbers([row.get("area") for row in rows])[kept],
        ignore=np.array([bool(row.get("iscrowd")) for row in rows], bool)[kept],
        where=lambda row: place(file, ids[row]),
        layout="COCO",
        federated=federated(images, content["categories"], label_of),
        faults=faults,
    )
    return validate(draft), faults


def _categories(file: Path, rows: list, faults: list[DataIssue]) -> tuple[np.ndarray, list[str]]:
    """Ids, ascending, and names."""
    rows = entries(file, "category", rows, ("id",), faults)
    rows.sort(key=lambda row: row["id"])
    if file.name == ROBOFLOW:  # such files list the group of all categories as one of them
        groups = {row.get("supercategory") for row in rows}
        rows = [r for r in rows if r.get("supercategory") != "none" or r.get("name") not in groups]
    names: dict[str, int] = {}
    for row in rows:
        where, name = f"{file.name}, category {row['id']}", row.get("name")
        if not isinstance(name, str) or not name:
            faults.append(
                DataIssue(where, "category is incomplete", f"expected a name, got {name!r}")
            )
        elif row["id"] in names.values():
            faults.append(DataIssue(where, "category id twice", f"'{name}' has the id of another"))
        elif name in names:
            faults.append(DataIssue(where, "category name twice", f"'{name}' is {names[name]} too"))
        else:
            names[name] = row["id"]
    return np.array(list(names.values()), np.int64), list(names)


def _size(root: Path, image: dict, name: str, faults: list[DataIssue]) -> tuple[int, int]:
    """(height, width), from the image file where the entry does not say; (0, 0) if that fails."""
    height, width = image.get("height"), image.get("width")
    if all(type(side) is int and 0 < side < 2**31 for side in (height, width)):
        return height, width  # type: ignore[return-value]
    return measured(root, name, faults) if name else (0, 0)
