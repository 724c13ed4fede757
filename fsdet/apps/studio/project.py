"""Project: the boxes, rejections and categories of a set of photographs, as a frozen value."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from fsdet.errors import InputError, one_line

Corners = tuple[float, float, float, float]
MAX_NAME = 60
SAME = 0.5  # IoU from which on two boxes mean one thing
INSIDE = 0.7  # share of a box within another from which on it is a part of that


@dataclass(frozen=True)
class Photo:
    """A photograph of the project: `key` is the hash of its file, `name` what its owner calls it."""

    key: str
    name: str
    width: int  # in pixels, upright
    height: int


@dataclass(frozen=True)
class Box:
    """A box somebody drew or accepted, in pixels of the upright photograph; category "" until it is named."""

    category: str
    corners: Corners


@dataclass(frozen=True)
class Labels:
    """What is known of one photograph.

    `complete`: a person has drawn in it, so that what is in none of the boxes is background. Where detections
    were accepted only, nothing is said of the rest.
    """

    boxes: tuple[Box, ...] = ()
    rejected: tuple[Corners, ...] = ()
    complete: bool = False


NOTHING = Labels()


@dataclass(frozen=True)
class Project:
    """Photographs in the order they came, what is known of each, and thresholds that a person has set."""

    photos: tuple[Photo, ...] = ()
    labels: Mapping[str, Labels] = field(default_factory=dict)  # by key of the photograph
    thresholds: Mapping[str, float] = field(default_factory=dict)  # by category
    detector: str = ""  # hash of a detector that was brought in; "": the studio's own

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the boxes, in the order in which they came up."""
        boxes = (box for photo in self.photos for box in self.of(photo.key).boxes)
        return tuple(dict.fromkeys(box.category for box in boxes if box.category))

    def of(self, key: str) -> Labels:
        """What is known of a photograph."""
        return self.labels.get(key, NOTHING)

    def photo(self, key: str) -> Photo:
        """A photograph by its key.

        Raises:
            InputError: there is none.
        """
        for photo in self.photos:
            if photo.key == key:
                return photo
        raise InputError("this photograph is no longer in the project; choose another one")

    def shots(self) -> dict[str, int]:
        """How many boxes each category has."""
        counts = dict.fromkeys(self.categories, 0)
        for labels in self.labels.values():
            for box in labels.boxes:
                if box.category:
                    counts[box.category] += 1
        return counts

    # Changes

    def with_photos(self, photos: Iterable[Photo]) -> "Project":
        """More photographs; one that is there already stays as it is."""
        known = {photo.key: photo for photo in self.photos}
        new = {photo.key: photo for photo in photos if photo.key not in known}
        return replace(self, photos=(*self.photos, *new.values()))

    def without_photo(self, key: str) -> "Project":
        """One photograph less, and what was known of it."""
        photos = tuple(photo for photo in self.photos if photo.key != key)
        labels = {other: known for other, known in self.labels.items() if other != key}
        return replace(self, photos=photos, labels=labels)

    def drawn(self, key: str, boxes: Iterable[Box]) -> "Project":
        """The boxes of a photograph as a person has left them: what lies on one is no longer rejected.

        Raises:
            InputError: a name that is too long, a box without area or outside of the photograph.
        """
        photo = self.photo(key)
        kept = tuple(_inside(box, photo) for box in boxes)
        rejected = tuple(
            wrong
            for wrong in self.of(key).rejected
            if not any(iou(wrong, box.corners) >= SAME for box in kept)
        )
        return self._with(key, Labels(kept, rejected, complete=bool(kept)))

    def named(self, name: str) -> "Project":
        """Boxes that have no name yet take this one."""
        name = checked_name(name)
        labels = {
            key: replace(
                known,
                boxes=tuple(b if b.category else replace(b, category=name) for b in known.boxes),
            )
            for key, known in self.labels.items()
        }
        return replace(self, labels=labels)

    def accepted(self, key: str, box: Box) -> "Project":
        """A detection that is right: from here on a box, in place of any that it lies on."""
        photo, known = self.photo(key), self.of(key)
        box = _inside(box, photo)
        others = tuple(b for b in known.boxes if iou(b.corners, box.corners) < SAME)
        wrong = tuple(c for c in known.rejected if iou(c, box.corners) < SAME)
        return self._with(key, replace(known, boxes=(*others, box), rejected=wrong))

    def rejected(self, key: str, corners: Corners) -> "Project":
        """A detection that is wrong: from here on an example of background."""
        photo, known = self.photo(key), self.of(key)
        corners = _inside(Box("", corners), photo).corners
        wrong = tuple(c for c in known.rejected if iou(c, corners) < SAME)
        return self._with(key, replace(known, rejected=(*wrong, corners)))

    def renamed(self, old: str, new: str) -> "Project":
        """Boxes of a category get another name; one that is there already takes them in."""
        self._must_have(old)
        new = checked_name(new)
        labels = {
            key: replace(
                known,
                boxes=tuple(
                    replace(b, category=new) if b.category == old else b for b in known.boxes
                ),
            )
            for key, known in self.labels.items()
        }
        thresholds = {new if name == old else name: t for name, t in self.thresholds.items()}
        return replace(self, labels=labels, thresholds=thresholds)

    def without_category(self, name: str) -> "Project":
        """A category less, with its boxes."""
        self._must_have(name)
        labels = {}
        for key, known in self.labels.items():
            boxes = tuple(box for box in known.boxes if box.category != name)
            labels[key] = replace(known, boxes=boxes, complete=known.complete and bool(boxes))
        thresholds = {other: t for other, t in self.thresholds.items() if other != name}
        return replace(self, labels=labels, thresholds=thresholds)

    def with_threshold(self, name: str, threshold: float | None) -> "Project":
        """A threshold of a category set by hand; None: chosen from the shots again."""
        self._must_have(name)
        others = {other: t for other, t in self.thresholds.items() if other != name}
        if threshold is None:
            return replace(self, thresholds=others)
        if not 0 <= threshold <= 1:
            raise InputError(f"threshold: expected a score in 0..1, got {threshold}")
        return replace(self, thresholds=others | {name: float(threshold)})

    def _with(self, key: str, labels: Labels) -> "Project":
        return replace(self, labels={**self.labels, key: labels})

    def _must_have(self, name: str) -> None:
        if name not in self.categories:
            known = ", ".join(self.categories) or "none yet"
            raise InputError(f"expected a category of the project ({known}), got '{name:.80}'")


def checked_name(name: object) -> str:
    """A category's name without spaces around it.

    Raises:
        InputError: empty, too long, or with a line break or another character that does not print.
    """
    if not isinstance(name, str) or not name.strip():
        raise InputError("the boxes have no name yet: type what they show, for example 'bolt'")
    name = name.strip()
    if len(name) > MAX_NAME or not name.isprintable():
        raise InputError(
            f"expected a name of up to {MAX_NAME} printable characters, got {len(name)}: {name!r:.80}"
        )
    return name


def iou(one: Corners, other: Corners) -> float:
    """Intersection over union of two boxes."""
    shared, areas = _shared(one, other), _area(one) + _area(other)
    return shared / (areas - shared) if areas > shared else 0.0


def settled(corners: Corners, boxes: Iterable[Corners]) -> bool:
    """Whether one of the boxes means the same thing, or holds most of it: a part of a thing is no other thing."""
    most = INSIDE * _area(corners)
    return any(iou(corners, box) >= SAME or _shared(corners, box) >= most for box in boxes)


def _shared(one: Corners, other: Corners) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)


def _area(box: Corners) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _inside(box: Box, photo: Photo) -> Box:
    """The box within its photograph, corners in order."""
    values = np.asarray(box.corners, np.float64)
    if values.shape != (4,) or not np.isfinite(values).all():
        raise InputError(f"expected a box of four finite numbers, got {box.corners!r:.80}")
    x1, x2 = sorted(np.clip(values[[0, 2]], 0, photo.width).tolist())
    y1, y2 = sorted(np.clip(values[[1, 3]], 0, photo.height).tolist())
    if x2 - x1 < 1 or y2 - y1 < 1:
        raise InputError(
            f"a box in '{photo.name}' is smaller than a pixel or outside of the photograph of"
            f" {photo.width} x {photo.height} pixels; draw it again"
        )
    return Box(checked_name(box.category) if box.category else "", (x1, y1, x2, y2))


def as_json(project: Project) -> str:
    """A project as text."""
    return json.dumps(asdict(project), indent=1)


def from_json(text: str) -> Project:
    """A project from `as_json`'s text.

    Raises:
        InputError: it is not one.
    """
    try:
        tree = json.loads(text)
        project = Project(
            tuple(Photo(**photo) for photo in tree["photos"]),
            {key: _labels(known) for key, known in tree["labels"].items()},
            {str(name): float(value) for name, value in tree["thresholds"].items()},
            str(tree["detector"]),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"not a project of the studio: {one_line(error)}") from error
    return project


def _labels(tree: Mapping[str, Any]) -> Labels:
    boxes = tuple(Box(str(box["category"]), _corners(box["corners"])) for box in tree["boxes"])
    return Labels(boxes, tuple(map(_corners, tree["rejected"])), bool(tree["complete"]))


def _corners(values: Iterable[Any]) -> Corners:
    x1, y1, x2, y2 = map(float, values)
    return x1, y1, x2, y2
