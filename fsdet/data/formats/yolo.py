"""YOLO folders: data.yaml, images/..., labels/... with one `class x y width height` per line."""

import os
from collections.abc import Iterator
from pathlib import Path

from fsdet.data.formats.raw import RawAnnotations, RawImage, RawObject
from fsdet.data.formats.reader import ReadResult
from fsdet.data.formats.validation import DataIssue, size_from_file, validate
from fsdet.data.formats.yolo_labels import (
    label_file_of,
    label_files,
    label_folder_of,
    orphan_label_files,
)
from fsdet.data.formats.yolo_layout import DataYaml, load_data_yaml, locate_images
from fsdet.data.paths import resolve_inside
from fsdet.errors import InputError
from fsdet.files import read_regular


class YoloReader:
    """Reader of YOLO folders; a subset is a key of data.yaml.

    Image ids count the sorted image files from 1, annotation ids the label lines, malformed ones
    included. An image without a label file has no boxes. Lines are boxes, boxes with key points if data.yaml has
    kpt_shape, or outlines, of which the bounding box is read.
    """

    name = "YOLO"
    version = 4
    layout = "YOLO: data.yaml with {subset}: (or classes.txt) beside images/ and labels/"

    def subsets(self, root: Path) -> list[str]:
        data_yaml = load_data_yaml(root)
        return sorted(data_yaml.image_paths()) if isinstance(data_yaml, DataYaml) else []

    def has(self, root: Path, subset: str) -> bool:
        return isinstance(load_data_yaml(root), DataIssue) or subset in self.subsets(root)

    def sources(self, root: Path, subset: str) -> Iterator[os.PathLike[str]]:
        data_yaml = load_data_yaml(root)
        if isinstance(data_yaml, DataIssue):
            yield root / data_yaml.where
            return
        assert data_yaml is not None, "`has` is true"
        yield data_yaml.file
        try:
            images, lists, folders = locate_images(root, data_yaml, subset, [])
        except InputError:
            return
        yield from lists
        # Image files too, as boxes depend on their sizes.
        yield from (root / file for image in images for file in (image, label_file_of(image)))
        parents = {os.path.dirname(label_file_of(image)) for image in images}
        yield from (
            root / folder for folder in sorted(parents | set(map(label_folder_of, folders)))
        )

    def read(self, root: Path, subset: str) -> ReadResult:
        data_yaml = load_data_yaml(root)
        assert data_yaml is not None, "`has` is true"
        if isinstance(data_yaml, DataIssue):
            return ReadResult(None, [data_yaml])
        faults: list[DataIssue] = []
        try:
            class_names, points = data_yaml.class_names(), data_yaml.points()
            images, _, folders = locate_images(root, data_yaml, subset, faults)
            labels = label_files(root, images)
        except InputError as error:
            issue = DataIssue(
                data_yaml.file.name, f"{data_yaml.file.name} cannot be used", str(error)
            )
            return ReadResult(None, [issue])
        label_of = {number: label for label, number in enumerate(class_names, 1)}
        raw_images: list[RawImage] = []
        num_lines = 0
        for image_id, path in enumerate(images, 1):
            label_file = labels.get(path, label_file_of(path))
            try:
                lines = _label_lines(root, label_file)
            except InputError as error:
                faults.append(DataIssue(label_file, "label file cannot be used", str(error)))
                continue
            size = size_from_file(root, path, faults)
            objects, usable = [], size != (0, 0)
            for annotation_id, (number, line) in enumerate(lines, num_lines + 1):
                where = f"{label_file}, line {number}"
                parsed = _parse_line(line, where, label_of, points, faults)
                usable = usable and parsed is not None
                if parsed and size != (0, 0):  # the corners of an unreadable image are unknown
                    label, (x1, y1, x2, y2) = parsed
                    height, width = size
                    box = (x1 * width, y1 * height, x2 * width, y2 * height)
                    objects.append(RawObject(annotation_id, label, box, False, where))
            num_lines += len(lines)
            raw_images.append(RawImage(image_id, path, size, usable, objects))
        raw = RawAnnotations.from_images(root, self.name, list(class_names.values()), raw_images)
        data, invalid = validate(raw)
        warnings = [
            DataIssue(
                file, "label file without an image", f"expected an image like {file[:-4]}.jpg"
            )
            for file in orphan_label_files(root, folders, set(labels.values()))
        ]
        return ReadResult(data, [*faults, *invalid], warnings)


def _label_lines(root: Path, label_file: str) -> list[tuple[int, str]]:
    """Numbers and texts of the lines that are not blank; none where there is no file."""
    try:
        text = read_regular(resolve_inside(root, label_file)).decode("utf-8-sig", "replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(error.strerror) from None
    lines = enumerate(text.splitlines(), 1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def _parse_line(
    line: str, where: str, label_of: dict[int, int], points: int | None, faults: list[DataIssue]
) -> tuple[int, tuple[float, float, float, float]] | None:
    """Label and xyxy corners as shares of the image's sides; None and a fault if malformed."""
    try:
        number, corners = _parse_numbers([float(word) for word in line.split()], points)
    except (ValueError, OverflowError):
        more = "" if points is None else f" and the {points} numbers of kpt_shape"
        detail = f"expected the columns 'class x y width height'{more}; got '{line[:80]}'"
        faults.append(DataIssue(where, "label line is malformed", detail))
        return None
    if number not in label_of:
        detail = f"expected a class of data.yaml, 0 to {max(label_of)}; got {number}"
        faults.append(DataIssue(where, "annotation of an unknown category", detail))
        return None
    return label_of[number], corners


def _parse_numbers(
    numbers: list[float], points: int | None
) -> tuple[int, tuple[float, float, float, float]]:
    """Class number and xyxy corners of a box or an outline; other numbers are a `ValueError`.

    With key points each line is a box and `points` more numbers. Otherwise six or more are an outline, except six
    that end in a whole number: a box with score and number, as trackers write it.
    """
    number, *values = numbers
    if number != int(number):
        raise ValueError
    if len(values) == 4 or (points and len(values) == 4 + points):
        x, y, width, height = values[:4]
        return int(number), (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if points or len(values) < 6 or len(values) % 2:
        raise ValueError
    if len(values) == 6 and values[-1] == int(values[-1]):
        raise ValueError
    xs, ys = values[::2], values[1::2]
    return int(number), (min(xs), min(ys), max(xs), max(ys))
