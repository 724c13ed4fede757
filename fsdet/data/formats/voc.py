"""PASCAL VOC: XML files, with lists in ImageSets/Main or without, in a folder of their own or beside the images.

VOC's own corners are whole numbers that count pixels from 1 and include the last one: xyxy is
(xmin - 1, ymin - 1, xmax, ymax). CVAT and other tools write fractions measured from 0, and others
whole numbers from 0. A data set counts from 1 if at least 90% of its corners are whole numbers and no
xmin or ymin is 0. The files of all subsets are read, whichever is opened, so that all have the same
categories and the same origin.
"""

import os
from pathlib import Path

import numpy as np

from fsdet.data.formats.raw import RawAnnotations, RawImage, RawObject
from fsdet.data.formats.reader import ReadResult
from fsdet.data.formats.validation import DataIssue, size_from_file, validate
from fsdet.data.formats.voc_layout import VocFiles, voc_layout, voc_subsets
from fsdet.data.formats.voc_xml import VocAnnotation, VocObject, read_annotation
from fsdet.data.images import SUFFIXES
from fsdet.data.names import stem
from fsdet.data.paths import resolve_inside
from fsdet.errors import InputError


class VocReader:
    """Reader of VOC folders; a subset is a list in ImageSets/Main, else see `FileTree.subsets`.

    Image ids count the images of the subset from 1, annotation ids the objects in the order of the
    images. Faulty ones are counted too: leaving them out does not change ids.
    """

    name = "VOC"
    version = 4
    layout = (
        "VOC: XML files beside the images or in a folder of their own, with lists such as "
        "ImageSets/Main/{subset}.txt or in folders such as {subset}/"
    )

    def subsets(self, root: Path) -> list[str]:
        return voc_subsets(root)

    def has(self, root: Path, subset: str) -> bool:
        return subset in self.subsets(root)

    def sources(self, root: Path, subset: str) -> list[os.PathLike[str]]:
        try:
            layout = voc_layout(root)
        except InputError:
            return []
        files = [files for group in layout.subsets.values() for files in group]
        paths = {file.annotation for file in files} | {
            os.path.dirname(path)
            for file in files
            for path in (file.annotation, file.image)
            if path
        }
        return [*layout.lists, *(root / path for path in sorted(paths))]

    def read(self, root: Path, subset: str) -> ReadResult:
        faults: list[DataIssue] = []
        try:
            layout = voc_layout(root)
        except InputError as error:
            return ReadResult(None, [DataIssue(subset, "data outside the data root", str(error))])
        listed = layout.subsets[subset]
        own = {files.annotation for files in listed}
        annotations: dict[str, VocAnnotation | None] = {}
        for group in layout.subsets.values():
            for files in group:
                if files.annotation not in annotations:
                    why = (
                        f"; it is expected, as a list names '{files.name}'" if layout.lists else ""
                    )
                    # Faults of other subsets are reported when those are opened.
                    reported = faults if files.annotation in own else []
                    annotations[files.annotation] = read_annotation(
                        root, files.annotation, why, reported
                    )
        objects = [
            o for annotation in annotations.values() if annotation for o in annotation.objects
        ]
        classes = sorted({o.category for o in objects})
        first_pixel = _first_pixel(np.array([o.corners for o in objects if o.counted], np.float64))
        label_of = {category: label for label, category in enumerate(classes, 1)}

        images: list[RawImage] = []
        num_objects = 0
        for image_id, files in enumerate(listed, 1):
            annotation = annotations[files.annotation]
            if annotation is None:
                continue
            size = _checked_size(root, files, annotation, faults)
            raw_objects = [
                RawObject(
                    id=num_objects + o.number,
                    label=label_of[o.category],
                    box=_box(o, first_pixel),
                    ignore=o.difficult,
                    where=f"{files.annotation}, object {o.number}",
                )
                for o in annotation.objects
            ]
            usable = size != (0, 0) and len(annotation.objects) == annotation.num_objects
            path = files.image or f"{stem(files.annotation)}.jpg"
            images.append(RawImage(image_id, path, size, usable, raw_objects))
            num_objects += annotation.num_objects
        data, invalid = validate(RawAnnotations.from_images(root, self.name, classes, images))
        detail = "it is left out, as its objects are unknown"
        unlabelled = [
            DataIssue(path, "image without annotation file", detail) for path in layout.unlabelled
        ]
        return ReadResult(data, [*faults, *invalid], unlabelled)


def _checked_size(
    root: Path, files: VocFiles, annotation: VocAnnotation, faults: list[DataIssue]
) -> tuple[int, int]:
    """(height, width) of the file, else of its image; (0, 0) and a fault without a usable image."""
    if files.image is None:
        expected = f"{files.image_folder}/{Path(files.annotation).stem}"
        detail = f"expected {expected} with one of {', '.join(SUFFIXES)}"
        faults.append(DataIssue(files.annotation, "missing image file", detail, f"{expected}.jpg"))
        return 0, 0
    if (root / files.image).is_symlink():
        try:
            resolve_inside(root, files.image)
        except InputError as error:
            faults.append(DataIssue(files.annotation, "image outside the data root", str(error)))
            return 0, 0
    return (
        annotation.size if annotation.size != (0, 0) else size_from_file(root, files.image, faults)
    )


def _box(annotated: VocObject, first_pixel: float) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = annotated.corners
    return (x1 - first_pixel, y1 - first_pixel, x2, y2) if annotated.counted else annotated.corners


def _first_pixel(corners: np.ndarray) -> float:
    """Coordinate of the first pixel: 1 if at least 90% of the corners are whole and none is 0, else 0.

    VOC2012 has a few fractional corners among whole ones; in fractional data sets most are.
    """
    corners = corners.reshape(-1, 4)
    if (corners[:, :2] == 0).any():
        return 0.0
    finite = corners[np.isfinite(corners)]
    return float(len(finite) > 0 and (finite == np.rint(finite)).mean() >= 0.9)
