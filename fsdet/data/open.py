"""Opening a data set: the format is detected from the files of its folder."""

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fsdet.data.cache import cache_key, read_cached
from fsdet.data.dataset import DetectionData
from fsdet.data.formats.coco import CocoReader
from fsdet.data.formats.reader import Reader, ReadResult
from fsdet.data.formats.validation import DataIssue, summarize
from fsdet.data.formats.voc import VocReader
from fsdet.data.formats.yolo import YoloReader
from fsdet.data.images import read_image
from fsdet.data.shapes.dataset import open_shapes
from fsdet.errors import InputError, join_some, nearest

logger = logging.getLogger("fsdet")
READERS: tuple[Reader, ...] = (CocoReader(), VocReader(), YoloReader())
"""The readers in the order in which a folder is tried."""


def open_data(
    root: Path | str, subset: str, skip_bad: bool = False, cache: bool = True
) -> DetectionData:
    """Open a subset of a COCO, VOC or YOLO folder, whichever format it has.

    Args:
        root: the folder that contains all images; or "shapes", the generated data set.
        subset: "train2017" for annotations/instances_train2017.json (or a path to a JSON), "train"
            for ImageSets/Main/train.txt or for the key of data.yaml; the first that exists.
        skip_bad: leave faulty annotations and images out, and log how many. Every image is decoded
            once to find those that cannot be.
        cache: keep the index on disk and map it into memory; after any change of the files it is
            read again. See `fsdet.data.cache`.

    Raises:
        InputError: no such data set or subset, or faults, with their number and the first three.
    """
    root = Path(root)
    if root == Path("shapes") and not root.is_dir():
        return open_shapes(subset)
    reader = find_reader(root, subset)

    def read() -> ReadResult:
        result = reader.read(root, subset)
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
            f"{subset}; to leave them out, objects then counting as background: data.skip_bad=true"
        )
    if faults:
        logger.warning(
            "%s, '%s': faulty annotations and images are left out: %s",
            root,
            subset,
            summarize(faults),
        )
    return data


def find_reader(root: Path, subset: str) -> Reader:
    """The first reader that has the subset; an `InputError` that lists what was looked for if none has."""
    if not root.is_dir():
        siblings = [path.name for path in _children(root.parent) if path.is_dir()]
        hint = nearest(root.name, siblings) or "; it does not exist"
        raise InputError(f"{root}: expected the folder of a data set{hint}")
    for reader in READERS:
        if reader.has(root, subset):
            return reader
    names = subsets(root)
    layouts = "; ".join(reader.layout.format(subset=subset) for reader in READERS)
    if names:
        hint = nearest(subset, names) or f"; it has {join_some(names, 12)}"
        raise InputError(f"{root}: no subset '{subset}'{hint} (expected {layouts})")
    content = sorted(path.name + "/" * path.is_dir() for path in _children(root))
    raise InputError(
        f"{root}: no data set; expected {layouts}; the folder has {join_some(content, 12)}"
    )


def subsets(root: Path) -> list[str]:
    """Names of all subsets of a folder, in all formats."""
    return sorted({name for reader in READERS for name in reader.subsets(root)})


def drop_undecodable(result: ReadResult) -> ReadResult:
    """Leave out the images that cannot be decoded, and add their faults."""
    if result.data is None:
        return result
    undecodable = dict(undecodable_images(result.data))
    keep = np.ones(len(result.data), bool)
    keep[list(undecodable)] = False
    data = result.data if keep.all() else result.data.subset(keep)
    return result._replace(data=data, faults=[*result.faults, *undecodable.values()])


def undecodable_images(data: DetectionData) -> Iterator[tuple[int, DataIssue]]:
    """Decode every image, with a progress bar on a terminal; index and fault of each unusable one."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        faults = pool.map(lambda i: _decoding_fault(data, i), range(len(data)))
        bar = tqdm(faults, "decoding", len(data), unit="image", disable=None, leave=False, delay=1)
        yield from ((i, fault) for i, fault in enumerate(bar) if fault)


def _decoding_fault(data: DetectionData, i: int) -> DataIssue | None:
    path = data.paths[i]
    try:
        data.image(i)
    except InputError as error:
        try:
            read_image(data.path(i))
        except InputError:
            return DataIssue(path, "image cannot be decoded", str(error), path)
        return DataIssue(path, "image size differs from its annotations", str(error), path)
    return None


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
