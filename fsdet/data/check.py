"""Everything that is wrong or odd with a data set, at once."""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.formats import yolo
from fsdet.data.formats.validation import DataIssue
from fsdet.data.open import READERS, reader_of, undecodable

FEW_BOXES = 10  # the most shots that the field's protocols ask for


@dataclass(frozen=True)
class Report:
    """What `check` found. Faults stop a training; warnings only deserve a look."""

    root: Path
    subset: str
    format: str  # "coco", "voc" or "yolo"
    images: int
    boxes: int
    ignored: int  # of the boxes: crowds and difficult ones
    per_category: dict[str, int]  # boxes that are not ignored
    faults: list[DataIssue]
    warnings: list[DataIssue]

    def counts(self) -> dict[str, int]:
        """How many faults of each rule, most first."""
        return dict(Counter(fault.rule for fault in self.faults).most_common())


def check(root: Path | str, subset: str) -> Report:
    """Read a subset, decode all its images, and compare them with those of the other subsets.

    Counts are of what is right. A folder or subset that is not there is an `InputError`.
    """
    root = Path(root)
    reader = reader_of(root, subset)
    data, faults = reader.read(root, subset)
    kind = reader.__name__.rpartition(".")[2]
    if data is None:
        return Report(root, subset, kind, 0, 0, 0, {}, faults, [])
    bad = dict(undecodable(data))
    warnings = [*_few_boxes(data), *_without_boxes(data), *_repeated_boxes(data)]
    if reader is yolo:
        detail = "no image has this name"
        warnings += [
            DataIssue(name, "label file alone", detail) for name in yolo.orphans(root, subset)
        ]
    warnings += _same_images(root, subset, reader, data)
    counted = np.bincount(data.labels[~data.ignore], minlength=len(data.classes) + 1)[1:]
    return Report(
        root=root,
        subset=subset,
        format=kind,
        images=len(data) - len(bad),
        boxes=len(data.boxes),
        ignored=int(data.ignore.sum()),
        per_category=dict(zip(data.classes, counted.tolist(), strict=True)),
        faults=[*faults, *bad.values()],
        warnings=warnings,
    )


def subsets(root: Path) -> list[str]:
    """The names of all subsets that a folder has, in whatever format."""
    return sorted({name for reader in READERS for name in reader.subsets(root)})


def _few_boxes(data: DetectionData) -> list[DataIssue]:
    counts = np.bincount(data.labels[~data.ignore], minlength=len(data.classes) + 1)[1:]
    rule = f"category with fewer than {FEW_BOXES} boxes"
    return [
        DataIssue(name, rule, f"{count}, and no more shots")
        for name, count in zip(data.classes, counts.tolist(), strict=True)
        if count < FEW_BOXES
    ]


def _without_boxes(data: DetectionData) -> list[DataIssue]:
    empty = np.flatnonzero(np.diff(data.starts) == 0).tolist()
    return [
        DataIssue(data.paths[i], "image without boxes", "all of it is background") for i in empty
    ]


def _repeated_boxes(data: DetectionData) -> list[DataIssue]:
    image = np.repeat(np.arange(len(data)), np.diff(data.starts))
    rows = np.column_stack([image, data.labels, data.boxes])
    _, first = np.unique(rows, axis=0, return_index=True)
    again = np.setdiff1d(np.arange(len(rows)), first)
    return [
        DataIssue(
            f"{data.paths[int(image[row])]}, annotation {data.ids[row]}",
            "box twice",
            f"another '{data.classes[data.labels[row] - 1]}' of the image has the same corners",
        )
        for row in again.tolist()
    ]


def _same_images(
    root: Path, subset: str, reader: ModuleType, data: DetectionData
) -> list[DataIssue]:
    """Images with the same content, here and in the other subsets of the folder.

    Only files of equal length are hashed. Images of several lists of the folder are one warning
    a list: a list of all is common, a training image in the test is not.
    """
    ours = {data.path(i): subset for i in range(len(data))}
    theirs: dict[Path, str] = {}
    warnings = []
    for other in reader.subsets(root):
        if other == subset:
            continue
        found, _ = reader.read(root, other)
        paths = [found.path(i) for i in range(len(found))] if found is not None else []
        shared = sum(path in ours for path in paths)
        if shared:
            detail = f"{shared} of {len(ours)} images are in '{other}' too"
            warnings.append(DataIssue(subset, "images in another subset", detail))
        theirs |= {path: other for path in paths if path not in ours}
    groups: dict[tuple[int, str], list[Path]] = {}
    for path in _of_equal_length([*ours, *theirs]):
        groups.setdefault((path.stat().st_size, _digest(path)), []).append(path)
    for paths in groups.values():
        mine = [path for path in paths if path in ours]
        for path in mine[1:]:
            name, first = (os.path.relpath(each, root) for each in (path, mine[0]))
            warnings.append(DataIssue(name, "same image twice", f"same content as {first}"))
        for path in paths:
            if mine and path not in ours:
                name, first = (os.path.relpath(each, root) for each in (mine[0], path))
                detail = f"same content as {first} of '{theirs[path]}'"
                warnings.append(DataIssue(name, "image in another subset", detail))
    return warnings


def _of_equal_length(paths: list[Path]) -> list[Path]:
    by_length: dict[int, list[Path]] = {}
    for path in dict.fromkeys(paths):
        if path.is_file():
            by_length.setdefault(path.stat().st_size, []).append(path)
    return [path for group in by_length.values() if len(group) > 1 for path in group]


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
