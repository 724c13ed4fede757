"""Project of the studio: photographs with their boxes, rejections and categories, as a frozen value."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from fsdet.apps.studio.boxes import Corners, apart
from fsdet.errors import InputError, one_line

T = TypeVar("T")
MAX_NAME = 60  # characters of a category


@dataclass(frozen=True)
class Photo:
    """A photograph: `key` is the hash of its file, `name` the name of the uploaded file."""

    key: str
    name: str
    width: int  # in pixels, upright
    height: int


@dataclass(frozen=True)
class Box:
    """A drawn or accepted box, in pixels of the upright photograph; category "" until it is named."""

    category: str
    corners: Corners


@dataclass(frozen=True)
class Labels:
    """Labels of one photograph.

    `complete`: a person has marked it so: everything outside the boxes is background, and without a box all of
    it. Elsewhere the rest is unknown.
    """

    boxes: tuple[Box, ...] = ()
    rejected: tuple[Corners, ...] = ()
    complete: bool = False


UNLABELLED = Labels()


@dataclass(frozen=True)
class Project:
    """Photographs in the order of their upload, their labels, and thresholds set by hand."""

    photos: tuple[Photo, ...] = ()
    labels: Mapping[str, Labels] = field(default_factory=dict)  # by key of the photograph
    thresholds: Mapping[str, float] = field(default_factory=dict)  # by category
    detector: str = ""  # hash of an imported detector; "": the studio's own

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories of the boxes, in the order of their first photograph."""
        boxes = (box for photo in self.photos for box in self.of(photo.key).boxes)
        return tuple(dict.fromkeys(box.category for box in boxes if box.category))

    def of(self, key: str) -> Labels:
        """The labels of a photograph."""
        return self.labels.get(key, UNLABELLED)

    def photo(self, key: str) -> Photo:
        """A photograph by its key.

        Raises:
            InputError: it is not in the project.
        """
        for photo in self.photos:
            if photo.key == key:
                return photo
        raise InputError("this photograph is no longer in the project; choose another one")

    def shots(self) -> dict[str, int]:
        """Number of boxes of each category."""
        counts = Counter(box.category for labels in self.labels.values() for box in labels.boxes)
        return {name: counts[name] for name in self.categories}

    def unfinished(self) -> list[str]:
        """Keys of the photographs that are not complete."""
        return [photo.key for photo in self.photos if not self.of(photo.key).complete]

    # Changes

    def with_photo(self, photo: Photo) -> "Project":
        """Add a photograph."""
        return replace(self, photos=(*self.photos, photo))

    def without_photo(self, key: str) -> "Project":
        """Remove a photograph and its labels."""
        photos = tuple(photo for photo in self.photos if photo.key != key)
        return replace(self, photos=photos, labels=_without(self.labels, key))

    def labelled(self, key: str, labels: Labels) -> "Project":
        """Replace the labels of a photograph; a box over a rejection revokes it.

        Raises:
            InputError: a wrong category name, or a box without area in the photograph.
        """
        photo = self.photo(key)
        boxes = tuple(_inside(box, photo) for box in labels.boxes)
        corners = [_inside(Box("", corners), photo).corners for corners in labels.rejected]
        rejected = apart(corners, [box.corners for box in boxes])
        return self._with(key, Labels(boxes, rejected, labels.complete))

    def accepted(self, key: str, box: Box) -> "Project":
        """Turn a right detection into a box, in place of boxes and rejections of the same object."""
        box, labels = _inside(box, self.photo(key)), self.of(key)
        others = tuple(b for b in labels.boxes if apart([b.corners], [box.corners]))
        rejected = apart(labels.rejected, [box.corners])
        return self._with(key, replace(labels, boxes=(*others, box), rejected=rejected))

    def rejected(self, key: str, corners: Corners) -> "Project":
        """Turn a wrong detection, or the boxes of the same object, into an example of background."""
        corners = _inside(Box("", corners), self.photo(key)).corners
        labels = self.of(key)
        boxes = tuple(box for box in labels.boxes if apart([box.corners], [corners]))
        rejected = (*apart(labels.rejected, [corners]), corners)
        return self._with(key, replace(labels, boxes=boxes, rejected=rejected))

    def renamed(self, old: str, new: str) -> "Project":
        """Rename a category; the name of another category merges both."""
        self._require(old)
        new = checked_name(new)
        thresholds = {new if name == old else name: t for name, t in self.thresholds.items()}
        relabelled = self._relabelled(lambda category: new if category == old else category)
        return replace(relabelled, thresholds=thresholds)

    def without_category(self, name: str) -> "Project":
        """Delete a category with its boxes."""
        self._require(name)
        labels = {}
        for key, before in self.labels.items():
            boxes = tuple(box for box in before.boxes if box.category != name)
            # Without its boxes it is not known to be empty.
            complete = before.complete and len(boxes) == len(before.boxes)
            labels[key] = replace(before, boxes=boxes, complete=complete)
        return replace(self, labels=labels, thresholds=_without(self.thresholds, name))

    def with_threshold(self, name: str, threshold: float | None) -> "Project":
        """Set the threshold of a category by hand; None: choose it from the shots again."""
        self._require(name)
        others = _without(self.thresholds, name)
        if threshold is None:
            return replace(self, thresholds=others)
        if not 0 <= threshold <= 1:
            raise InputError(f"threshold: expected a score in 0..1, got {threshold}")
        return replace(self, thresholds=others | {name: float(threshold)})

    def _with(self, key: str, labels: Labels) -> "Project":
        return replace(self, labels={**self.labels, key: labels})

    def _relabelled(self, category_of: Callable[[str], str]) -> "Project":
        """The project with another category for each box, computed from its own."""
        labels = {
            key: replace(
                before, boxes=tuple(Box(category_of(b.category), b.corners) for b in before.boxes)
            )
            for key, before in self.labels.items()
        }
        return replace(self, labels=labels)

    def _require(self, name: str) -> None:
        if name not in self.categories:
            names = ", ".join(self.categories) or "none yet"
            raise InputError(f"expected a category of the project ({names}), got '{name!s:.80}'")


def _without(mapping: Mapping[str, T], key: str) -> dict[str, T]:
    return {other: value for other, value in mapping.items() if other != key}


def checked_name(name: object) -> str:
    """A category's name, stripped of surrounding spaces.

    Raises:
        InputError: empty, too long, or with a line break or another character that cannot be printed.
    """
    if not isinstance(name, str) or not name.strip():
        raise InputError("the boxes have no category yet: type its name, for example 'bolt'")
    name = name.strip()
    if len(name) > MAX_NAME or not name.isprintable():
        raise InputError(
            f"expected a name of up to {MAX_NAME} printable characters, got {len(name)}: {name!r:.80}"
        )
    return name


def _inside(box: Box, photo: Photo) -> Box:
    """The box clipped to its photograph, corners in order, and its category checked."""
    corners = np.asarray(box.corners, np.float64)
    if corners.shape != (4,) or not np.isfinite(corners).all():
        raise InputError(f"expected a box of four finite numbers, got {box.corners!r:.80}")
    x1, x2 = sorted(np.clip(corners[[0, 2]], 0, photo.width).tolist())
    y1, y2 = sorted(np.clip(corners[[1, 3]], 0, photo.height).tolist())
    if x2 - x1 < 1 or y2 - y1 < 1:
        raise InputError(
            f"a box in '{photo.name}' is smaller than a pixel or outside of the photograph of"
            f" {photo.width} x {photo.height} pixels; draw it again"
        )
    return Box(checked_name(box.category) if box.category else "", (x1, y1, x2, y2))


_JSON = TypeAdapter(Project)


def as_json(project: Project) -> str:
    """A project as text."""
    return _JSON.dump_json(project, indent=1).decode()


def from_json(text: str) -> Project:
    """A project from its text.

    Raises:
        InputError: the text is no project.
    """
    try:
        return _JSON.validate_json(text)
    except ValidationError as error:
        raise InputError(f"not a project of the studio: {one_line(error)}") from error
