"""Ground truth: annotated boxes, indexed once for any number of evaluations.

Detections are flat arrays over the test set: image index [D] (rows of the `DetectionData`), label
[D] (1..N in the order of the truth's classes), score [D], boxes [D, 4] xyxy pixels.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import hotcoco
import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.formats.lvis import ABSENT, PARTIAL, Federated
from fsdet.errors import InputError, nearest


class CocoTruth:
    """The annotated boxes of `classes` in `data`, indexed once for any number of evaluations.

    Label n means `classes[n - 1]`, whatever it is called in `data`; boxes of other categories are
    left out. Boxes that `data` says to ignore are COCO's crowds: they need not be found, and
    whatever lies in them is not counted as wrong. `frequency` has a letter for each class where
    `data` is annotated as LVIS is, else none. An unknown or repeated class is an `InputError`.
    """

    def __init__(self, data: DetectionData, classes: Sequence[str]):
        self.classes = tuple(classes)
        columns = positions(self.classes, data.classes, str(data.root))
        if len(set(columns)) < len(columns):
            raise InputError(f"classes to evaluate must differ: got {', '.join(self.classes)}")
        new_label = np.zeros(len(data.classes) + 1, np.int64)
        new_label[np.array(columns, np.int64) + 1] = np.arange(1, len(columns) + 1)
        labels = new_label[data.labels]
        kept = labels > 0
        # pycocotools goes through images by id, and that order decides between equal scores; the
        # ranks of the ids keep it, and stay exact in a float array however large the ids are.
        self.ranks = np.empty(len(data), np.int64)
        self.ranks[np.argsort(data.image_ids, kind="stable")] = np.arange(1, len(data) + 1)
        self.image_index = np.repeat(np.arange(len(data)), np.diff(data.starts))[kept]  # [G]
        self.labels = labels[kept]  # [G]
        self.boxes = np.asarray(data.boxes, np.float64)[kept]  # [G, 4]
        self.areas = np.asarray(data.areas, np.float64)[kept]  # [G]
        self.ignore = np.asarray(data.ignore, bool)[kept]  # [G]
        self.images: list[dict[str, Any]] = [
            {"id": int(rank), "height": int(height), "width": int(width)}
            for rank, (height, width) in zip(self.ranks, data.sizes, strict=True)
        ]
        self.categories: list[dict[str, Any]] = [
            {"id": n, "name": name} for n, name in enumerate(self.classes, 1)
        ]
        self.frequency = ""
        if data.federated:
            self.frequency = "".join(data.federated.frequency[column] for column in columns)
            self._know(data.federated, new_label)
        self.coco = hotcoco.COCO.from_arrays(
            self.images,
            self.categories,
            self.ranks[self.image_index],
            self.labels,
            xywh(self.boxes),
            area=self.areas,
            iscrowd=self.ignore,
        )

    def _know(self, federated: Federated, new_label: np.ndarray) -> None:
        """Write down what LVIS says of images and categories, where its evaluators look for it."""
        for category, letter in zip(self.categories, self.frequency, strict=True):
            category["frequency"] = letter
        for key, pairs in ((ABSENT, federated.absent), (PARTIAL, federated.partial)):
            for image in self.images:
                image[key] = []
            labels = new_label[pairs[:, 1]]
            kept = labels > 0
            for i, label in zip(pairs[kept, 0].tolist(), labels[kept].tolist(), strict=True):
                self.images[i][key].append(label)

    def as_coco(self) -> dict[str, Any]:
        """The same truth as COCO's JSON, for pycocotools; ids from 1, as it reads 0 as no match."""
        columns = (self.ranks[self.image_index], self.labels, xywh(self.boxes), self.areas)
        rows = zip(*(column.tolist() for column in columns), self.ignore.tolist(), strict=True)
        keys = ("image_id", "category_id", "bbox", "area", "iscrowd")
        annotations = [
            {"id": n, **dict(zip(keys, row, strict=True))} for n, row in enumerate(rows, 1)
        ]
        return {
            "info": {},
            "images": self.images,
            "categories": self.categories,
            "annotations": annotations,
        }


def checked(
    truth: CocoTruth,
    image_index: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    boxes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Detections as int64, int64, float64 and float64 arrays, or an `InputError` that names one."""
    index, labels = np.asarray(image_index, np.int64), np.asarray(labels, np.int64)
    scores, boxes = np.asarray(scores, np.float64), np.asarray(boxes, np.float64).reshape(-1, 4)
    if not len(index) == len(labels) == len(scores) == len(boxes):
        lengths = f"{len(index)}, {len(labels)}, {len(scores)}, {len(boxes)}"
        raise InputError(f"images, labels, scores and boxes must be as many: got {lengths}")
    for name, values, least, most in (
        ("image index", index, 0, len(truth.ranks) - 1),
        ("label", labels, 1, len(truth.classes)),
    ):
        wrong = np.flatnonzero((values < least) | (values > most))
        if len(wrong):
            at = wrong[0]
            raise InputError(f"detection {at}: {name} {values[at]} is outside {least}..{most}")
    wrong = np.flatnonzero(~(np.isfinite(scores) & np.isfinite(boxes).all(axis=1)))
    if len(wrong):
        at = wrong[0]
        raise InputError(
            f"detection {at}: score {scores[at]}, box {boxes[at].tolist()}: not finite"
        )
    return index, labels, scores, boxes


def positions(names: Iterable[str], classes: Sequence[str], where: str) -> list[int]:
    """Place of each name in `classes`; an unknown one is an `InputError` that says `where`."""
    index = {name: n for n, name in enumerate(classes)}
    names = list(names)
    for name in names:
        if name not in index:
            raise InputError(f"{where}: no category '{name}'{nearest(name, classes)}")
    return [index[name] for name in names]


def xywh(boxes: np.ndarray) -> np.ndarray:
    """[D, 4] corners as corner, width and height."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def mean_of(values: np.ndarray) -> float:
    """Without what is NaN; NaN of nothing."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")
