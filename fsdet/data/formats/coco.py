"""COCO folders: annotations/instances_<subset>.json, or <subset>/_annotations.coco.json."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fsdet.data.formats.coco_images import ROBOFLOW_FILE, image_folders, locate_images
from fsdet.data.formats.coco_json import (
    annotation_in,
    box_column,
    complete_entries,
    crowd_column,
    drop_repeated_images,
    float_column,
    id_column,
    indices_in,
    load_json,
    replace_text_ids,
)
from fsdet.data.formats.lvis import parse_federated
from fsdet.data.formats.raw import RawAnnotations
from fsdet.data.formats.reader import ReadResult
from fsdet.data.formats.validation import DataIssue, is_name, size_from_file, validate
from fsdet.errors import join_some, printable
from fsdet.files import is_file

ANNOTATION_IDS = ("id", "image_id", "category_id")


class CocoReader:
    """Reader of COCO folders; a subset is a JSON's name without `instances_`, or a path to a JSON.

    Labels are in the order of the category ids, images in the order of the file.
    """

    name = "COCO"
    version = 3
    layout = (
        "COCO: annotations/instances_{subset}.json, annotations/{subset}.json "
        "or {subset}/_annotations.coco.json"
    )

    def subsets(self, root: Path) -> list[str]:
        names = {file.stem.removeprefix("instances_") for file in root.glob("annotations/*.json")}
        return sorted(names | {file.parent.name for file in root.glob(f"*/{ROBOFLOW_FILE}")})

    def has(self, root: Path, subset: str) -> bool:
        return _find_json(root, subset) is not None

    def sources(self, root: Path, subset: str) -> list[os.PathLike[str]]:
        file = _json_file(root, subset)
        # Without the root, whose listing changes for other reasons too, such as a folder of runs.
        folders = [root / folder for folder in image_folders(root, file) if folder != "."]
        return [file, *folders]

    def read(self, root: Path, subset: str) -> ReadResult:
        file = _json_file(root, subset)
        with _no_garbage_collection():
            content = load_json(file)
            if isinstance(content, DataIssue):
                return ReadResult(None, [content])
            faults: list[DataIssue] = []
            data, invalid = validate(_parse(root, file, replace_text_ids(content), faults))
            return ReadResult(data, [*faults, *invalid])


def _find_json(root: Path, subset: str) -> Path | None:
    """The JSON of a subset; a subset that ends in .json is a path from the root or from here."""
    if subset.endswith(".json"):
        candidates = [root / subset, Path(subset)]
    else:
        stems = (f"annotations/instances_{subset}", f"annotations/{subset}")
        candidates = [*(root / f"{stem}.json" for stem in stems), root / subset / ROBOFLOW_FILE]
    return next((file for file in candidates if is_file(file)), None)


def _json_file(root: Path, subset: str) -> Path:
    file = _find_json(root, subset)
    assert file is not None, "`has` is true"
    return file


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    # While millions of dicts are created, the collector would traverse them again and again.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _parse(
    root: Path, file: Path, content: dict[str, Any], faults: list[DataIssue]
) -> RawAnnotations:
    """The complete annotations whose image and category exist; faults are appended."""
    category_ids, classes = _categories(file, content["categories"], faults)
    images = complete_entries(file, "image", content["images"], ("id",), faults)
    known_images = np.unique(id_column(images, "id"))
    images = drop_repeated_images(file, images, faults)
    paths = locate_images(root, file, images, faults)
    size_of_image = [_size(root, *pair, faults) for pair in zip(images, paths, strict=True)]
    sizes = np.array(size_of_image, np.int64).reshape(-1, 2)
    image_ids = id_column(images, "id")

    rows = complete_entries(file, "annotation", content["annotations"], ANNOTATION_IDS, faults)
    rows, boxes = box_column(file, rows, faults)
    ids, row_images, row_categories = (id_column(rows, key) for key in ANNOTATION_IDS)
    labels = indices_in(category_ids, row_categories) + 1
    has_image = indices_in(known_images, row_images) >= 0
    for row in np.flatnonzero(~has_image).tolist():
        detail = (
            f"expected the id of one of {len(known_images)} images; got image_id {row_images[row]}"
        )
        faults.append(
            DataIssue(annotation_in(file, ids[row]), "annotation of an unknown image", detail)
        )
    for row in np.flatnonzero(has_image & (labels == 0)).tolist():
        expected = join_some(category_ids.tolist())
        detail = f"expected a category_id of {expected}; got {row_categories[row]}"
        faults.append(
            DataIssue(annotation_in(file, ids[row]), "annotation of an unknown category", detail)
        )
    order = np.argsort(image_ids)
    positions = indices_in(image_ids[order], row_images)
    crowds, has_flag = crowd_column(file, rows, faults)
    kept = np.flatnonzero((positions >= 0) & (labels > 0) & has_flag)
    ids = ids[kept]
    return RawAnnotations(
        root=root,
        layout=CocoReader.name,
        classes=classes,
        category_ids=category_ids,
        paths=[
            path or printable(str(image.get("file_name", image.get("coco_url"))))
            for path, image in zip(paths, images, strict=True)
        ],
        image_ids=image_ids,
        sizes=sizes,
        usable=np.array([bool(path) for path in paths], bool) & (sizes[:, 0] > 0),
        image_index=order[positions[kept]],
        labels=labels[kept].astype(np.int32),
        boxes=boxes[kept],
        ids=ids,
        areas=float_column(rows, "area")[kept],
        ignore=crowds[kept],
        where=lambda row: annotation_in(file, ids[row]),
        federated=parse_federated(images, content["categories"], category_ids.tolist()),
    )


def _categories(
    file: Path, entries: list[Any], faults: list[DataIssue]
) -> tuple[np.ndarray, list[str]]:
    """Category ids [N], ascending, and names."""
    categories = complete_entries(file, "category", entries, ("id",), faults)
    categories.sort(key=lambda category: category["id"])
    if file.name == ROBOFLOW_FILE:  # Roboflow lists the group of all categories as one of them
        groups = [category.get("supercategory") for category in categories]
        categories = [
            category
            for category in categories
            if category.get("supercategory") != "none" or category.get("name") not in groups
        ]
    id_of: dict[str, int] = {}
    previous_id = None
    for category in categories:
        where = f"{file.name}, category {category['id']}"
        name, category_id = category.get("name"), category["id"]
        if not is_name(name):
            detail = f"expected a name; got {name!r}"
            faults.append(DataIssue(where, "category is incomplete", detail))
        elif category_id == previous_id:
            detail = f"expected an id of its own; '{name}' has the id of '{next(reversed(id_of))}'"
            faults.append(DataIssue(where, "duplicate category id", detail))
        elif name in id_of:
            detail = f"expected a name of its own; category {id_of[name]} is '{name}' too"
            faults.append(DataIssue(where, "duplicate category name", detail))
        else:
            id_of[name] = previous_id = category_id
    return np.array(list(id_of.values()), np.int64), list(id_of)


def _size(root: Path, image: dict[str, Any], path: str, faults: list[DataIssue]) -> tuple[int, int]:
    """(height, width) of the entry, else of the image file; (0, 0) if that fails."""
    height, width = image.get("height"), image.get("width")
    if (
        type(height) is int
        and type(width) is int
        and 0 < min(height, width) <= max(height, width) < 2**31
    ):
        return height, width
    return size_from_file(root, path, faults) if path else (0, 0)
