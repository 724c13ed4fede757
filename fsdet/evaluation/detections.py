"""Detections over a test set as arrays: the argument of every evaluation."""

from dataclasses import dataclass

import numpy as np

from fsdet.errors import InputError
from fsdet.model.postprocess import DetectionTable


@dataclass(frozen=True, eq=False)
class DetectionArrays:
    """D detections over a test set, in any order. Arrays of different lengths are an `InputError`."""

    image_index: np.ndarray  # [D] int64, index of the image in the `DetectionData`
    labels: np.ndarray  # [D] int64, 1..N in the order of the classes to evaluate
    scores: np.ndarray  # [D] float64
    boxes: np.ndarray  # [D, 4] float64 xyxy pixels

    def __post_init__(self) -> None:
        for name in ("image_index", "labels"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64))
        for name, shape in (("scores", (-1,)), ("boxes", (-1, 4))):
            array = np.asarray(getattr(self, name), np.float64)
            object.__setattr__(self, name, array.reshape(shape))
        lengths = [len(array) for array in vars(self).values()]
        if len(set(lengths)) > 1:
            raise InputError(
                "expected as many images, labels, scores and boxes; "
                f"got {', '.join(map(str, lengths))}"
            )

    @staticmethod
    def of(detections: DetectionTable) -> "DetectionArrays":
        """The arrays of detections that are tensors on the CPU."""
        return DetectionArrays(
            detections.images.numpy(),
            detections.labels.numpy(),
            detections.scores.numpy(),
            detections.boxes.numpy(),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: np.ndarray) -> "DetectionArrays":
        """Select detections by a mask [D] or by indices."""
        return DetectionArrays(*(array[rows] for array in vars(self).values()))
