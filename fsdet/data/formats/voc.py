"""PASCAL VOC folders: Annotations/*.xml, ImageSets/Main/*.txt, JPEGImages/.

Corners: where at least 90% of the data set's are whole numbers, they are VOC's own, which count
pixels from 1 and include the last (xmin - 1, ymin - 1, xmax, ymax); with more fractions among them
they are measured from 0, as by CVAT and other tools. What most say is taken of all. All files that
some list names are read, whichever list is asked for, so that each has the same categories and
corners.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.formats.safe_xml import parse_xml
from fsdet.data.formats.validation import DataIssue, RawAnnotations, measured, validate
from fsdet.data.images import SUFFIXES
from fsdet.data.paths import Listing, inside
from fsdet.errors import InputError

LOOKED_FOR = "VOC: ImageSets/Main/{subset}.txt beside Annotations/ and JPEGImages/"
VERSION = 2  # of the answer: indexes kept under another are read anew
CORNERS = ("xmin", "ymin", "xmax", "ymax")


class _Annotation(NamedTuple):
    size: tuple[int, int] | None  # height, width; None where the file does not say
    objects: list[tuple[int, str, list[float], bool]]  # number from 1, name, corners, difficult
    total: int  # objects in the file, incomplete ones included


def subsets(root: Path) -> list[str]:
    """The names of the lists that the folder has."""
    if not (root / "Annotations").is_dir():
        return []
    return sorted(file.stem for file in (root / "ImageSets" / "Main").glob("*.txt"))


def find(root: Path, subset: str) -> Path | None:
    """The list of a subset, where the folder has it."""
    return _list(root, subset) if subset in subsets(root) else None


def sources(root: Path, subset: str) -> list[os.PathLike]:
    """All that the answer of `read` depends on: files, and folders whose listing matters."""
    lists = [_list(root, name) for name in subsets(root)]
    with os.scandir(root / "Annotations") as entries:
        return [*lists, root / "JPEGImages", *sorted(entries, key=lambda entry: entry.name)]


def read(root: Path, subset: str) -> tuple[DetectionData | None, list[DataIssue]]:
    """The images of a list with their boxes, and what was wrong;
    no data from a folder of images that is not in the data root.

    Image ids count the list from 1, annotation ids the objects in the list's order, faulty ones
    included, so that leaving some out does not rename the others.
    """
    faults: list[DataIssue] = []
    try:
        images = _images(root)
    except InputError as error:
        return None, [DataIssue("JPEGImages", "image outside the data root", str(error))]
    lists = {name: _stems(root, name) for name in subsets(root)}
    found = {}
    for stem in dict.fromkeys(stem for stems in lists.values() for stem in stems):
        # What is wrong in files of other lists is told when those are asked for.
        found[stem] = _annotation(root, stem, faults if stem in lists[subset] else [])
    objects = [row for annotation in found.values() if annotation for row in annotation.objects]
    classes = sorted({name for _, name, _, _ in objects})
    label_of = {name: label for label, name in enumerate(classes, 1)}
    first = _first_pixel(np.array([corners for _, _, corners, _ in objects], np.float64))

    names: list[str] = []
    image_ids, sizes, usable, rows, places = [], [], [], [], []
    seen = 0  # objects so far
    for image_id, stem in enumerate(lists[subset], 1):
        annotation, where = found[stem], f"Annotations/{stem}.xml"
        if annotation is None:
            continue
        name = images.get(stem)
        if name is None:
            detail = f"JPEGImages/ has no {stem} with {', '.join(SUFFIXES)}"
            faults.append(DataIssue(where, "missing image file", detail, f"JPEGImages/{stem}.jpg"))
        for number, category, corners, ignore in annotation.objects:
            rows.append((len(names), label_of[category], seen + number, ignore, *corners))
            places.append(f"{where}, object {number}")
        seen += annotation.total
        names.append(f"JPEGImages/{name or stem}")
        image_ids.append(image_id)
        sizes.append(
            annotation.size or (measured(root, f"JPEGImages/{name}", faults) if name else (0, 0))
        )
        usable.append(name is not None and sizes[-1][0] > 0)
    table = np.array(rows, np.float64).reshape(-1, 8)
    draft = RawAnnotations(
        root=root,
        classes=classes,
        category_ids=range(1, len(classes) + 1),
        names=names,
        image_ids=np.array(image_ids, np.int64),
        sizes=np.array(sizes, np.int64).reshape(-1, 2),
        usable=np.array(usable, bool),
        image_index=table[:, 0].astype(np.int64),
        labels=table[:, 1].astype(np.int32),
        boxes=table[:, 4:] - [first, first, 0, 0],
        ids=table[:, 2].astype(np.int64),
        areas=np.full(len(table), np.nan),
        ignore=table[:, 3].astype(bool),
        where=places.__getitem__,
        layout="VOC",
        faults=faults,
    )
    return validate(draft), faults


def _list(root: Path, subset: str) -> Path:
    return root / "ImageSets" / "Main" / f"{subset}.txt"


def _stems(root: Path, subset: str) -> list[str]:
    """Image names of a list; those of one category have 1, 0 or -1 behind each name."""
    lines = _list(root, subset).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return list(dict.fromkeys(re.sub(r"\s+(-1|0|1)$", "", s.strip()) for s in lines if s.strip()))


def _images(root: Path) -> dict[str, str]:
    """Image files by name without suffix; the earlier of `SUFFIXES` where there are several."""
    listing = Listing.of(root, "JPEGImages")
    for link in listing.links:
        inside(root, f"JPEGImages/{link}")
    files = [os.path.splitext(file) for file in listing.files]
    order = {suffix: -n for n, suffix in enumerate(SUFFIXES)}
    files = [file for file in files if file[1].lower() in order]
    return {stem: stem + end for stem, end in sorted(files, key=lambda f: order[f[1].lower()])}


def _first_pixel(corners: np.ndarray) -> float:
    """What the data set calls the first pixel: 1 if 90% of its corners are whole numbers, else 0.

    VOC2012 itself has a few fractional corners among its whole ones; fractional sets have most.
    """
    corners = corners[np.isfinite(corners)]
    return float(len(corners) > 0 and (corners == np.rint(corners)).mean() >= 0.9)


def _annotation(root: Path, stem: str, faults: list[DataIssue]) -> _Annotation | None:
    where = f"Annotations/{stem}.xml"
    try:
        tree = parse_xml(inside(root, where).read_bytes())
    except expat.ExpatError as error:
        faults.append(DataIssue(where, "annotation file is not whole XML", str(error)))
        return None
    except (OSError, InputError, ValueError, LookupError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        faults.append(DataIssue(where, "annotation file cannot be read", reason))
        return None
    objects, nodes = [], tree.findall("object")
    for number, node in enumerate(nodes, 1):
        name = (node.findtext("name") or "").strip()
        texts = [node.findtext(f"bndbox/{corner}") for corner in CORNERS]
        try:
            corners = [float(text or "") for text in texts]
            if not name:
                raise ValueError
        except ValueError:
            given = ", ".join(f"{key} {text}" for key, text in zip(CORNERS, texts, strict=True))
            detail = f"expected a name and four numbers, got name '{name}', {given}"
            faults.append(
                DataIssue(f"{where}, object {number}", "annotation is incomplete", detail)
            )
            continue
        difficult = (node.findtext("difficult") or "").strip() == "1"
        objects.append((number, name, corners, difficult))
    try:
        height, width = (
            int(float(tree.findtext(f"size/{side}") or "")) for side in ("height", "width")
        )
    except (ValueError, OverflowError):
        height, width = 0, 0
    size = (height, width) if min(height, width) > 0 else None
    return _Annotation(size, objects, len(nodes))
