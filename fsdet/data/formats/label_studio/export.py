"""Exports of Label Studio, JSON or JSON-MIN, as labelled boxes in pixels."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fsdet.data.formats.label_studio.images import task_image
from fsdet.data.formats.label_studio.rectangle import Box, Rectangle, TurnedImage
from fsdet.data.formats.label_studio.shapes import LABELS, as_rectangles
from fsdet.errors import InputError

logger = logging.getLogger("fsdet")


@dataclass(frozen=True)
class Annotation:
    """The boxes that a person drew in the image of a task."""

    task: int
    id: int
    image: str  # Label Studio's path or address
    size: tuple[int, int]  # height, width
    boxes: tuple[tuple[str, Box], ...]  # label ("" without one), xyxy pixels


class Registration(NamedTuple):
    """The arguments of `fsdet.Detector.register` for one category."""

    name: str
    images: list[Path]
    boxes: list[list[Box]]
    others: list[list[Box]]


def read_export(path: Path | str, image_key: str | None = None) -> list[Annotation]:
    """Read an export file, one annotation per task; see `parse_export`."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return parse_export(content, image_key)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def parse_export(
    content: bytes, image_key: str | None = None, from_name: str | None = None
) -> list[Annotation]:
    """Parse an export, JSON or JSON-MIN, into one annotation per task.

    Of several annotations of a task the one marked as ground truth is used, else the latest.
    Skipped tasks and annotations without a region are left out. Annotations of an image that was turned in Label
    Studio are left out with a warning. Ellipses and polygons become the box around them.

    Args:
        image_key: key of the image in the tasks' data; None: the only value that ends like an
            image file.
        from_name: control whose rectangles are read; None: all.

    Raises:
        InputError: not an export, or a rectangle that cannot be used.
    """
    try:
        tasks = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected an export as JSON, got: {error}") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError("expected an export as JSON or JSON-MIN: a list of tasks")
    ranked: dict[int, list[tuple[tuple[bool, str], Annotation]]] = {}
    for index, task in enumerate(tasks):
        if "annotations" not in task:
            task = _expand_json_min(task)
        if not isinstance(task["annotations"], list):
            raise InputError(f"task {index}: expected a list of annotations")
        for entry in task["annotations"]:
            try:
                annotation = parse_annotation(task, entry, image_key, from_name)
            except TurnedImage as error:
                logger.warning("task %d is left out: %s", index, error)
                continue
            except InputError as error:
                raise InputError(f"task {index}: {error}") from None
            if annotation:
                truth, updated = entry.get("ground_truth"), entry.get("updated_at")
                rank = (bool(truth), str(updated or ""))
                ranked.setdefault(annotation.task, []).append((rank, annotation))
    return [max(candidates, key=lambda pair: pair[0])[1] for candidates in ranked.values()]


def parse_annotation(
    task: dict[str, Any],
    annotation: Any,
    image_key: str | None = None,
    from_name: str | None = None,
) -> Annotation | None:
    """Parse one annotation of a task, as exports and webhooks contain it.

    Returns:
        None if it was skipped or has no rectangle.

    Raises:
        InputError: as `parse_export`.
    """
    results = annotation.get("result") if isinstance(annotation, dict) else None
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise InputError("expected an annotation with a list of results")
    results = [
        result for result in as_rectangles(results) if from_name in (None, result.get("from_name"))
    ]
    if annotation.get("was_cancelled") or not results:
        return None
    task_id, annotation_id = task.get("id"), annotation.get("id")
    if type(task_id) is not int or type(annotation_id) is not int:
        raise InputError(
            f"expected whole numbers as ids, got task {task_id!r}, annotation {annotation_id!r}"
        )
    rectangles = [Rectangle.parse(result) for result in results]
    sizes = {(rectangle.original_height, rectangle.original_width) for rectangle in rectangles}
    if len(sizes) > 1:
        raise InputError(f"rectangles on images of several sizes: {sorted(sizes)}")
    boxes = tuple((rectangle.label(), rectangle.box()) for rectangle in rectangles)
    return Annotation(task_id, annotation_id, task_image(task, image_key), sizes.pop(), boxes)


def registrations(
    annotations: Sequence[Annotation], find: Callable[[str], Path]
) -> Iterator[Registration]:
    """Arguments of `fsdet.Detector.register`, category by category.

    Boxes of the other categories in the same images become `others`.

    Args:
        find: image of a task -> its file, such as `functools.partial(find_image, folder)`.
    """
    names = dict.fromkeys(
        label for annotation in annotations for label, _ in annotation.boxes if label
    )
    for name in names:
        examples = [annotation for annotation in annotations if name in dict(annotation.boxes)]
        yield Registration(
            name,
            [find(example.image) for example in examples],
            [[box for label, box in example.boxes if label == name] for example in examples],
            [[box for label, box in example.boxes if label != name] for example in examples],
        )


def _expand_json_min(row: dict[str, Any]) -> dict[str, Any]:
    """A row of JSON-MIN, which holds one annotation, in the form of a task of the full JSON."""
    results = [
        {key: value.get(key) for key in ("original_width", "original_height")}
        | {"type": next(key for key in LABELS if key in value), "from_name": name, "value": value}
        for name, values in row.items()
        if isinstance(values, list)
        for value in values
        if isinstance(value, dict) and any(key in value for key in LABELS)
    ]
    annotation = {
        "id": row.get("annotation_id"),
        "result": results,
        "updated_at": row.get("updated_at"),
    }
    return {"id": row.get("id"), "data": row, "annotations": [annotation]}
