"""Annotated images as the files of a COCO, VOC or YOLO folder: what `open_data` reads back."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from xml.etree import ElementTree

import numpy as np
import yaml

from fsdet.data.dataset import DetectionData
from fsdet.errors import InputError

Files = Iterator[tuple[str, str]]  # path in the folder, text


def coco(data: DetectionData, subset: str) -> Files:
    """`annotations/instances_<subset>.json`, boxes to a hundredth of a pixel; images lie in `images/<subset>/`."""
    yield f"annotations/instances_{subset}.json", json.dumps(coco_tree(data))


def voc(data: DetectionData, subset: str) -> Files:
    """`Annotations/*.xml` and `ImageSets/Main/<subset>.txt`; images lie in `JPEGImages/`.

    Corners are whole pixels that count from 1, as VOC's own: boxes are rounded.
    """
    names = file_names(data)
    for i, name in enumerate(names):
        height, width = data.sizes[i].tolist()
        tree = ElementTree.Element("annotation")
        _leaves(tree, {"folder": "JPEGImages", "filename": name})
        _leaves(
            ElementTree.SubElement(tree, "size"), {"width": width, "height": height, "depth": 3}
        )
        rows = data.rows(i)
        columns = zip(data.boxes[rows], data.labels[rows], data.ignore[rows], strict=True)
        for box, label, ignore in columns:
            node = ElementTree.SubElement(tree, "object")
            _leaves(node, {"name": data.classes[label - 1], "difficult": int(ignore)})
            x1, y1, x2, y2 = np.rint(box).astype(int).tolist()
            corners = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}
            _leaves(ElementTree.SubElement(node, "bndbox"), corners)
        ElementTree.indent(tree)
        yield (
            f"Annotations/{os.path.splitext(name)[0]}.xml",
            ElementTree.tostring(tree, "unicode"),
        )
    stems = [os.path.splitext(name)[0] for name in names]
    yield f"ImageSets/Main/{subset}.txt", "".join(f"{stem}\n" for stem in stems)


def yolo(data: DetectionData, subset: str) -> Files:
    """`data.yaml` and `labels/<subset>/*.txt`; images lie in `images/<subset>/`."""
    # Who trains on the folder as it is needs both of these, whatever the subset's name.
    content: dict[str, object] = dict.fromkeys(("train", "val", subset), f"images/{subset}")
    content["names"] = dict(enumerate(data.classes))
    yield "data.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    for i, name in enumerate(file_names(data)):
        height, width = data.sizes[i].tolist()
        rows = data.rows(i)
        boxes = data.boxes[rows] / [width, height, width, height]
        placed = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
        lines = (
            f"{label - 1} {' '.join(f'{value:.6f}' for value in row)}\n"
            for label, row in zip(data.labels[rows].tolist(), placed.tolist(), strict=True)
        )
        yield f"labels/{subset}/{os.path.splitext(name)[0]}.txt", "".join(lines)


FORMATS: Mapping[str, tuple[Callable[[DetectionData, str], Files], str]] = {
    "COCO": (coco, "images/{subset}"),
    "VOC": (voc, "JPEGImages"),
    "YOLO": (yolo, "images/{subset}"),
}
"""By name: what writes the annotations, and where the images lie."""


def file_names(data: DetectionData) -> list[str]:
    """The names of the image files without their folders.

    Raises:
        InputError: two that differ in their folder or their ending only.
    """
    names = [os.path.basename(data.paths[i]) for i in range(len(data))]
    stems = [os.path.splitext(name)[0] for name in names]
    for name, stem in zip(names, stems, strict=True):
        if stems.count(stem) > 1:
            raise InputError(f"expected different names of images, got '{name}' or its like twice")
    return names


def coco_tree(data: DetectionData) -> dict[str, list]:
    """A data set as COCO's JSON."""
    images = [
        {"id": n, "file_name": os.path.basename(data.paths[i]), "height": height, "width": width}
        for i, (n, (height, width)) in enumerate(
            zip(data.image_ids.tolist(), data.sizes.tolist(), strict=True)
        )
    ]
    owners = np.repeat(data.image_ids, np.diff(data.starts))
    corner, extent = data.boxes[:, :2], data.boxes[:, 2:] - data.boxes[:, :2]
    placed = np.concatenate([corner, extent], 1).round(2)
    kinds = data.category_ids[data.labels - 1]
    columns = zip(data.ids, owners, kinds, placed, data.areas, data.ignore * 1, strict=True)
    keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
    annotations = [dict(zip(keys, (v.tolist() for v in row), strict=True)) for row in columns]
    categories = [
        {"id": n, "name": name}
        for n, name in zip(data.category_ids.tolist(), data.classes, strict=True)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def _leaves(parent: ElementTree.Element, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        ElementTree.SubElement(parent, name).text = str(value)
