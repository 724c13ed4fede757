"""Opening a data set: the format is detected from the files of its folder."""

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fsdet.data.cache import cache_key, read_cached
from fsdet.data.dataset import DetectionData
from fsdet.data.formats.coco import CocoReader
from fsdet.data.formats.cvat import CVAT
from fsdet.data.formats.file_tree import DEFAULT
from fsdet.data.formats.labelme import LABELME
from fsdet.data.formats.openimages import OPENIMAGES
from fsdet.data.formats.reader import Reader, ReadResult
from fsdet.data.formats.tensorflow_csv import TENSORFLOW_CSV
from fsdet.data.formats.validation import DataIssue, summarize
from fsdet.data.formats.via import VIA, VIA_CSV
from fsdet.data.formats.voc import VocReader
from fsdet.data.formats.yolo import YoloReader
from fsdet.data.images import SUFFIXES, is_cut_short, is_stored_turned, read_image
from fsdet.data.scenes.dataset import open_scenes
from fsdet.data.shapes.dataset import open_shapes
from fsdet.errors import InputError, join_some, nearest

logger = logging.getLogger("fsdet")
DARK = 16  # 12 bits in a file of 16 reach 4095 / 257
GENERATED: dict[str, Callable[[str], DetectionData]] = {
    "scenes": open_scenes,
    "shapes": open_shapes,
}
"""Data sets that are drawn, by the name that stands for their folder."""
READERS: tuple[Reader, ...] = (
    CocoReader(),
    VocReader(),
    YoloReader(),
    LABELME,
    CVAT,
    VIA,
    VIA_CSV,
    TENSORFLOW_CSV,
    OPENIMAGES,
)
"""The readers in the order in which a folder is tried."""


def open_data(
    root: Path | str, subset: str, skip_bad: bool = False, cache: bool = True
) -> DetectionData:
    """Open a subset of a folder, in whichever of the formats of `READERS`.

    Args:
        root: the folder that contains all images; or the name of a generated data set, "scenes" or "shapes".
        subset: "train2017" for annotations/instances_train2017.json (or a path to a JSON), "train"
            for ImageSets/Main/train.txt or for the key of data.yaml; the first that exists.
        skip_bad: leave images with faults out, and log how many; where only a box is wrong and its place
            is known, the image stays and the box is to be ignored. No object becomes background. Every image is
            decoded once to find those that cannot be.
        cache: keep the index on disk and map it into memory; after any change of the files it is
            read again. See `fsdet.data.cache`.

    Raises:
        InputError: no such data set or subset, or faults, with their number and the first three.
    """
    root = Path(root).expanduser()
    if str(root) in GENERATED and not root.is_dir():
        return GENERATED[str(root)](subset)
    reader = find_reader(root, subset)

    def read() -> ReadResult:
        result = read_subset(reader, root, subset)
        if result.warnings:
            logger.warning("%s, '%s': %s", root, subset, summarize(result.warnings, "warning", 1))
        return drop_undecodable(result) if skip_bad else result

    if cache:
        options = (reader.name, reader.version, os.path.abspath(root), subset, skip_bad)
        key = cache_key(reader.sources(root, subset), *options)
        data, faults, _ = read_cached(key, root, read)
    else:
        data, faults, _ = read()
    if data is None:
        raise InputError(f"{root}, '{subset}': {summarize(faults)}")
    if faults and not skip_bad:
        raise InputError(
            f"{root}, '{subset}': {summarize(faults)}. To list all of them: fsdet check {root} "
            f"{subset}; to go on without the images that they spoil: data.skip_bad=true"
        )
    if faults:
        logger.warning(
            "%s, '%s': images with faults are left out: %s",
            root,
            subset,
            summarize(faults),
        )
    return data


def has_subset(root: Path | str, subset: str) -> bool:
    """Whether `open_data` finds the subset, be it with faults; False without the folder too."""
    root = Path(root).expanduser()
    if str(root) in GENERATED and not root.is_dir():
        return True  # or the error of the data set itself
    return root.is_dir() and any(reader.has(root, subset) for reader in READERS)


def find_reader(root: Path, subset: str) -> Reader:
    """The first reader that has the subset; an `InputError` that lists what was looked for if none has."""
    if not root.is_dir():
        siblings = [path.name for path in _children(root.parent) if path.is_dir()]
        hint = nearest(root.name, siblings) or "; it does not exist"
        raise InputError(f"{root}: expected the folder of a data set{hint}")
    for reader in READERS:
        if reader.has(root, subset):
            return reader
    listed = {reader: reader.subsets(root) for reader in READERS}
    names = sorted({name for of_reader in listed.values() for name in of_reader})
    formats = [reader for reader, of_reader in listed.items() if of_reader] or READERS
    layouts = "; ".join(reader.layout.format(subset=subset) for reader in formats)
    if names:
        hint = nearest(subset, names) or f"; it has {join_some(names, 12)}"
        whole = DEFAULT if DEFAULT in names else names[0]
        raise InputError(
            f"{root}: no subset '{subset}'{hint} (give '{whole}' as the subset, or split '{subset}' off it: by"
            f" `fsdet split {root} --subset {whole} --name {subset}`, or in a training by data.split_off=0.25;"
            f" expected {layouts})"
        )
    content = sorted(path.name + "/" * path.is_dir() for path in _children(root))
    raise InputError(
        f"{root}: no data set; expected {layouts}; the folder has {join_some(content, 12)}"
    )


def read_subset(reader: Reader, root: Path, subset: str) -> ReadResult:
    """What the reader reads; a subset without an image or without a box is a fault."""
    result = reader.read(root, subset)
    if result.data is None or result.faults or len(result.data.boxes):
        return result
    what, detail = "box", "expected boxes in some image; are the labels where they should be?"
    if not len(result.data):
        what, detail = "image", f"expected images that end in {', '.join(SUFFIXES)}"
    return result._replace(faults=[DataIssue(subset, f"subset without {what}", detail)])


def subsets(root: Path) -> list[str]:
    """Names of all subsets of a folder, in all formats."""
    return sorted({name for reader in READERS for name in reader.subsets(root)})


def drop_undecodable(result: ReadResult) -> ReadResult:
    """Leave out the images that cannot be decoded, and add their faults."""
    if result.data is None:
        return result
    undecodable = {i: issue for i, issue, is_fault in image_issues(result.data) if is_fault}
    keep = np.ones(len(result.data), bool)
    keep[list(undecodable)] = False
    data = result.data if keep.all() else result.data.subset(keep)
    return result._replace(data=data, faults=[*result.faults, *undecodable.values()])


def image_issues(data: DetectionData) -> Iterator[tuple[int, DataIssue, bool]]:
    """Decode every image, with a progress bar on a terminal.

    Yields:
        Index of an image, what is wrong or odd, and whether it is a fault: the image cannot be used.
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        issues = pool.map(lambda i: _image_issue(data, i), range(len(data)))
        bar = tqdm(issues, "decoding", len(data), unit="image", disable=None, leave=False, delay=1)
        yield from ((i, *issue) for i, issue in enumerate(bar) if issue)


def _image_issue(data: DetectionData, i: int) -> tuple[DataIssue, bool] | None:
    path = data.paths[i]
    try:
        brightest = int(data.image(i).max())
    except InputError as error:
        rule = "image size differs from its annotations"
        try:
            read_image(data.path(i))
        except InputError:
            rule = "image cannot be decoded"
        return DataIssue(path, rule, str(error), path), True
    if is_cut_short(data.path(i)):
        return DataIssue(
            path, "image cut short", "a little of its end is missing; it is read"
        ), False
    if is_stored_turned(data.path(i), (int(data.sizes[i, 0]), int(data.sizes[i, 1]))):
        detail = "EXIF turns it, its annotations have the size before: are the boxes of the stored pixels?"
        return DataIssue(path, "image turned by EXIF only", detail), False
    if brightest <= DARK:
        detail = f"its brightest value is {brightest} of 255: 12 bits in a file of 16?"
        return DataIssue(path, "image nearly black", detail), False
    return None


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
