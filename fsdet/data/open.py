"""Open a data set by looking at its folder."""

import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
from tqdm import tqdm

from fsdet.data import cache as disk
from fsdet.data.dataset import DetectionData
from fsdet.data.formats import coco, voc, yolo
from fsdet.data.formats.validation import DataIssue, summary
from fsdet.data.images import read_image
from fsdet.data.shapes.dataset import open_shapes
from fsdet.errors import InputError, nearest

logger = logging.getLogger("fsdet")
READERS = (coco, voc, yolo)


def open_data(
    root: Path | str, subset: str, skip_bad: bool = False, cache: bool = True
) -> DetectionData:
    """The annotated images of a subset of a COCO, VOC or YOLO folder, found out by looking at it.

    Args:
        root: the folder, in which all images must lie; or "shapes", the generated data set.
        subset: "train2017" of annotations/instances_train2017.json (or the JSON itself), "train"
            of ImageSets/Main/train.txt, "train" of data.yaml; the first that there is.
        skip_bad: leave out what is faulty, images that do not decode included (each is decoded
            once), and say so in the log `fsdet`.
        cache: keep the index on disk and map it into memory; it is read anew after any change of
            the files. See `fsdet.data.cache`.

    Raises:
        InputError: nothing of the kind in the folder, or faults in it, with their counts.
    """
    root = Path(root)
    if root == Path("shapes") and not root.is_dir():
        return open_shapes(subset)
    reader = reader_of(root, subset)

    def read() -> disk.Read:
        data, faults = reader.read(root, subset)
        if skip_bad and data is not None:
            return without_undecodable(data, faults)
        return data, faults

    if cache:
        about = (reader.__name__, reader.VERSION, os.path.abspath(root), subset, skip_bad)
        data, faults = disk.kept(disk.key_of(reader.sources(root, subset), *about), root, read)
    else:
        data, faults = read()
    if data is None:
        raise InputError(f"{root}, '{subset}': {summary(faults)}")
    if faults and not skip_bad:
        raise InputError(
            f"{root}, '{subset}': {summary(faults)}. All of them: fsdet check "
            f"{root} {subset}; to go on without them: data.skip_bad=true"
        )
    if faults:
        logger.warning("%s, '%s': left out what has %s", root, subset, summary(faults))
    return data


def reader_of(root: Path, subset: str) -> ModuleType:
    """The module that reads this subset of this folder; an `InputError` if none does."""
    if not root.is_dir():
        there = [entry.name for entry in _entries(root.parent) if entry.is_dir()]
        hint = nearest(root.name, there) or "; it does not exist"
        raise InputError(f"{root}: expected the folder of a data set{hint}")
    for reader in READERS:
        if reader.find(root, subset):
            return reader
    known = sorted({name for reader in READERS for name in reader.subsets(root)})
    looked = "; ".join(reader.LOOKED_FOR.format(subset=subset) for reader in READERS)
    if known:
        hint = nearest(subset, known) or f"; it has {', '.join(known[:12])}, ..."
        raise InputError(f"{root}: no subset '{subset}'{hint} (looked for {looked})")
    found = sorted(entry.name + "/" * entry.is_dir() for entry in _entries(root))
    listed = ", ".join(found[:12]) + (", ..." if len(found) > 12 else "") or "nothing"
    raise InputError(f"{root}: no data set; looked for {looked}; the folder has {listed}")


def without_undecodable(data: DetectionData, faults: list[DataIssue]) -> disk.Read:
    """The images that decode, and the faults with those that do not."""
    found = dict(undecodable(data))
    keep = np.ones(len(data), bool)
    keep[list(found)] = False
    return (data if keep.all() else data.subset(keep)), [*faults, *found.values()]


def undecodable(data: DetectionData) -> Iterator[tuple[int, DataIssue]]:
    """Index and fault of each image that cannot be used; decodes all, with a bar on a terminal."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        tried = pool.map(lambda i: _fault_of(data, i), range(len(data)))
        bar = tqdm(tried, "decoding", len(data), unit="image", disable=None, leave=False, delay=1)
        yield from ((i, fault) for i, fault in enumerate(bar) if fault)


def _fault_of(data: DetectionData, i: int) -> DataIssue | None:
    where = data.paths[i]
    try:
        data.image(i)
    except InputError as error:
        try:
            read_image(data.path(i))
        except InputError:
            return DataIssue(where, "image does not decode", str(error), where)
        return DataIssue(where, "image of another size", str(error), where)
    return None


def _entries(folder: Path) -> Iterable[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
