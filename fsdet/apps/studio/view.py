"""All there is to see of a session at a moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from fsdet.api.detector import Detection
from fsdet.apps.studio.lesson import Lesson, next_to_label, pending
from fsdet.apps.studio.project import Project


class Question(NamedTuple):
    """A detection that waits for a yes or a no."""

    key: str  # of its photograph
    found: Detection


@dataclass(frozen=True)
class View:
    """All there is to see of a session."""

    project: Project
    lesson: Lesson
    thresholds: Mapping[str, float]  # of every category: set by hand, or chosen
    seconds: float  # that learning and looking took

    def pending(self, key: str) -> list[Detection]:
        """Detections of a photograph on which nobody has said anything yet."""
        return self._pending.get(key, [])

    @cached_property
    def _pending(self) -> dict[str, list[Detection]]:
        found, keys = self.lesson.found, [photo.key for photo in self.project.photos]
        return {key: pending(self.project, key, found, self.thresholds) for key in keys}

    def counts(self) -> dict[str, int]:
        """How many detections each category has, said to be right ones left out."""
        names = [one.name for photo in self.project.photos for one in self.pending(photo.key)]
        return {name: names.count(name) for name in self.project.categories}

    def unlearned(self) -> list[str]:
        """Categories without a region of their own: other boxes lie on theirs."""
        return [n for n in self.project.categories if n not in self.lesson.detector.names]

    def question(self, key: str) -> "Question | None":
        """What to ask next: of a photograph, or where nothing is left there, of the others in their order."""
        for place in (key, *(photo.key for photo in self.project.photos)):
            for found in self.pending(place):
                return Question(place, found)
        return None

    def next(self) -> str:
        """The photograph whose labels would help most, or ""."""
        return next(iter(next_to_label(self.project, self.lesson.found)), "")
