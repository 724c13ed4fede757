"""COCO folders: annotations/instances_<subset>.json, and the other places where tools put their JSON."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fsdet.data.formats.coco_boxes import Box, annotation_box
from fsdet.data.formats.coco_categories import read_categories
from fsdet.data.formats.coco_entries import image_size_of, read_images
from fsdet.data.formats.coco_ids import (
    annotation_ids,
    column,
    flag,
)
from fsdet.data.formats.coco_images import image_folders
from fsdet.data.formats.coco_json import float_column, load_json
from fsdet.data.formats.coco_layout import coco_jsons, find_json
from fsdet.data.formats.lvis import parse_federated
from fsdet.data.formats.raw import RawAnnotations
from fsdet.data.formats.reader import ReadResult
from fsdet.data.formats.validation import DataIssue, validate
from fsdet.errors import join_some, printable


class CocoReader:
    """Reader of COCO folders; a subset is a JSON's name without `instances_`, or a path to a JSON.

    Labels are in the order of the category ids, images in the order of the file.
    """

    name = "COCO"
    version = 4
    layout = (
        "COCO: annotations/instances_{subset}.json, annotations/{subset}.json, {subset}.json "
        "or {subset}/_annotations.coco.json"
    )

    def subsets(self, root: Path) -> list[str]:
        return sorted(coco_jsons(root))

    def has(self, root: Path, subset: str) -> bool:
        return find_json(root, subset) is not None

    def sources(self, root: Path, subset: str) -> list[os.PathLike[str]]:
        file = find_json(root, subset)
        assert file is not None, "`has` is true"
        # Without the root, whose listing changes for other reasons too, such as a folder of runs.
        folders = [root / folder for folder in image_folders(root, file) if folder != "."]
        return [file, *folders]

    def read(self, root: Path, subset: str) -> ReadResult:
        file = find_json(root, subset)
        assert file is not None, "`has` is true"
        with _no_garbage_collection():
            content = load_json(file)
            if isinstance(content, DataIssue):
                return ReadResult(None, [content])
            faults: list[DataIssue] = []
            warnings: list[DataIssue] = []
            data, invalid = validate(_parse(root, file, content, faults, warnings))
            return ReadResult(data, [*faults, *invalid], warnings)


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
    root: Path,
    file: Path,
    content: dict[str, Any],
    faults: list[DataIssue],
    warnings: list[DataIssue],
) -> RawAnnotations:
    """The complete annotations whose image and category exist; faults and warnings are appended.

    An image with an annotation whose box or category is unknown is not usable: the object would be background.
    """
    rows = [row if isinstance(row, dict) else {} for row in content["annotations"]]
    row_images, row_categories = column(rows, "image_id"), column(rows, "category_id")
    used = {key for key in row_categories if key is not None}
    classes, category_ids, label_of = read_categories(
        file, content["categories"], used, faults, warnings
    )
    images = read_images(root, file, content["images"], faults, warnings)
    pairs = zip(images.entries, images.paths, strict=True)
    sizes = np.array([image_size_of(root, *pair, faults) for pair in pairs], np.int64).reshape(
        -1, 2
    )
    usable = np.array([bool(path) for path in images.paths], bool) & (sizes[:, 0] > 0)
    ids, own = annotation_ids(column(rows, "id"))
    if not own and any(type(row.get("id")) is int for row in rows):
        detail = "some are missing, repeat or exceed 64 bits: all are numbered from 1"
        warnings.append(DataIssue(file.name, "annotation ids are not unique", detail))

    kept, index, labels, boxes, ignore = [], [], [], [], []
    for position, (row, image, category) in enumerate(
        zip(rows, row_images, row_categories, strict=True)
    ):
        i = images.index_of.get(image) if image is not None else None
        label = label_of.get(category) if category is not None else None
        box, crowd = annotation_box(row), flag(row.get("iscrowd"))
        fault = _fault(row, i, label, box, crowd, len(images.index_of), category_ids)
        if fault or label == 0:  # an id of several categories is a fault already
            if fault:
                faults.append(DataIssue(annotation_in(file, ids[position]), *fault))
            if i is not None and i >= 0:
                usable[i] = False
        elif i is not None and i >= 0:
            kept.append(position)
            index.append(i)
            labels.append(label)
            boxes.append(box)
            ignore.append(crowd)
    ids = ids[kept]
    return RawAnnotations(
        root=root,
        layout=CocoReader.name,
        classes=classes,
        category_ids=category_ids,
        paths=[
            path or printable(str(image.get("file_name", image.get("coco_url"))))
            for path, image in zip(images.paths, images.entries, strict=True)
        ],
        image_ids=np.array(images.ids, np.int64),
        sizes=sizes,
        usable=usable,
        image_index=np.array(index, np.int64),
        labels=np.array(labels, np.int32),
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        ids=ids,
        areas=float_column(rows, "area")[kept],
        ignore=np.array(ignore, bool),
        where=lambda row: annotation_in(file, ids[row]),
        federated=parse_federated(images.entries, content["categories"], category_ids),
    )


def _fault(
    row: dict[str, Any],
    image: int | None,
    label: int | None,
    box: Box | str,
    crowd: bool | None,
    num_images: int,
    category_ids: list[int],
) -> tuple[str, str] | None:
    """(rule, detail) of the first fault of an annotation, None without one."""
    if image is None:
        detail = f"expected the id of one of {num_images} images; got image_id {row.get('image_id')!r:.80}"
        return "annotation of an unknown image", detail
    if label is None:
        detail = f"expected a category_id of {join_some(category_ids)}; got {row.get('category_id')!r:.80}"
        return "annotation of an unknown category", detail
    if isinstance(box, str):
        return "annotation is incomplete", box
    if crowd is None:
        return "annotation is incomplete", f"expected iscrowd 0 or 1; got {row['iscrowd']!r:.80}"
    return None


def annotation_in(file: Path, annotation_id: int) -> str:
    """The place of an annotation, for `DataIssue.where`."""
    return f"{file.name}, annotation {annotation_id}"
