"""PASCAL VOC folders: Annotations/*.xml, ImageSets/Main/*.txt, JPEGImages/.

VOC's own corners are whole numbers that count pixels from 1 and include the last one: xyxy is
(xmin - 1, ymin - 1, xmax, ymax). CVAT and other tools write fractions measured from 0. A data set
counts from 1 if at least 90% of its corners are whole numbers. The files of all lists are read,
whichever list is opened, so that all lists have the same categories and the same origin.
"""

import os
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element
from xml.parsers import expat

import numpy as np

from fsdet.data.formats.raw import RawAnnotations, RawImage, RawObject
from fsdet.data.formats.reader import ReadResult
from fsdet.data.formats.safe_xml import parse_xml
from fsdet.data.formats.validation import DataIssue, size_from_file, validate
from fsdet.data.images import SUFFIXES
from fsdet.data.paths import FolderListing, resolve_inside
from fsdet.errors import InputError
from fsdet.files import read_regular

FLAGS = {"0": False, "1": True, "false": False, "true": True}
CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocReader:
    """Reader of VOC folders; a subset is a list in ImageSets/Main.

    Image ids count the images of the list from 1, annotation ids the objects in the order of the
    list. Faulty ones are counted too, so that ids do not change when they are left out.
    """

    name = "VOC"
    version = 3
    layout = "VOC: ImageSets/Main/{subset}.txt beside Annotations/ and JPEGImages/"

    def subsets(self, root: Path) -> list[str]:
        if not (root / "Annotations").is_dir():
            return []
        return sorted(
            file.stem for file in (root / "ImageSets" / "Main").glob("*.txt") if file.is_file()
        )

    def has(self, root: Path, subset: str) -> bool:
        return subset in self.subsets(root)

    def sources(self, root: Path, subset: str) -> list[os.PathLike[str]]:
        lists = [_list_file(root, name) for name in self.subsets(root)]
        with os.scandir(root / "Annotations") as entries:
            return [*lists, root / "JPEGImages", *sorted(entries, key=lambda entry: entry.name)]

    def read(self, root: Path, subset: str) -> ReadResult:
        faults: list[DataIssue] = []
        try:
            image_files = _image_files(root)
        except InputError as error:
            return ReadResult(
                None, [DataIssue("JPEGImages", "image outside the data root", str(error))]
            )
        lists = {name: _listed_stems(root, name) for name in self.subsets(root)}
        in_subset = set(lists[subset])
        annotations = {
            # Faults of other lists are reported when those are opened.
            stem: _read_annotation(root, stem, faults if stem in in_subset else [])
            for stem in dict.fromkeys(chain.from_iterable(lists.values()))
        }
        objects = [
            o for annotation in annotations.values() if annotation for o in annotation.objects
        ]
        classes = sorted({category for _, category, _, _ in objects})
        label_of = {category: label for label, category in enumerate(classes, 1)}
        first_pixel = _first_pixel(np.array([corners for _, _, corners, _ in objects], np.float64))

        images: list[RawImage] = []
        num_objects = 0
        for image_id, stem in enumerate(lists[subset], 1):
            annotation, where = annotations[stem], f"Annotations/{stem}.xml"
            if annotation is None:
                continue
            path, size = f"JPEGImages/{image_files.get(stem, stem)}", annotation.size
            if stem not in image_files:
                detail = f"expected JPEGImages/{stem} with one of {', '.join(SUFFIXES)}"
                faults.append(
                    DataIssue(where, "missing image file", detail, f"JPEGImages/{stem}.jpg")
                )
            elif size == (0, 0):
                size = size_from_file(root, path, faults)
            usable = stem in image_files and size != (0, 0)
            raw_objects = [
                RawObject(
                    id=num_objects + number,
                    label=label_of[category],
                    box=(xmin - first_pixel, ymin - first_pixel, xmax, ymax),
                    ignore=difficult,
                    where=f"{where}, object {number}",
                )
                for number, category, (xmin, ymin, xmax, ymax), difficult in annotation.objects
            ]
            images.append(RawImage(image_id, path, size, usable, raw_objects))
            num_objects += annotation.num_objects
        data, invalid = validate(RawAnnotations.from_images(root, self.name, classes, images))
        return ReadResult(data, [*faults, *invalid])


class _Object(NamedTuple):
    number: int  # from 1, in the file
    category: str
    corners: list[float]
    difficult: bool


class _Annotation(NamedTuple):
    size: tuple[int, int]  # height, width; (0, 0) if the file has none
    objects: list[_Object]
    num_objects: int  # incomplete ones included


def _list_file(root: Path, subset: str) -> Path:
    return root / "ImageSets" / "Main" / f"{subset}.txt"


def _listed_stems(root: Path, subset: str) -> list[str]:
    """Image names of a list; in lists of one category a 1, 0 or -1 after the name is dropped."""
    lines = _list_file(root, subset).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    stripped = (line.strip() for line in lines)
    return list(dict.fromkeys(_without_flag(line) for line in stripped if line))


def _without_flag(line: str) -> str:
    name, *flag = line.rsplit(None, 1)
    return name if flag in (["-1"], ["0"], ["1"]) else line


def _image_files(root: Path) -> dict[str, str]:
    """Stem -> image file; of several endings the first in `SUFFIXES`."""
    listing = FolderListing.scan(root, "JPEGImages")
    for link in listing.links:
        resolve_inside(root, f"JPEGImages/{link}")
    rank = {suffix: -n for n, suffix in enumerate(SUFFIXES)}
    files = [os.path.splitext(file) for file in listing.files]
    files = [(stem, suffix) for stem, suffix in files if suffix.lower() in rank]
    files.sort(key=lambda file: rank[file[1].lower()])
    return {stem: stem + suffix for stem, suffix in files}


def _first_pixel(corners: np.ndarray) -> float:
    """Coordinate of the first pixel: 1 if at least 90% of the corners are whole numbers, else 0.

    VOC2012 has a few fractional corners among whole ones; in fractional data sets most are.
    """
    corners = corners[np.isfinite(corners)]
    return float(len(corners) > 0 and (corners == np.rint(corners)).mean() >= 0.9)


def _read_annotation(root: Path, stem: str, faults: list[DataIssue]) -> _Annotation | None:
    where = f"Annotations/{stem}.xml"
    try:
        tree = parse_xml(read_regular(resolve_inside(root, where)))
    except expat.ExpatError as error:
        faults.append(DataIssue(where, "annotation file is not valid XML", str(error)))
        return None
    except (OSError, InputError, ValueError, LookupError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        detail = f"{reason}; it is expected, as a list in ImageSets/Main names '{stem}'"
        faults.append(DataIssue(where, "annotation file cannot be read", detail))
        return None
    nodes = tree.findall("object")
    objects = []
    for number, node in enumerate(nodes, 1):
        category = (node.findtext("name") or "").strip()
        texts = [node.findtext(f"bndbox/{corner}") for corner in CORNERS]
        try:
            corners = [float(text or "") for text in texts]
            if not category:
                raise ValueError
        except ValueError:
            values = ", ".join(f"{key} {text}" for key, text in zip(CORNERS, texts, strict=True))
            detail = f"expected a name and four numbers; got name '{category}', {values}"
            issue = DataIssue(f"{where}, object {number}", "annotation is incomplete", detail)
            faults.append(issue)
            continue
        difficult = FLAGS.get((node.findtext("difficult") or "0").strip().lower())
        if difficult is None:
            detail = f"expected difficult 0 or 1; got {node.findtext('difficult')!r:.80}"
            faults.append(
                DataIssue(f"{where}, object {number}", "annotation is incomplete", detail)
            )
            continue
        objects.append(_Object(number, category, corners, difficult))
    return _Annotation(_size(tree), objects, len(nodes))


def _size(tree: Element) -> tuple[int, int]:
    try:
        height = int(float(tree.findtext("size/height") or ""))
        width = int(float(tree.findtext("size/width") or ""))
    except (ValueError, OverflowError):
        return 0, 0
    return (height, width) if 0 < min(height, width) <= max(height, width) < 2**31 else (0, 0)
