"""Label Studio's rectangles, exports and labelling configurations, as boxes in pixels.

A rectangle is in percent of the image, turned about its upper left corner; the box of a turned one is
the upright box around it.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.parsers import expat

from pydantic import BaseModel, Field, ValidationError

from fsdet.data.formats.safe_xml import parse
from fsdet.data.images import SUFFIXES
from fsdet.data.paths import inside
from fsdet.errors import InputError

Box = tuple[float, float, float, float]
LOCAL_FILES = "/data/local-files/"
Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class Annotation:
    """What a person boxed in the image of a task."""

    task: int
    id: int
    image: str  # as Label Studio names it: a path of its own, or an address
    size: tuple[int, int]  # height, width
    boxes: tuple[tuple[str, Box], ...]  # label, or "" where none was given; xyxy pixels


class Registration(NamedTuple):
    """The arguments of `fsdet.Detector.register` for one category."""

    name: str
    images: list[Path]
    boxes: list[list[Box]]
    others: list[list[Box]]


@dataclass(frozen=True)
class LabelConfig:
    """The rectangles of a labelling configuration."""

    from_name: str
    to_name: str
    key: str  # of a task's data, where the image is
    labels: dict[str, str]  # category -> label
    threshold: float | None  # least score that its author asks for

    @staticmethod
    def parse(text: str) -> "LabelConfig":
        """Read the XML of a project: its first `RectangleLabels` and their image.

        A category is its label, or one of the names that the label's `predicted_values` has.

        Raises:
            InputError: not XML, XML with a document type, or no rectangles on an image.
        """
        try:
            root = parse(text.encode("utf-8", "replace"))
        except expat.ExpatError as error:
            raise InputError(f"label_config: expected XML, got: {error}") from None
        control = next(root.iter("RectangleLabels"), None)
        if control is None:
            raise InputError("label_config: expected <RectangleLabels>, found none")
        images = {node.get("name"): node for node in root.iter("Image")}
        image = images.get(control.get("toName"))
        key = (image.get("value") or "").removeprefix("$") if image is not None else ""
        name, to_name = control.get("name"), control.get("toName")
        if not (name and to_name and key):
            raise InputError(
                "label_config: expected <RectangleLabels name= toName=> of an <Image name= value=>"
            )
        labels: dict[str, str] = {}
        for node in control.iter("Label"):
            label = node.get("alias") or node.get("value") or ""
            for category in (label, *(node.get("predicted_values") or "").split(",")):
                if category.strip():
                    labels.setdefault(category.strip(), label)
        return LabelConfig(name, to_name, key, labels, _threshold(control))

    def region(self, box: Box, category: str, score: float, size: tuple[int, int]) -> dict:
        """A detection as a region of a prediction; `size` is (height, width)."""
        (x1, y1, x2, y2), (height, width) = box, size
        value = {
            "x": 100 * x1 / width,
            "y": 100 * y1 / height,
            "width": 100 * (x2 - x1) / width,
            "height": 100 * (y2 - y1) / height,
            "rotation": 0,
            "rectanglelabels": [self.labels[category]],
        }
        return {
            "from_name": self.from_name,
            "to_name": self.to_name,
            "type": "rectanglelabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": value,
            "score": score,
        }


def read_export(path: Path | str, key: str | None = None) -> list[Annotation]:
    """The annotations of an export as JSON or JSON-MIN, one of each task; see `of_export`."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return of_export(content, key)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def of_export(
    content: bytes, key: str | None = None, from_name: str | None = None
) -> list[Annotation]:
    """The annotations of an export, JSON or JSON-MIN, one of each task.

    Where a task has several, the one marked as ground truth counts, else the one that was changed last.
    Skipped tasks and annotations without a rectangle are left out.

    Args:
        key: of the tasks' data, where the image is; None: the only one with the name of a picture.
        from_name: of the rectangles that count; None: all.

    Raises:
        InputError: not JSON, not an export, an image that was turned, a rectangle that is none.
    """
    try:
        tasks = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected an export as JSON, got: {error}") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError("expected an export as JSON or JSON-MIN: a list of tasks")
    made: dict[int, list[tuple[tuple[bool, str], Annotation]]] = {}
    for n, task in enumerate(tasks):
        if "annotations" not in task:
            task = _unfolded(task)
        if not isinstance(task["annotations"], list):
            raise InputError(f"task {n}: expected a list of annotations")
        for one in task["annotations"]:
            try:
                found = annotation(task, one, key, from_name)
            except InputError as error:
                raise InputError(f"task {n}: {error}") from None
            if found:
                rank = (bool(one.get("ground_truth")), str(one.get("updated_at") or ""))
                made.setdefault(found.task, []).append((rank, found))
    return [max(several, key=lambda pair: pair[0])[1] for several in made.values()]


def annotation(
    task: dict, made: Any, key: str | None = None, from_name: str | None = None
) -> Annotation | None:
    """One annotation of a task as exports and webhooks have it; None if it was skipped or has no rectangle.

    Raises:
        InputError: as `of_export`.
    """
    results = made.get("result") if isinstance(made, dict) else None
    if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
        raise InputError("expected an annotation with a list of results")
    rectangles = [
        one
        for one in results
        if one.get("type") == "rectanglelabels" and from_name in (None, one.get("from_name"))
    ]
    if made.get("was_cancelled") or not rectangles:
        return None
    of, number = task.get("id"), made.get("id")
    if type(of) is not int or type(number) is not int:
        raise InputError(f"expected whole numbers as ids, got task {of!r}, annotation {number!r}")
    found = [_Rectangle.of(one) for one in rectangles]
    sizes = {(one.original_height, one.original_width) for one in found}
    if len(sizes) > 1:
        raise InputError(f"rectangles on images of several sizes: {sorted(sizes)}")
    boxes = tuple((one.label(), one.box()) for one in found)
    return Annotation(of, number, image_of(task, key), sizes.pop(), boxes)


def image_of(task: dict, key: str | None) -> str:
    """The image of a task: what its data has at `key`, or, for None, what alone is named as a picture.

    Raises:
        InputError: there is none.
    """
    data = task.get("data")
    if not isinstance(data, dict):
        raise InputError("expected a task with data")
    if key is None:
        pictures = [
            name
            for name, value in data.items()
            if isinstance(value, str) and value.split("?d=")[-1].lower().endswith(SUFFIXES)
        ]
        if len(pictures) != 1:
            raise InputError(
                f"expected one picture in the task's data, found {len(pictures)}: {list(data)}"
            )
        key = pictures[0]
    if not isinstance(data.get(key), str):
        raise InputError(f"expected an image at '{key}' of the task's data, found {list(data)}")
    return data[key]


def by_category(
    annotations: Sequence[Annotation], find: Callable[[str], Path]
) -> Iterator[Registration]:
    """What `fsdet.Detector.register` takes, category by category; boxes of the others are its `others`.

    Args:
        find: the file of an image; `functools.partial(local, folder)` finds it in a folder.
    """
    for name in dict.fromkeys(label for one in annotations for label, _ in one.boxes if label):
        mine = [one for one in annotations if name in dict(one.boxes)]
        yield Registration(
            name,
            [find(one.image) for one in mine],
            [[box for label, box in one.boxes if label == name] for one in mine],
            [[box for label, box in one.boxes if label != name] for one in mine],
        )


def local(root: Path | str, image: str) -> Path:
    """The file of an image in a folder: one of `/data/local-files/`, or one that was uploaded.

    Of an uploaded one, `/data/upload/3/a.jpg`, the folder may hold `upload/3/a.jpg`, `3/a.jpg` or `a.jpg`.

    Raises:
        InputError: it is not there, or points outside the folder.
    """
    try:
        parts = urlsplit(image)
        path = unquote(parts.path)
        names: Iterable[str] = [path.lstrip("/")]
        if path.endswith(LOCAL_FILES):
            names = parse_qs(parts.query).get("d", [])
        elif "/data/upload/" in path:
            steps = path.rsplit("/data/", 1)[1].split("/")
            names = ["/".join(steps[n:]) for n in range(len(steps))]
        for name in names:
            if (file := inside(Path(root), name)).is_file():
                return file
    except (ValueError, OSError) as error:  # brackets that are no address, NUL, a name too long
        if isinstance(error, InputError):
            raise
        raise InputError(f"'{image[:200]}' is not the name of an image: {error}") from None
    raise InputError(f"{root}: has no file for '{image[:200]}'")


class _Value(BaseModel):
    x: Finite
    y: Finite
    width: Finite
    height: Finite
    rotation: Finite | None = 0
    rectanglelabels: list[str] = []


class _Rectangle(BaseModel):
    original_width: int = Field(gt=0, lt=10**6)
    original_height: int = Field(gt=0, lt=10**6)
    image_rotation: Finite | None = 0
    value: _Value

    @staticmethod
    def of(result: dict) -> "_Rectangle":
        try:
            found = _Rectangle.model_validate(result)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(
                f"rectangle: {where}: {first['msg']}, got {str(first['input'])[:80]}"
            ) from None
        if found.image_rotation:
            raise InputError(
                f"the image was turned by {found.image_rotation:g} degrees; expected it upright"
            )
        return found

    def label(self) -> str:
        labels = self.value.rectanglelabels
        if len(labels) > 1:
            raise InputError(f"rectangle: expected one label, got {', '.join(labels)}")
        return labels[0] if labels else ""

    def box(self) -> Box:
        """The upright box around the rectangle, as far as it is in the image."""
        width, height, value = self.original_width, self.original_height, self.value
        angle = math.radians(value.rotation or 0)
        cos, sin = math.cos(angle), math.sin(angle)
        w, h = value.width * width / 100, value.height * height / 100
        xs = [value.x * width / 100 + dx for dx in (0, w * cos, -h * sin, w * cos - h * sin)]
        ys = [value.y * height / 100 + dy for dy in (0, w * sin, h * cos, w * sin + h * cos)]
        x1, x2 = (min(max(x, 0.0), float(width)) for x in (min(xs), max(xs)))
        y1, y2 = (min(max(y, 0.0), float(height)) for y in (min(ys), max(ys)))
        if not (x1 < x2 and y1 < y2 and w > 0 and h > 0):
            raise InputError(f"rectangle without area in the image: {value.model_dump()}")
        return x1, y1, x2, y2


def _threshold(control: Any) -> float | None:
    try:
        value = float(control.get("model_score_threshold") or "nan")
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def _unfolded(row: dict) -> dict:
    """A row of JSON-MIN, which is one annotation of a task, as the task with that annotation."""
    results = [
        {key: one.get(key) for key in ("original_width", "original_height")}
        | {"type": "rectanglelabels", "from_name": name, "value": one}
        for name, values in row.items()
        if isinstance(values, list)
        for one in values
        if isinstance(one, dict) and "rectanglelabels" in one
    ]
    made = {"id": row.get("annotation_id"), "result": results, "updated_at": row.get("updated_at")}
    return {"id": row.get("id"), "data": row, "annotations": [made]}
