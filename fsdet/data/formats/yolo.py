"""YOLO folders: data.yaml, images/..., labels/... with one `class x y width height` a line."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.formats.validation import DataIssue, RawAnnotations, measured, validate
from fsdet.data.formats.yolo_layout import (
    classes_of,
    config,
    config_file,
    images_of,
    label_file_of,
    labels_of,
    places,
)
from fsdet.data.paths import inside
from fsdet.errors import InputError

logger = logging.getLogger("fsdet")
LOOKED_FOR = "YOLO: data.yaml with {subset}: beside images/ and labels/"
VERSION = 2  # of the answer: indexes kept under another are read anew


def subsets(root: Path) -> list[str]:
    """The names of the subsets that data.yaml has; none where it cannot be read."""
    content = config(root)
    return sorted(places(content)) if isinstance(content, dict) else []


def find(root: Path, subset: str) -> Path | None:
    """data.yaml where it has the subset, or where it is broken."""
    content = config(root)
    found = isinstance(content, DataIssue) or (content is not None and subset in places(content))
    return config_file(root) if found else None


def sources(root: Path, subset: str) -> Iterator[os.PathLike]:
    """All that the answer of `read` depends on: the files, images too as their size is used."""
    content, file = config(root), config_file(root)
    assert file is not None, "find has found it"
    yield file
    try:
        if not isinstance(content, dict):
            return
        images, lists, folders = images_of(root, content, subset, [])
    except InputError:
        return
    yield from lists
    yield from (root / name for image in images for name in (image, label_file_of(image)))
    yield from (root / labels_of(folder) for folder in folders)


def read(root: Path, subset: str) -> tuple[DetectionData | None, list[DataIssue]]:
    """The images of a subset with their boxes, and what was wrong; no data from a broken
    data.yaml.

    Image ids count the sorted image files from 1, annotation ids their lines, broken ones
    included. An image without label file has no boxes. A line with more points is an outline, of
    which the box is taken.
    """
    content, file = config(root), config_file(root)
    assert content is not None and file is not None, "find has found it"
    faults: list[DataIssue] = []
    if isinstance(content, DataIssue):
        return None, [content]
    try:
        classes = classes_of(content)
        images, _, folders = images_of(root, content, subset, faults)
    except InputError as error:
        return None, [DataIssue(file.name, "data.yaml cannot be used", str(error))]
    label_of = {key: label for label, key in enumerate(classes, 1)}
    alone = list(_orphans(root, folders, images))
    if alone:
        logger.warning("%s: %d label files of no image, as %s", root, len(alone), alone[0])
    names: list[str] = []
    image_ids, sizes, usable, rows, wheres = [], [], [], [], []
    seen = 0  # lines so far
    for image_id, name in enumerate(images, 1):
        label_file = label_file_of(name)
        try:
            lines = _lines(root, label_file)
        except InputError as error:
            faults.append(DataIssue(label_file, "label file cannot be used", str(error)))
            continue
        height, width = measured(root, name, faults)
        usable.append(height > 0)
        for number, line in lines:
            seen += 1
            where = f"{label_file}, line {number}"
            try:
                key, box = _parse(line)
            except (ValueError, OverflowError):
                detail = f"expected 'class x y width height', got '{line[:80]}'"
                faults.append(DataIssue(where, "label line is malformed", detail))
                continue
            if key not in label_of:
                detail = f"class {key} is none of 0..{max(label_of)} of {file.name}"
                faults.append(DataIssue(where, "annotation of a missing category", detail))
                continue
            if not usable[-1]:
                continue  # nothing says what a share of its side is
            x1, y1, x2, y2 = box
            box = (x1 * width, y1 * height, x2 * width, y2 * height)
            rows.append((len(names), label_of[key], seen, *box))
            wheres.append(where)
        names.append(name)
        image_ids.append(image_id)
        sizes.append((height, width))
    table = np.array(rows, np.float64).reshape(-1, 7)
    draft = RawAnnotations(
        root=root,
        classes=list(classes.values()),
        category_ids=range(1, len(classes) + 1),
        names=names,
        image_ids=np.array(image_ids, np.int64),
        sizes=np.array(sizes, np.int64).reshape(-1, 2),
        usable=np.array(usable, bool),
        image_index=table[:, 0].astype(np.int64),
        labels=table[:, 1].astype(np.int32),
        boxes=table[:, 3:],
        ids=table[:, 2].astype(np.int64),
        areas=np.full(len(table), np.nan),
        ignore=np.zeros(len(table), bool),
        where=wheres.__getitem__,
        layout="YOLO",
        faults=faults,
    )
    return validate(draft), faults


def _lines(root: Path, label_file: str) -> list[tuple[int, str]]:
    """Numbers and texts of the lines that say something; none where there is no file."""
    try:
        text = inside(root, label_file).read_text(encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(error.strerror) from None
    lines = enumerate(text.splitlines(), 1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def _parse(line: str) -> tuple[int, tuple[float, float, float, float]]:
    """Class number and x1, y1, x2, y2 in shares of the image's sides; else `ValueError`."""
    key, *values = map(float, line.split())
    if key != int(key):
        raise ValueError
    if len(values) == 4:
        x, y, width, height = values
        return int(key), (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if len(values) < 6 or len(values) % 2:
        raise ValueError
    across, down = values[::2], values[1::2]
    return int(key), (min(across), min(down), max(across), max(down))


def orphans(root: Path, subset: str) -> list[str]:
    """Label files of a subset that belong to no image, relative to root; no fault, but odd."""
    content = config(root)
    assert isinstance(content, dict), "read has read it"
    images, _, folders = images_of(root, content, subset, [])
    return list(_orphans(root, folders, images))


def _orphans(root: Path, folders: list[str], images: list[str]) -> Iterator[str]:
    expected = set(map(label_file_of, images))
    for folder in dict.fromkeys(map(labels_of, folders)):
        if folder in folders:
            continue  # labels beside images: what else is text there cannot be told
        for parent, _, files in sorted(os.walk(root / folder)):
            for file in sorted(files):
                name = os.path.relpath(os.path.join(parent, file), root)
                if file.endswith(".txt") and file != "classes.txt" and name not in expected:
                    yield name
