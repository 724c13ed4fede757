"""View of a session: its project and lesson, and the detections that wait for an answer."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from fsdet.api.detector import Detector
from fsdet.api.results import Detection
from fsdet.apps.studio.estimates import Estimate
from fsdet.apps.studio.lesson import Lesson
from fsdet.apps.studio.project import Labels, Project
from fsdet.apps.studio.suggestions import next_to_label, pending

EVERY = "all photographs"
FILTERS: dict[str, Callable[[Labels, list[Detection]], bool]] = {
    EVERY: lambda labels, waiting: True,
    "not complete": lambda labels, waiting: not labels.complete,
    "complete": lambda labels, waiting: labels.complete,
    "with boxes found": lambda labels, waiting: bool(waiting),
    "without a box": lambda labels, waiting: not labels.boxes,
}
"""Filters of the gallery: from labels and pending detections of a photograph, whether it is shown."""


class Progress(NamedTuple):
    """How far the labels of a session are."""

    boxes: int  # drawn or accepted
    waiting: int  # detections that wait for an answer
    left: int  # photographs that are not complete


@dataclass(frozen=True)
class View:
    """A session at one moment."""

    project: Project
    lesson: Lesson
    seconds: float  # spent on learning and detection

    @property
    def thresholds(self) -> dict[str, float]:
        """The threshold of every category: set by hand, or chosen from photographs left out."""
        by_hand, chosen = self.project.thresholds, self.lesson.estimates
        return {
            name: by_hand.get(name, chosen.get(name, Estimate()).threshold)
            for name in self.project.categories
        }

    def detector(self) -> Detector:
        """The detector that was taught, with the thresholds as its own."""
        detector = self.lesson.detector.copy()
        detector.thresholds = {n: t for n, t in self.thresholds.items() if n in detector.names}
        return detector

    def pending(self, key: str) -> list[Detection]:
        """Detections of a photograph that have not been answered yet."""
        return self._pending.get(key, [])

    @cached_property
    def _pending(self) -> dict[str, list[Detection]]:
        found, keys = self.lesson.found, [photo.key for photo in self.project.photos]
        return {key: pending(self.project, key, found, self.thresholds) for key in keys}

    def counts(self) -> dict[str, int]:
        """Number of pending detections of each category."""
        counts = Counter(d.name for detections in self._pending.values() for d in detections)
        return {name: counts[name] for name in self.project.categories}

    def unlearned(self) -> list[str]:
        """Categories without any region: other boxes cover each of their boxes."""
        return [n for n in self.project.categories if n not in self.lesson.detector.names]

    def progress(self) -> Progress:
        """Boxes, detections that wait, and photographs left."""
        boxes = sum(len(labels.boxes) for labels in self.project.labels.values())
        return Progress(boxes, sum(self.counts().values()), len(self.project.unfinished()))

    def above(self, score: float) -> list[tuple[str, Detection]]:
        """The pending detections with at least this score, with the keys of their photographs."""
        return [
            (key, detection)
            for key, detections in self._pending.items()
            for detection in detections
            if detection.score >= score
        ]

    def filtered(self, shown: str) -> list[str]:
        """Keys of the photographs that a filter of the page shows; see `FILTERS`."""
        keep = FILTERS.get(shown, FILTERS[EVERY])
        return [
            photo.key
            for photo in self.project.photos
            if keep(self.project.of(photo.key), self.pending(photo.key))
        ]

    def beside(self, key: str, step: int) -> str:
        """The photograph `step` places after this one in the order of upload, round and round; or ""."""
        keys = [photo.key for photo in self.project.photos]
        return keys[(keys.index(key) + step) % len(keys)] if key in keys else next(iter(keys), "")

    def after(self, key: str) -> str:
        """The first photograph after this one that is not complete; if all are, this one."""
        keys = [photo.key for photo in self.project.photos]
        place = keys.index(key) + 1 if key in keys else 0
        left = set(self.project.unfinished())
        return next((other for other in keys[place:] + keys[:place] if other in left), key)

    def doubtful(self) -> str:
        """The key of the photograph whose labels would help most, or ""."""
        return next(iter(next_to_label(self.project, self.lesson.found)), "")
