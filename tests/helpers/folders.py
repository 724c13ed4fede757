"""Small data sets on disk, written in every format from the same description, and compared with it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from helpers import tool_folders

# Image name -> (height, width) and boxes (category, x1, y1, x2, y2) in whole pixels from 0.
SCENE = {
    "a": ((40, 60), [("cat", 5, 10, 25, 30), ("dog", 0, 0, 60, 40)]),
    "b": ((50, 30), []),
    "c": ((32, 32), [("dog", 1, 2, 9, 12), ("dog", 10, 10, 20, 31), ("ant", 4, 0, 8, 32)]),
}
CLASSES = ("ant", "cat", "dog")


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def write_images(folder: Path, scene: dict, suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, (size, _)) in enumerate(scene.items()):
        cv2.imwrite(str(folder / f"{name}{suffix}"), picture(size, seed)[..., ::-1])


def coco_content(scene: dict = SCENE, classes=CLASSES, suffix: str = ".png") -> dict:
    """Image ids 10, 20, ...; annotation ids from 1; category ids 3, 6, ..."""
    content = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": 3 * n, "name": name} for n, name in enumerate(classes, 1)]
    for number, (name, ((height, width), boxes)) in enumerate(scene.items(), 1):
        image = {"id": 10 * number, "file_name": name + suffix, "height": height, "width": width}
        content["images"].append(image)
        for category, x1, y1, x2, y2 in boxes:
            row = {"id": len(content["annotations"]) + 1, "image_id": image["id"]}
            row |= {"category_id": 3 * (classes.index(category) + 1)}
            row |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            content["annotations"].append(row | {"iscrowd": 0})
    return content


def write_coco(
    root: Path, content: dict | None = None, subset: str = "train", scene: dict = SCENE
) -> Path:
    """images/<subset> and annotations/instances_<subset>.json; the JSON."""
    write_images(root / "images" / subset, scene)
    file = root / "annotations" / f"instances_{subset}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        json.dumps(coco_content(scene) if content is None else content), encoding="utf-8"
    )
    return file


def voc_xml(size: tuple[int, int], boxes: list, shift: float = 1, extra: str = "") -> str:
    """Corners as VOC counts them, or moved by another `shift`."""
    height, width = size
    objects = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x1 + shift}</xmin>"
        f"<ymin>{y1 + shift}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2 in boxes
    )
    sides = f"<size><width>{width}</width><height>{height}</height><depth/></size>"
    return f"<annotation><filename>wrong.jpg</filename>{sides}{extra}{objects}</annotation>"


def write_voc(root: Path, scene: dict = SCENE, subset: str = "train", shift: float = 1) -> Path:
    """The folder of the annotations."""
    write_images(root / "JPEGImages", scene)
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, (size, boxes) in scene.items():
        (root / "Annotations" / f"{name}.xml").write_text(voc_xml(size, boxes, shift))
    (root / "ImageSets" / "Main" / f"{subset}.txt").write_text("\n".join(scene) + "\n")
    return root / "Annotations"


def yolo_lines(size: tuple[int, int], boxes: list, classes=CLASSES) -> str:
    height, width = size
    return "".join(
        f"{classes.index(name)} {(x1 + x2) / 2 / width:.8f} {(y1 + y2) / 2 / height:.8f} "
        f"{(x2 - x1) / width:.8f} {(y2 - y1) / height:.8f}\n"
        for name, x1, y1, x2, y2 in boxes
    )


def write_yolo(root: Path, scene: dict = SCENE, subset: str = "train", classes=CLASSES) -> Path:
    """The folder of the labels; images without boxes have no label file."""
    write_images(root / "images" / subset, scene)
    labels = root / "labels" / subset
    labels.mkdir(parents=True, exist_ok=True)
    for name, (size, boxes) in scene.items():
        if boxes:
            (labels / f"{name}.txt").write_text(yolo_lines(size, boxes, classes))
    names = "".join(f"  {n}: {name}\n" for n, name in enumerate(classes))
    (root / "data.yaml").write_text(f"path: .\n{subset}: images/{subset}\nnames:\n{names}")
    return labels


class Format(NamedTuple):
    """A format that a reader reads, for the tests that all formats share."""

    write: Callable[[Path, dict], object]  # root, scene -> a subset "train"
    image_ids: list[int]  # of SCENE
    category_ids: list[int]


# By `Reader.name`. A new reader needs a row here.
FORMATS = {
    "COCO": Format(lambda root, scene: write_coco(root, scene=scene), [10, 20, 30], [3, 6, 9]),
    "VOC": Format(write_voc, [1, 2, 3], [1, 2, 3]),
    "YOLO": Format(write_yolo, [1, 2, 3], [1, 2, 3]),
}


def beside_images(write: Callable[[Path, dict], None]) -> Callable[[Path, dict], None]:
    """A writer of images/ and, in the root, of the annotations of a tool."""

    def both(root: Path, scene: dict) -> None:
        write_images(root / "images", scene)
        write(root, scene)

    return both


for _name, _write in tool_folders.WRITERS.items():
    FORMATS[_name] = Format(beside_images(_write), [1, 2, 3], [1, 2, 3])


def scene_of(data) -> dict:
    """A data set in the form of `SCENE`: image name -> size and boxes by category name."""
    scene = {}
    for i in range(len(data)):
        rows = data.rows(i)
        names = [data.classes[label - 1] for label in data.labels[rows]]
        boxes = [(name, *box) for name, box in zip(names, data.boxes[rows].tolist(), strict=True)]
        scene[data.path(i).stem] = (tuple(data.sizes[i].tolist()), boxes)
    return scene


def assert_same_scene(scene: dict, expected: dict, atol: float = 1e-5) -> None:
    assert scene.keys() == expected.keys()
    for name, (size, boxes) in expected.items():
        assert scene[name][0] == size
        assert [box[0] for box in scene[name][1]] == [box[0] for box in boxes]
        corners, expected_corners = ([box[1:] for box in rows] for rows in (scene[name][1], boxes))
        np.testing.assert_allclose(np.array(corners), np.array(expected_corners), atol=atol)


def images_as_lists(data) -> list:
    """Each image as plain Python lists, independent of the flat layout."""
    images = []
    for i in range(len(data)):
        rows = data.rows(i)
        columns = [data.ids[rows], data.labels[rows], data.boxes[rows], data.areas[rows]]
        columns = [column.tolist() for column in [*columns, data.ignore[rows]]]
        images.append((int(data.image_ids[i]), data.sizes[i].tolist(), data.paths[i], columns))
    return images
