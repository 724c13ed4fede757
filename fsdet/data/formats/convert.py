"""Data sets in another format: subsets as a new folder, with their images."""

import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain, count
from pathlib import Path

import cv2
import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.formats.write import FORMATS, YOLO_FILE, Files, yolo_yaml
from fsdet.data.names import stem
from fsdet.data.paths import PackedNames
from fsdet.errors import InputError
from fsdet.files import write_whole

UNSAFE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # in names: what XML and YAML cannot hold


def write_folder(
    parts: Mapping[str, DetectionData], kind: str, out: Path, link: bool = False
) -> None:
    """Write subsets as a folder: images, then annotations, so that a folder with them is complete.

    An image keeps its name; where two in one folder have the same, the later gets its folders or a number in it.

    Args:
        parts: subset -> its images, which are files or generated.
        kind: a key of `FORMATS`.
        out: a new or empty folder.
        link: link the image files (hard links) in the place of copies.

    Raises:
        InputError: `out` has files, or links to another file system.
    """
    check_empty(out)
    names: dict[str, dict[str, str]] = {}  # folder -> path of an image -> its name there
    renamed = {}
    for subset, data in (_with_same_classes(parts) if kind == "YOLO" else parts).items():
        folder = FORMATS[kind][1].format(subset=subset)
        (out / folder).mkdir(parents=True, exist_ok=True)
        known = names.setdefault(folder, {})
        taken = {stem(name).casefold() for name in known.values()}
        for i in range(len(data)):
            path = data.paths[i]
            if path not in known:
                known[path] = next(name for name in _spellings(path) if _is_free(name, taken))
                taken.add(stem(known[path]).casefold())
                _put(data, i, out / folder / known[path], link)
        packed = PackedNames.pack([known[data.paths[i]] for i in range(len(data))])
        renamed[subset] = replace(data, paths=packed, cache_folder=None)
    for path, text in _annotation_files(renamed, kind):
        write_whole(out / path, partial(Path.write_text, data=text, encoding="utf-8"))


def check_empty(out: Path) -> None:
    """Raise an InputError for a folder with files."""
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"'{out}': expected a new or empty folder, it has files")


def _annotation_files(parts: Mapping[str, DetectionData], kind: str) -> Files:
    for subset, data in parts.items():
        files = FORMATS[kind][0](data, subset)
        yield from ((path, text) for path, text in files if path != YOLO_FILE)
    if kind == "YOLO":  # one file for all subsets
        yield YOLO_FILE, yolo_yaml(list(parts), next(iter(parts.values())).classes)


def _with_same_classes(parts: Mapping[str, DetectionData]) -> dict[str, DetectionData]:
    """The subsets with the categories of all of them, as YOLO numbers them once."""
    classes = tuple(dict.fromkeys(name for data in parts.values() for name in data.classes))
    label_of = {name: label for label, name in enumerate(classes, 1)}
    return {
        subset: replace(
            data,
            classes=classes,
            category_ids=np.arange(1, len(classes) + 1),
            labels=np.array([0, *(label_of[name] for name in data.classes)])[data.labels],
            federated=None,
            cache_folder=None,
        )
        for subset, data in parts.items()
    }


def _spellings(path: str) -> Iterator[str]:
    """Names for an image file, likeliest first."""
    *folders, base = UNSAFE.sub("_", path).split("/")
    name, ending = os.path.splitext(base)
    numbered = (f"{name}_{number}" for number in count(2))
    yield from (f"{n}{ending}" for n in chain([name, "_".join([*folders, name])], numbered))


def _is_free(name: str, taken: set[str]) -> bool:
    return stem(name).casefold() not in taken


def _put(data: DetectionData, i: int, to: Path, link: bool) -> None:
    source = data.path(i)
    if not source.exists():  # a generated image
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
        quality += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        if not cv2.imwrite(str(to), data.image(i)[..., ::-1], quality):
            raise InputError(f"'{to}' cannot be written")
    elif not link:
        shutil.copyfile(source, to)
    else:
        try:
            os.link(source.resolve(), to)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            raise InputError(
                f"--link: '{to.parent}' is on another file system than '{source}', to which no file can be"
                " linked; leave --link out to copy"
            ) from None
