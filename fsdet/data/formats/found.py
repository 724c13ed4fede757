"""Folders of tools that name images and categories in each annotation file: one reader for all of them.

A tool's own file says how its files are recognised and parsed. Files of all subsets are read, whichever is opened,
so that all have the same categories.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fsdet.data.formats.coco_boxes import Box
from fsdet.data.formats.file_tree import FileTree
from fsdet.data.formats.raw import RawAnnotations, RawImage, RawObject
from fsdet.data.formats.reader import ReadResult
from fsdet.data.formats.validation import DataIssue, size_from_file, validate
from fsdet.data.images import is_stored_turned
from fsdet.data.paths import resolve_inside
from fsdet.errors import InputError, one_line
from fsdet.files import is_file, read_regular

MOST_BYTES = 2**30  # of a JSON or an XML file, which is parsed as a whole
SNIFFED = 4096  # bytes at the start of a file that tell its format


class FoundObject(NamedTuple):
    """An object as its file has it."""

    category: str
    box: Box  # xyxy; pixels, or shares of the image's sides
    ignore: bool
    where: str  # file and entry, for messages


class FoundImage(NamedTuple):
    """An image as its file has it."""

    name: str  # file name or path, maybe that of another machine
    size: tuple[int, int]  # height, width; (0, 0) if the file does not say
    objects: list[FoundObject]
    is_complete: bool  # False if the place or the category of an object is unknown
    where: str
    in_shares: bool = False  # boxes are shares of the image's sides


Issues = list[DataIssue]
Parse = Callable[[Path, FileTree, str, Issues, Issues], list[FoundImage]]


@dataclass(frozen=True)
class FoundReader:
    """Reader of the folders of one tool. Image ids count the images of a subset, annotation ids their objects.

    An image that two files or entries name is one image with the objects of both.
    """

    name: str
    version: int
    layout: str
    suffix: str  # of the annotation files
    recognises: Callable[[bytes], bool]  # the first bytes of a file
    # root, all files, path of an annotation file, faults, warnings -> its images; ValueError: it cannot be used
    parse: Parse
    group: Callable[[FileTree], dict[str, list[str]]]  # subset -> annotation files
    companions: Callable[[Path], list[str]] = lambda root: []  # other files that `parse` reads

    def subsets(self, root: Path) -> list[str]:
        return sorted(self.group(self._tree(root)))

    def has(self, root: Path, subset: str) -> bool:
        return subset in self.subsets(root)

    def sources(self, root: Path, subset: str) -> Iterator[os.PathLike[str]]:
        tree = self._tree(root)
        # A new file makes another list of sources; listings of folders change for other reasons too.
        yield from (
            root / path for path in (*tree.annotations, *self.companions(root), *tree.images)
        )

    def read(self, root: Path, subset: str) -> ReadResult:
        tree = self._tree(root)
        faults: Issues = []
        warnings: Issues = []
        listed, classes = [], set()
        for name, files in self.group(tree).items():
            for file in files:
                # Faults of other subsets are reported when those are opened.
                issues = (faults, warnings) if name == subset else ([], [])
                found = self._parsed(root, tree, file, *issues)
                classes |= {o.category for image in found for o in image.objects}
                listed += [(file, image) for image in found if name == subset]
        by_path: dict[str, list[FoundImage]] = {}
        for file, image in listed:
            near = os.path.join(os.path.dirname(file), subset, os.path.basename(file))
            path = _locate(root, tree, near, image, faults)
            if path is not None:
                by_path.setdefault(path, []).append(image)
        images = _raw_images(root, by_path, sorted(classes), faults)
        raw = RawAnnotations.from_images(root, self.name, sorted(classes), images)
        data, invalid = validate(raw)
        return ReadResult(data, [*faults, *invalid], warnings)

    def _tree(self, root: Path) -> FileTree:
        """The images, and the annotation files of this tool."""
        tree = FileTree.scan(root, self.suffix)
        own = [file for file in tree.annotations if self.recognises(_head(root / file))]
        return FileTree(own, tree.images)

    def _parsed(
        self, root: Path, tree: FileTree, file: str, faults: Issues, warnings: Issues
    ) -> list[FoundImage]:
        try:
            return self.parse(root, tree, file, faults, warnings)
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or one_line(error, 200)
            faults.append(DataIssue(file, "annotation file cannot be read", reason))
            return []


def read_bounded(root: Path, file: str) -> bytes:
    """The bytes of an annotation file.

    Raises:
        OSError: it cannot be read.
        InputError: it lies outside the root, or is too large.
    """
    path = resolve_inside(root, file)
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"expected at most {MOST_BYTES:,} bytes, got {path.stat().st_size:,}")
    return read_regular(path)


def written_size(height: str | None, width: str | None) -> tuple[int, int]:
    """(height, width) of an image as a file writes them in digits; (0, 0) if it does not."""
    texts = [height or "", width or ""]
    if not all(text.isascii() and text.isdigit() and len(text) < 10 for text in texts):
        return 0, 0
    return int(texts[0]), int(texts[1])


def _head(file: Path) -> bytes:
    if not is_file(file):  # a pipe would be waited for
        return b""
    try:
        with file.open("rb") as handle:
            return handle.read(SNIFFED).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError:
        return b""


def _locate(root: Path, tree: FileTree, near: str, image: FoundImage, faults: Issues) -> str | None:
    """The image file of an entry, relative to the root; None and a fault without one.

    Args:
        near: a path; of several images of a name, the nearest is meant.
    """
    path = tree.image_named(image.name, near)
    if path is None:
        detail = f"expected an image '{image.name:.200}' in the folder, and only one of the name"
        faults.append(DataIssue(image.where, "missing image file", detail, image.name))
        return None
    try:
        resolve_inside(root, path)
    except InputError as error:
        faults.append(DataIssue(image.where, "image outside the data root", str(error)))
        return None
    return path


def _raw_images(
    root: Path, by_path: dict[str, list[FoundImage]], classes: Sequence[str], faults: Issues
) -> list[RawImage]:
    label_of = {name: label for label, name in enumerate(classes, 1)}
    images: list[RawImage] = []
    num_objects = 0
    for image_id, (path, entries) in enumerate(sorted(by_path.items()), 1):
        size = _size(root, path, entries, faults)
        objects = []
        for entry in entries:
            height, width = size if entry.in_shares else (1, 1)
            for o in entry.objects:
                num_objects += 1
                x1, y1, x2, y2 = o.box
                box = (x1 * width, y1 * height, x2 * width, y2 * height)
                objects.append(RawObject(num_objects, label_of[o.category], box, o.ignore, o.where))
        if size == (0, 0):
            objects = []  # where the corners of an unreadable image are is unknown
        usable = size != (0, 0) and all(entry.is_complete for entry in entries)
        images.append(RawImage(image_id, path, size, usable, objects))
    return images


def _size(root: Path, path: str, entries: Sequence[FoundImage], faults: Issues) -> tuple[int, int]:
    """(height, width) of the file, or of its stored pixels if annotated so; (0, 0) and a fault for another size."""
    size = size_from_file(root, path, faults)
    for entry in entries:
        if size == (0, 0) or entry.size in ((0, 0), size):
            continue
        if is_stored_turned(root / path, entry.size):
            return entry.size
        (height, width), (own_height, own_width) = entry.size, size
        detail = f"expected {width} x {height} pixels as in {entry.where}; the file has {own_width} x {own_height}"
        faults.append(DataIssue(path, "image size differs from its annotations", detail, path))
        return (0, 0)
    return size
