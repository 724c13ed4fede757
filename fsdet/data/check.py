"""Check of a data set: every fault and every oddity at once."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.equal_files import equal_files
from fsdet.data.formats.validation import DataIssue
from fsdet.data.images import SUFFIXES, UNREAD_SUFFIXES
from fsdet.data.open import find_reader, image_issues, read_subset

FEW_BOXES = 10  # the largest number of shots in the protocols of the field


@dataclass(frozen=True)
class Report:
    """Result of `check`. Faults stop a training, warnings do not."""

    root: Path
    subset: str
    format: str  # name of the reader in lower case, such as "coco"
    images: int
    boxes: int
    ignored: int  # how many of the boxes are crowds or difficult
    per_category: dict[str, int]  # boxes that are not ignored
    faults: list[DataIssue]
    warnings: list[DataIssue]

    def counts(self) -> dict[str, int]:
        """Rule -> number of faults, most first."""
        return dict(Counter(fault.rule for fault in self.faults).most_common())


def check(root: Path | str, subset: str) -> Report:
    """Read a subset, decode all its images, and compare them with the folder's other subsets.

    Images that faults spoil are not counted in the report's numbers.

    Raises:
        InputError: no such folder or subset.
    """
    root = Path(root)
    reader = find_reader(root, subset)
    data, faults, warnings = read_subset(reader, root, subset)
    format_name = reader.name.lower()
    if data is None:
        return Report(root, subset, format_name, 0, 0, 0, {}, list(faults), [])
    issues = list(image_issues(data))
    undecodable = [issue for _, issue, is_fault in issues if is_fault]
    per_category = data.box_counts()
    files = _image_files(data)
    other_subsets = {
        other: _image_files(reader.read(root, other).data)
        for other in reader.subsets(root)
        if other != subset
    }
    return Report(
        root=root,
        subset=subset,
        format=format_name,
        images=len(data) - len(undecodable),
        boxes=len(data.boxes),
        ignored=int(data.ignore.sum()),
        per_category=per_category,
        faults=[*faults, *undecodable, *_unread_images(root, data)],
        warnings=[
            *_categories_with_few_boxes(per_category),
            *_images_without_boxes(data),
            *_duplicate_boxes(data),
            *warnings,
            *(issue for _, issue, is_fault in issues if not is_fault),
            *_images_shared_with(other_subsets, subset, files),
            *_duplicate_images(root, files, other_subsets),
        ],
    )


def _categories_with_few_boxes(per_category: dict[str, int]) -> list[DataIssue]:
    rule = f"category with fewer than {FEW_BOXES} boxes"
    return [
        DataIssue(name, rule, f"it has {count}, which is the most shots that can be drawn")
        for name, count in per_category.items()
        if count < FEW_BOXES
    ]


def _images_without_boxes(data: DetectionData) -> list[DataIssue]:
    indices = np.flatnonzero(np.diff(data.starts) == 0).tolist()
    detail = "all of it counts as background"
    return [DataIssue(data.paths[i], "image without boxes", detail) for i in indices]


def _unread_images(root: Path, data: DetectionData) -> list[DataIssue]:
    """Images of kinds that are not read, in the folders of the images that are."""
    folders = dict.fromkeys(os.path.dirname(data.paths[i]) for i in range(len(data)))
    names = [
        os.path.join(folder, name)
        for folder in folders
        for name in sorted(os.listdir(root / folder))
        if name.lower().endswith(UNREAD_SUFFIXES)
    ]
    extra = "; HEIC and AVIF: pip install 'fsdet[photos]'"
    detail = f"expected one of {', '.join(SUFFIXES)}{extra}: convert it, or move it away"
    return [DataIssue(name, "image of a kind that is not read", detail) for name in names]


def _duplicate_boxes(data: DetectionData) -> list[DataIssue]:
    image_index = np.repeat(np.arange(len(data)), np.diff(data.starts))
    rows = np.column_stack([image_index, data.labels, data.boxes])
    _, first = np.unique(rows, axis=0, return_index=True)
    return [
        DataIssue(
            f"{data.paths[int(image_index[row])]}, annotation {data.ids[row]}",
            "duplicate box",
            f"another '{data.classes[data.labels[row] - 1]}' of the image has the same corners",
        )
        for row in np.setdiff1d(np.arange(len(rows)), first).tolist()
    ]


def _image_files(data: DetectionData | None) -> list[Path]:
    return [] if data is None else [data.path(i) for i in range(len(data))]


def _images_shared_with(
    other_subsets: dict[str, list[Path]], subset: str, files: list[Path]
) -> list[DataIssue]:
    """One warning per subset that lists the same files, as a subset of all images is common."""
    own = set(files)
    shared = {other: sum(file in own for file in paths) for other, paths in other_subsets.items()}
    rule = "images also in another subset"
    return [
        DataIssue(subset, rule, f"{count} of {len(own)} are in '{other}' too")
        for other, count in shared.items()
        if count
    ]


def _duplicate_images(
    root: Path, files: list[Path], other_subsets: dict[str, list[Path]]
) -> list[DataIssue]:
    """Files with the same content, in the subset and in the other ones.

    A training image among the test images makes the test worthless.
    """
    own = set(files)
    subset_of = {file: other for other, paths in other_subsets.items() for file in paths}
    warnings = []
    for copies in equal_files([*files, *subset_of]):
        names = {file: os.path.relpath(file, root) for file in copies}
        first = copies[0]  # files of the subset come before the others
        if first not in own:
            continue
        for file in copies[1:]:
            if file in own:
                detail = f"same content as {names[first]}"
                warnings.append(DataIssue(names[file], "duplicate image", detail))
            else:
                detail = f"same content as {names[file]} of '{subset_of[file]}'"
                rule = "duplicate image in another subset"
                warnings.append(DataIssue(names[first], rule, detail))
    return warnings
