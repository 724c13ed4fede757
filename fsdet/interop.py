"""Conversion of detections and annotated boxes from and to `supervision.Detections`."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fsdet.api.results import Detection, Detections
from fsdet.errors import InputError, nearest

try:
    import supervision as sv
    from supervision.config import CLASS_NAME_DATA_FIELD
except ImportError as error:
    raise InputError(
        'expected the package supervision, which is not installed: pip install -e ".[supervision]"'
    ) from error


def to_supervision(detections: Sequence[Detection], names: Sequence[str]) -> sv.Detections:
    """Convert the R detections of an image; the order stays.

    Args:
        names: all categories, for instance `Detector.names`; `class_id` is the index in them, from 0.

    Returns:
        `xyxy` [R, 4] and `confidence` [R], float32; `class_id` [R] and `data["class_name"]` [R].

    Raises:
        InputError: the category of a detection is not in `names`.
    """
    for detection in detections:
        if detection.name not in names:
            raise InputError(
                f"to_supervision: no category '{detection.name}'{nearest(detection.name, names)}"
            )
    return Detections(detections, None, names).to_supervision()


def from_supervision(detections: sv.Detections) -> list[Detection]:
    """Convert the detections of an image; the order stays, masks and other data are dropped.

    Raises:
        InputError: they have no `data["class_name"]` or no confidence.
    """
    names = _names(detections)
    if detections.confidence is None and names:
        raise InputError("expected detections with a confidence, got none: are they annotations?")
    scores = [] if detections.confidence is None else detections.confidence.tolist()
    rows = zip(detections.xyxy.tolist(), names, scores, strict=True)
    return [Detection((x1, y1, x2, y2), name, score) for (x1, y1, x2, y2), name, score in rows]


def shots(
    name: str, annotated: Iterable[tuple[Any, sv.Detections]]
) -> tuple[list, list[np.ndarray], list[np.ndarray]]:
    """Select the arguments of `Detector.register` for a category from annotated images:

        detector.register("gear", *shots("gear", dataset.annotations.items()))

    Args:
        name: of the category.
        annotated: images, as `Detector.register` takes them, each with its boxes and their
            `data["class_name"]`: the `annotations.items()` of a `supervision.DetectionDataset`.

    Returns:
        The images with a box of the category; boxes [G, 4] of the category in each; other boxes [H, 4]
        in each: those of other categories, and COCO's crowds.

    Raises:
        InputError: no image has a box of the category, or boxes have no names.
    """
    images, boxes, others, class_names = [], [], [], set()
    for image, detections in annotated:
        names = _names(detections)
        class_names |= set(names)
        crowd = np.asarray(detections.data.get("iscrowd", np.zeros(len(names))), bool)
        selected = (np.array(names) == name) & ~crowd
        if selected.any():
            images.append(image)
            boxes.append(detections.xyxy[selected])
            others.append(detections.xyxy[~selected])
    if not images:
        raise InputError(f"shots: no box of category '{name}'{nearest(name, class_names - {name})}")
    return images, boxes, others


def _names(detections: sv.Detections) -> list[str]:
    """The category of each box."""
    names = detections.data.get(CLASS_NAME_DATA_FIELD)
    if names is None and len(detections):
        raise InputError(
            f'expected supervision.Detections with data["{CLASS_NAME_DATA_FIELD}"], the category of'
            f" each box, got {', '.join(detections.data) or 'no data'}"
        )
    return [] if names is None else np.asarray(names).tolist()
