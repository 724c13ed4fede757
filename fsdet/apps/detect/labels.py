"""Detections as labels: a data set that other tools read, and `fsdet finetune` too."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fsdet.api.results import Detections
from fsdet.apps.detect.sources import common_folder, path_below
from fsdet.data.dataset import DetectionData
from fsdet.data.formats.raw import RawAnnotations, RawImage, RawObject
from fsdet.data.formats.validation import validate

SUBSET = "train"


class Labelled(NamedTuple):
    """An image file with what was detected in it."""

    file: Path
    size: tuple[int, int]  # height, width, upright
    found: Detections


def as_data(images: Sequence[Labelled], classes: Sequence[str]) -> DetectionData:
    """Images with their detections as a data set; boxes are in pixels of the upright images.

    Args:
        images: one or more.
        classes: the list of categories; each detection has one of them.
    """
    # A link and the file that it leads to lie below the root, as data sets must.
    root = common_folder(place for image in images for place in (image.file, image.file.resolve()))
    label_of = {name: label for label, name in enumerate(classes, 1)}
    raw, number = [], 0
    for image_id, (file, size, found) in enumerate(images, 1):
        path, objects = path_below(root, file), []
        for box, name, _ in found:
            number += 1
            objects.append(RawObject(number, label_of[name], box, False, path))
        raw.append(RawImage(image_id, path, size, True, objects))
    return validate(RawAnnotations.from_images(root, "", classes, raw))[0]
