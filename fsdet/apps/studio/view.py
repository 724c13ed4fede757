"""View of a session: its project, lesson and thresholds, and the detections that wait for an answer."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from fsdet.api.detector import Detector
from fsdet.api.results import Detection
from fsdet.apps.studio.lesson import Lesson, next_to_label, pending
from fsdet.apps.studio.project import Project


class Question(NamedTuple):
    """A detection that waits for a yes or a no."""

    key: str  # of its photograph
    detection: Detection


@dataclass(frozen=True)
class View:
    """A session at one moment."""

    project: Project
    lesson: Lesson
    thresholds: Mapping[str, float]  # of every category: set by hand, or chosen
    seconds: float  # spent on learning and detection

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

    def question(self, key: str) -> Question | None:
        """The next question: in this photograph, or else in the first one with a pending detection."""
        for photo_key in (key, *self._pending):
            for detection in self.pending(photo_key):
                return Question(photo_key, detection)
        return None

    def next(self) -> str:
        """The key of the photograph whose labels would help most, or ""."""
        return next(iter(next_to_label(self.project, self.lesson.found)), "")
