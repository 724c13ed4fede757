"""Writers of COCO, VOC and YOLO folders, which `open_data` can read."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from xml.etree import ElementTree

import numpy as np
import yaml

from fsdet.data.dataset import DetectionData
from fsdet.errors import InputError

Files = Iterator[tuple[str, str]]  # path in the folder, text
YOLO_FILE = "data.yaml"


def coco_files(data: DetectionData, subset: str) -> Files:
    """`annotations/instances_<subset>.json`, boxes to a hundredth of a pixel; images lie in `images/<subset>/`."""
    yield f"annotations/instances_{subset}.json", json.dumps(coco_dict(data))


def voc_files(data: DetectionData, subset: str) -> Files:
    """`Annotations/*.xml` and `ImageSets/Main/<subset>.txt`; images lie in `JPEGImages/`.

    Corners are whole pixels that count from 1, as VOC's own: boxes are rounded, to one pixel or more.
    """
    stems = []
    for i, name in enumerate(file_names(data)):
        stem = os.path.splitext(name)[0]
        stems.append(stem)
        height, width = data.sizes[i].tolist()
        tree = ElementTree.Element("annotation")
        _add_leaves(tree, {"folder": "JPEGImages", "filename": name})
        size = ElementTree.SubElement(tree, "size")
        _add_leaves(size, {"width": width, "height": height, "depth": 3})
        rows = data.rows(i)
        columns = zip(data.boxes[rows], data.labels[rows], data.ignore[rows], strict=True)
        for box, label, ignore in columns:
            node = ElementTree.SubElement(tree, "object")
            _add_leaves(node, {"name": data.classes[label - 1], "difficult": int(ignore)})
            x1, y1, x2, y2 = np.rint(box).astype(int).tolist()
            x1, y1 = min(x1, width - 1), min(y1, height - 1)
            x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
            corners = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}
            _add_leaves(ElementTree.SubElement(node, "bndbox"), corners)
        ElementTree.indent(tree)
        yield f"Annotations/{stem}.xml", ElementTree.tostring(tree, "unicode")
    yield f"ImageSets/Main/{subset}.txt", "".join(f"{stem}\n" for stem in stems)


def yolo_files(data: DetectionData, subset: str) -> Files:
    """`data.yaml` and `labels/<subset>/*.txt`; images lie in `images/<subset>/`."""
    yield YOLO_FILE, yolo_yaml([subset], data.classes)
    for i, name in enumerate(file_names(data)):
        height, width = data.sizes[i].tolist()
        rows = data.rows(i)
        boxes = data.boxes[rows] / [width, height, width, height]
        cxcywh = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
        lines = (
            f"{label - 1} {' '.join(f'{value:.6f}' for value in row)}\n"
            for label, row in zip(data.labels[rows].tolist(), cxcywh.tolist(), strict=True)
        )
        yield f"labels/{subset}/{os.path.splitext(name)[0]}.txt", "".join(lines)


def yolo_yaml(subsets: Sequence[str], classes: Sequence[str]) -> str:
    """The text of data.yaml for one or more subsets."""
    # Ultralytics needs both train and val, whatever the names of the subsets.
    lists = {"train": subsets[0], "val": subsets[-1]} | {name: name for name in subsets}
    content: dict[str, object] = {name: f"images/{folder}" for name, folder in lists.items()}
    content["names"] = dict(enumerate(classes))
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


FORMATS: Mapping[str, tuple[Callable[[DetectionData, str], Files], str]] = {
    "COCO": (coco_files, "images/{subset}"),
    "VOC": (voc_files, "JPEGImages"),
    "YOLO": (yolo_files, "images/{subset}"),
}
"""Format -> function that yields the annotation files, and the folder of the images."""


def file_names(data: DetectionData) -> list[str]:
    """The names of the image files without their folders.

    Raises:
        InputError: two names that differ only in their folder or their ending.
    """
    names = [os.path.basename(data.paths[i]) for i in range(len(data))]
    stems: dict[str, str] = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        if stem in stems:
            raise InputError(
                f"expected image names that differ without folder and ending, got '{stems[stem]}' "
                f"and '{name}': rename one"
            )
        stems[stem] = name
    return names


def coco_dict(data: DetectionData) -> dict[str, list]:
    """The content of a COCO JSON for a data set."""
    images = [
        {"id": n, "file_name": os.path.basename(data.paths[i]), "height": height, "width": width}
        for i, (n, (height, width)) in enumerate(
            zip(data.image_ids.tolist(), data.sizes.tolist(), strict=True)
        )
    ]
    image_ids = np.repeat(data.image_ids, np.diff(data.starts))
    category_ids = data.category_ids[data.labels - 1]
    xywh = np.concatenate([data.boxes[:, :2], data.boxes[:, 2:] - data.boxes[:, :2]], 1).round(2)
    columns = zip(data.ids, image_ids, category_ids, xywh, data.areas, data.ignore * 1, strict=True)
    keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
    annotations = [dict(zip(keys, (v.tolist() for v in row), strict=True)) for row in columns]
    categories = [
        {"id": n, "name": name}
        for n, name in zip(data.category_ids.tolist(), data.classes, strict=True)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def _add_leaves(parent: ElementTree.Element, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        ElementTree.SubElement(parent, name).text = str(value)
