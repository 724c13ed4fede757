"""Detections of an image: a list of tuples that also knows arrays, pictures and other libraries' types."""

import json
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from fsdet import report
from fsdet.api.inputs import as_tensor
from fsdet.errors import InputError, nearest
from fsdet.types import Detections as Found

if TYPE_CHECKING:
    import pandas
    import supervision

THRESHOLD = 0.5  # minimum score where none is given


class Detection(NamedTuple):
    """A detected object; `box` is (x1, y1, x2, y2) in pixels of the original image."""

    box: tuple[float, float, float, float]
    name: str
    score: float


class Detections(list[Detection]):
    """The R detections of an image, best first.

    Args:
        detections: the tuples.
        image: as it was given to `predict`, for `plot`.
        categories: all names of the detector, for colours and class ids.
    """

    def __init__(
        self, detections: Iterable[Detection], image: Any = None, categories: Sequence[str] = ()
    ):
        super().__init__(detections)
        self.image, self.categories = image, tuple(categories)

    @property
    def boxes(self) -> np.ndarray:
        """[R, 4] float32 (x1, y1, x2, y2) in pixels."""
        return np.array([detection.box for detection in self], np.float32).reshape(-1, 4)

    @property
    def names(self) -> list[str]:
        """R categories."""
        return [detection.name for detection in self]

    @property
    def scores(self) -> np.ndarray:
        """[R] float32 in 0..1."""
        return np.array([detection.score for detection in self], np.float32)

    def plot(self) -> Image.Image:
        """The image with boxes, names and scores; a notebook shows it by itself."""
        if self.image is None:
            raise InputError("plot: these detections have no image; predict gives them one")
        pixels = (as_tensor(self.image) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        palette = report.palette(self.categories or self.names)
        texts = [f"{name} {score:.2f}" for _, name, score in self]
        colours = [palette[name] for name in self.names]
        return Image.fromarray(report.draw(pixels, self.boxes, texts, colours))

    def to_json(self) -> str:
        """A JSON list of objects with `box`, `name` and `score`."""
        return json.dumps([detection._asdict() for detection in self])

    def to_supervision(self) -> "supervision.Detections":
        """As `supervision.Detections`; `class_id` is the index in the detector's names.

        Returns:
            `xyxy` [R, 4] and `confidence` [R], float32; `class_id` [R] and `data["class_name"]` [R].

        Raises:
            InputError: supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise InputError(
                "to_supervision: expected the package supervision, which is not installed: pip install"
                " 'fsdet[supervision]'"
            ) from error
        categories = self.categories or list(dict.fromkeys(self.names))
        class_ids = {name: class_id for class_id, name in enumerate(categories)}
        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=np.array([class_ids[name] for name in self.names], int),
            data={"class_name": np.array(self.names, str)},
        )

    def to_pandas(self) -> "pandas.DataFrame":
        """A table with the columns x1, y1, x2, y2, name and score.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise InputError(
                "to_pandas: expected the package pandas, which is not installed: pip install"
                " 'fsdet[pandas]'"
            ) from error
        rows = [(*box, name, score) for box, name, score in self]
        return pandas.DataFrame(rows, columns=["x1", "y1", "x2", "y2", "name", "score"])

    def _repr_png_(self) -> bytes | None:
        """The picture that a notebook shows."""
        if self.image is None:
            return None
        file = BytesIO()
        self.plot().save(file, "PNG")
        return file.getvalue()


class Filter(NamedTuple):
    """Which detections of an image are returned."""

    categories: tuple[str, ...]  # N, of the detector
    scores: np.ndarray  # [N] minimum of each category; infinite: not returned
    most: int | None  # at most so many

    @property
    def lowest(self) -> float:
        """The lowest minimum."""
        return float(self.scores.min(initial=1.0))

    def select(self, found: Found, image: Any = None) -> Detections:
        """The detections of an image, best first; label n is `categories[n - 1]`."""
        columns = (found["boxes"], found["labels"], found["scores"])
        rows = zip(*(column.tolist() for column in columns), strict=True)
        kept = [
            Detection(tuple(box), self.categories[label - 1], score)
            for box, label, score in rows
            if score >= self.scores[label - 1]
        ]
        return Detections(kept[: self.most], image, self.categories)


Threshold = float | Mapping[str, float] | None
"""The minimum score of all categories, or of some by name; None: the detector's own."""


def result_filter(
    categories: Sequence[str],
    stored: Mapping[str, float],
    threshold: Threshold = None,
    names: Sequence[str] | None = None,
    max_detections: int | None = None,
) -> Filter:
    """The filter of the arguments of `predict`.

    Args:
        categories: N, of the detector.
        stored: its minimum scores by category; others have `THRESHOLD`.
        threshold, names, max_detections: see `Detector.predict`.

    Raises:
        InputError: a score outside 0..1, an unknown category, an empty list of names, or a negative number.
    """
    known = {name: score for name, score in stored.items() if name in categories}
    given = known if threshold is None else threshold
    by_name = given if isinstance(given, Mapping) else dict.fromkeys(categories, given)
    if names is not None and (isinstance(names, str) or not len(names)):
        raise InputError(f"names: expected a list of categories, got {names!r}")
    for name in [*by_name, *(names or ())]:
        if name not in categories:
            raise InputError(f"predict: no category '{name}'{nearest(name, categories)}")
    if not isinstance(given, Mapping):
        check_threshold(given)  # also where there is no category yet
    for score in by_name.values():
        check_threshold(score)
    if max_detections is not None and not (type(max_detections) is int and max_detections >= 0):
        raise InputError(
            f"max_detections: expected a whole number from 0 on, got {max_detections!r:.80}"
        )
    scores = np.array([by_name.get(name, THRESHOLD) for name in categories], float)
    hidden = [names is not None and name not in names for name in categories]
    return Filter(tuple(categories), np.where(hidden, np.inf, scores), max_detections)


def check_threshold(score: Any) -> None:
    """Raise an InputError for anything but a score in 0..1."""
    if not isinstance(score, Real) or not 0 <= float(score) <= 1:
        raise InputError(f"threshold: expected a score in 0..1, got {score!r:.80}")
