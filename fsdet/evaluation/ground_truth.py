"""Ground truth: annotated boxes, indexed once for any number of evaluations."""

from collections.abc import Sequence
from typing import Any

import hotcoco
import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.formats.lvis import ABSENT, PARTIAL, Federated
from fsdet.data.labels import class_indices, label_table
from fsdet.errors import InputError
from fsdet.evaluation.detections import DetectionArrays


class CocoTruth:
    """The annotated boxes of some categories, indexed once for any number of evaluations.

    Args:
        data: the test set. Its boxes to ignore are COCO's crowds: they need not be detected, and detections
            in them are not false positives.
        classes: the categories to evaluate; label n means `classes[n - 1]`, whatever its label in `data`.
            Boxes of other categories are left out.

    Attributes:
        ranks: [I] int64 1..I, image ids of the evaluators.
        image_index, labels, boxes, areas, ignore: of the G annotated boxes.
        frequency: [N] a letter for each class if `data` is annotated as LVIS is, else "".

    Raises:
        InputError: an unknown or repeated class.
    """

    def __init__(self, data: DetectionData, classes: Sequence[str]):
        self.classes = tuple(classes)
        indices = class_indices(self.classes, data.classes, str(data.root))
        if len(set(indices)) < len(indices):
            raise InputError(f"classes to evaluate must differ: got {', '.join(self.classes)}")
        new_labels = {index + 1: label for label, index in enumerate(indices, 1)}
        table = label_table(new_labels, len(data.classes), missing=0)
        rows = np.flatnonzero(table[data.labels])
        # pycocotools sorts images by id, and their order decides between equal scores; the ranks of
        # the ids keep this order, and stay exact in a float array however large the ids are.
        self.ranks = np.empty(len(data), np.int64)
        self.ranks[np.argsort(data.image_ids, kind="stable")] = np.arange(1, len(data) + 1)
        self.image_index = data.image_of(rows)  # [G]
        self.labels = table[data.labels[rows]]  # [G]
        self.boxes = np.asarray(data.boxes, np.float64)[rows]  # [G, 4]
        self.areas = np.asarray(data.areas, np.float64)[rows]  # [G]
        self.ignore = np.asarray(data.ignore, bool)[rows]  # [G]
        self.images: list[dict[str, Any]] = [
            {"id": int(rank), "height": int(height), "width": int(width)}
            for rank, (height, width) in zip(self.ranks, data.sizes, strict=True)
        ]
        self.categories: list[dict[str, Any]] = [
            {"id": n, "name": name} for n, name in enumerate(self.classes, 1)
        ]
        self.frequency = ""
        if data.federated:
            self.frequency = "".join(data.federated.frequency[index] for index in indices)
            self._add_federated(data.federated, table)
        self.coco = hotcoco.COCO.from_arrays(
            self.images,
            self.categories,
            self.ranks[self.image_index],
            self.labels,
            xywh(self.boxes),
            area=self.areas,
            iscrowd=self.ignore,
        )

    def _add_federated(self, federated: Federated, table: np.ndarray) -> None:
        """Add LVIS's annotations of images and categories under the keys that its evaluators read."""
        for category, letter in zip(self.categories, self.frequency, strict=True):
            category["frequency"] = letter
        for key, pairs in ((ABSENT, federated.absent), (PARTIAL, federated.partial)):
            for image in self.images:
                image[key] = []
            for i, label in zip(pairs[:, 0].tolist(), table[pairs[:, 1]].tolist(), strict=True):
                if label:
                    self.images[i][key].append(label)

    def as_coco(self) -> dict[str, Any]:
        """COCO's JSON, for pycocotools; ids start from 1, as 0 means no match in pycocotools."""
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

    def validate(self, detections: DetectionArrays) -> None:
        """Raise an `InputError` for an image or label that is not in the ground truth, or NaN or infinity."""
        for name, values, lowest, highest in (
            ("image index", detections.image_index, 0, len(self.ranks) - 1),
            ("label", detections.labels, 1, len(self.classes)),
        ):
            outside = np.flatnonzero((values < lowest) | (values > highest))
            if len(outside):
                row = outside[0]
                raise InputError(
                    f"detection {row}: expected {name} in {lowest}..{highest}; got {values[row]}"
                )
        scores, boxes = detections.scores, detections.boxes
        infinite = np.flatnonzero(~(np.isfinite(scores) & np.isfinite(boxes).all(axis=1)))
        if len(infinite):
            row = infinite[0]
            raise InputError(
                f"detection {row}: expected finite numbers; got score {scores[row]}, "
                f"box {boxes[row].tolist()}"
            )

    def coco_results(self, detections: DetectionArrays) -> np.ndarray:
        """[D, 7] image id, x, y, width, height, score, label: detections as COCO's evaluators load them.

        Raises:
            InputError: see `validate`.
        """
        self.validate(detections)
        image_ids, boxes = self.ranks[detections.image_index], xywh(detections.boxes)
        return np.column_stack((image_ids, boxes, detections.scores, detections.labels))

    def keys(self, image_index: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """An integer for each pair of image and label, different for different pairs."""
        return image_index * (len(self.classes) + 1) + labels


def xywh(boxes: np.ndarray) -> np.ndarray:
    """[D, 4] xyxy -> x, y, width, height."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def mean_of(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN if there is none."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")
