"""Detections of a detector in a whole data set, for `fsdet.evaluation`."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from fsdet.api.detector import BATCH, Detector
from fsdet.data import DetectionData
from fsdet.evaluation.detections import DetectionArrays


def detections(
    detector: Detector,
    data: DetectionData,
    names: Sequence[str],
    threshold: float = 0.01,
    progress: Callable[[Iterable, int], Iterable] = lambda loop, total: loop,
) -> DetectionArrays:
    """Detect in all images; a batch of images is in memory at a time.

    Args:
        names: the categories to return; label n is `names[n - 1]`. Detections of the detector's other
            categories compete in NMS and are then dropped.
        threshold: minimum score.
        progress: wraps a loop over that many batches and shows its progress.
    """
    labels = {name: label for label, name in enumerate(names, 1)}
    starts, rows = range(0, len(data), BATCH), []
    for start in progress(starts, len(starts)):
        images = range(start, min(start + BATCH, len(data)))
        predictions = detector.predict_many([data.image(i) for i in images], threshold)
        rows += [
            (image, labels[detection.name], detection.score, *detection.box)
            for image, predicted in zip(images, predictions, strict=True)
            for detection in predicted
            if detection.name in labels
        ]
    table = np.array(rows, np.float64).reshape(-1, 7)
    return DetectionArrays(table[:, 0], table[:, 1], table[:, 2], table[:, 3:])
