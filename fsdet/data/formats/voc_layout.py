"""Layout of a VOC folder: the annotation files of each subset, and their images.

VOC itself has lists of names in ImageSets/Main. labelImg, Roboflow and others write no lists: the XML lies
beside the images, or in a folder beside theirs.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fsdet.data.formats.file_tree import FileTree, nearest_path
from fsdet.data.images import SUFFIXES
from fsdet.data.names import SimilarNames, forward, stem
from fsdet.data.paths import resolve_inside
from fsdet.files import is_file

ANNOTATIONS = ("Annotations", "annotations", "annots", "xmls", "xml", "labels")
IMAGES = ("JPEGImages", "images", "Images", "imgs", "img")
LIST_FOLDERS = (f"ImageSets{os.sep}Main", "ImageSets", ".")
MARKS = ("-1", "0", "1")  # in lists of one category: absent, difficult, present
ROOT_TAG = re.compile(rb"<([A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)")


class VocFiles(NamedTuple):
    """An image of a subset; the files need not exist."""

    name: str  # as a list has it, else the path of the annotation file
    annotation: str  # relative to the root
    image: str | None  # relative to the root; None if there is none of that name
    image_folder: str  # where it is expected


class VocLayout(NamedTuple):
    """The subsets of a folder, and the lists that make them."""

    subsets: dict[str, list[VocFiles]]
    lists: list[Path]
    unlabelled: list[str]  # images beside the others without an annotation file


def voc_layout(root: Path) -> VocLayout:
    """Find the annotation files by the lists of the folder; without lists, wherever they lie.

    Raises:
        InputError: the folder of annotations or of images leads out of the root.
    """
    lists = _lists(root)
    annotations = _folder(root, ANNOTATIONS)
    if _have_paths(root, lists):
        return VocLayout(_listed_paths(root, lists), list(lists.values()), [])
    if lists and annotations:
        return VocLayout(_listed(root, annotations, lists), list(lists.values()), [])
    tree = FileTree.scan(root, ".xml")
    tree = FileTree([file for file in tree.annotations if _may_be_voc(root / file)], tree.images)
    subsets = {
        subset: [
            VocFiles(file, file, tree.image_of(file), os.path.dirname(file) or ".")
            for file in files
        ]
        for subset, files in tree.subsets().items()
    }
    used = {files.image for group in subsets.values() for files in group}
    folders = {os.path.dirname(image) for image in used if image is not None}
    unlabelled = [
        image for image in tree.images if image not in used and os.path.dirname(image) in folders
    ]
    return VocLayout(subsets, [], unlabelled)


def voc_subsets(root: Path) -> list[str]:
    """Names of the subsets, without a look at their files where there are lists."""
    lists = _lists(root)
    if _have_paths(root, lists) or (lists and _folder(root, ANNOTATIONS)):
        return sorted(lists)
    tree = FileTree.scan(root, ".xml")
    annotations = [file for file in tree.annotations if _may_be_voc(root / file)]
    return sorted(FileTree(annotations, []).subsets())


def _lists(root: Path) -> dict[str, Path]:
    """Subset -> list of names; in the root itself only lists that name XML files."""
    for folder in LIST_FOLDERS:
        files = [file for file in sorted((root / folder).glob("*.txt")) if is_file(file)]
        if folder == ".":
            files = [
                file for file in files if ".xml" in file.open("rb").readline(4096).decode("latin-1")
            ]
        if files:
            return {file.stem: file for file in files}
    return {}


def _folder(root: Path, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if (root / name).is_dir()), None)


def _listed(root: Path, annotations: str, lists: dict[str, Path]) -> dict[str, list[VocFiles]]:
    """The files of each list; the ending of a name, a mark after it or a second path are dropped."""
    files = {stem(path): path for path in _below(root, annotations, (".xml",))}
    known = SimilarNames(files)
    image_folder = _folder(root, IMAGES) or IMAGES[0]
    images: dict[str, list[str]] = {}
    for path in _below(root, image_folder, SUFFIXES):
        images.setdefault(stem(path), []).append(path)
    known_images = SimilarNames(images)
    subsets: dict[str, list[VocFiles]] = {}
    for subset, file in lists.items():
        names = dict.fromkeys(_name(line, known) for line in _lines(file))
        subsets[subset] = []
        for name in names:
            path = f"{annotations}/{files.get(name, f'{name}.xml')}"
            image = nearest_path(path, images.get(known_images.find(name) or "", []))
            image = image and f"{image_folder}/{image}"
            subsets[subset].append(VocFiles(name, path, image, image_folder))
    return subsets


def _have_paths(root: Path, lists: dict[str, Path]) -> bool:
    """True for lists of paths of XML files from the root, which `fsdet split` writes where there were no lists."""
    first = next((line for file in lists.values() for line in _lines(file)), "")
    return first.endswith(".xml") and is_file(root / first)


def _listed_paths(root: Path, lists: dict[str, Path]) -> dict[str, list[VocFiles]]:
    tree = FileTree.scan(root, ".xml")
    return {
        subset: [
            VocFiles(path, path, tree.image_of(path), os.path.dirname(path) or ".")
            for path in dict.fromkeys(_lines(file))
        ]
        for subset, file in lists.items()
    }


def _lines(file: Path) -> Iterator[str]:
    for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        if line.strip():
            yield line.strip()


def _name(line: str, known: SimilarNames) -> str:
    """The name that a line means: the first of its spellings that has an annotation file, else the plainest."""
    spellings = list(_spellings(line))
    found = (known.find(spelling) for spelling in spellings)
    return next((name for name in found if name is not None), spellings[-1])


def _spellings(line: str) -> Iterator[str]:
    yield line
    words = line.split()
    if words[-1] in MARKS and len(words) > 1:
        line = line[: -len(words[-1])].rstrip()
        yield line
    for path in (line, *reversed(words)):
        path = forward(path)
        name = stem(path) if path.lower().endswith((*SUFFIXES, ".xml")) else path
        parts = [part for part in name.split("/") if part not in ("", ".")]
        yield from ("/".join(parts[n:]) for n in range(len(parts)))
    if not line.lower().endswith((*SUFFIXES, ".xml")):
        yield line


def _below(root: Path, folder: str, endings: tuple[str, ...]) -> list[str]:
    """Files below `root / folder`, relative to it, sorted."""
    found = []
    top = resolve_inside(root, folder)
    for parent, _, names in os.walk(top):
        below = os.path.relpath(parent, top)
        names = [name for name in names if name.lower().endswith(endings)]
        found += names if below == "." else [f"{below}/{name}" for name in names]
    return sorted(found)


def _may_be_voc(file: Path) -> bool:
    """False for an XML file whose first element is another than <annotation>."""
    if not is_file(file):  # a pipe would be waited for
        return True
    try:
        with file.open("rb") as handle:
            head = handle.read(4096).replace(b"\0", b"")  # of UTF-16
    except OSError:
        return True
    head = re.sub(rb"<!--.*?-->", b"", head, flags=re.DOTALL)
    tag = ROOT_TAG.search(head)
    return tag is None or tag[2] == b"annotation"
