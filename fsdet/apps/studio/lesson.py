"""Lessons: detectors taught a project, and their detections in its photographs; nothing is computed twice."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from cachetools import LRUCache, cachedmethod

from fsdet.api.detector import Detector
from fsdet.api.inputs import as_tensor, check_sides
from fsdet.api.results import Detection
from fsdet.api.self_labels import only_present
from fsdet.apps.studio.estimates import MIN_SCORE, Estimate, estimates
from fsdet.apps.studio.project import Labels, Photo, Project
from fsdet.apps.studio.suggestions import Found
from fsdet.types import IGNORE, Candidates, Features, Regions, Shots, Target

MAX_FOLDS = 4  # photographs left out in turn to estimate the quality and choose thresholds
Read = Callable[[str], np.ndarray]  # key of a photograph -> uint8 [H, W, 3] RGB


@dataclass(frozen=True)
class Lesson:
    """A detector taught a project, its detections with scores from `MIN_SCORE`, and how good they are."""

    detector: Detector
    found: Found
    estimates: Mapping[str, Estimate]  # by category


class Teacher:
    """Teaches projects to copies of a base detector; each photograph passes the backbone once.

    Args:
        detector: the base detector; it does not change.
        gigabytes: memory for cached candidates and regions.
    """

    def __init__(self, detector: Detector, gigabytes: float = 2.0):
        self.detector = detector
        self._lock = threading.Lock()
        self._candidate_cache: LRUCache[str, Candidates] = LRUCache(
            gigabytes * 0.8e9, lambda candidates: _num_bytes(candidates.features)
        )
        self._region_cache: LRUCache[tuple[str, Labels], tuple[Regions, tuple[str, ...]]]
        self._region_cache = LRUCache(gigabytes * 0.2e9, lambda pair: _num_bytes(pair[0].features))

    def lesson(
        self, project: Project, read: Read, progress: Callable[[Iterable], Iterable] = iter
    ) -> Lesson:
        """Learn all boxes of a project and detect its categories in all its photographs.

        A category is left out if other boxes cover each of its boxes: it has no region.
        """
        detector = self.taught(project, read)
        found = {
            photo.key: self._detect(detector, project, photo.key, read)
            for photo in progress(project.photos)
        }
        return Lesson(detector, found, self._estimates(project, read))

    def taught(self, project: Project, read: Read) -> Detector:
        """The base detector with the boxes and rejections of a project registered."""
        detector = self.detector.copy()
        for photo in project.photos:
            labels = project.of(photo.key)
            if any(box.category for box in labels.boxes) or labels.rejected or labels.complete:
                detector.learn(*self._regions(photo.key, labels, read))
        return detector

    def _estimates(self, project: Project, read: Read) -> dict[str, Estimate]:
        """Of each category, what detectors taught without a photograph find in it, for some complete ones."""
        complete = [photo for photo in project.photos if project.of(photo.key).complete]
        left_out = []
        for photo in complete[:MAX_FOLDS]:
            others = project.without_photo(photo.key)
            detections = self._detect(self.taught(others, read), others, photo.key, read)
            left_out.append((others.categories, detections, project.of(photo.key).boxes))
        return estimates(project.categories, left_out)

    def check(self, photo: Photo) -> None:
        """Raise an InputError for a photograph that is too narrow for the detector."""
        check_sides(photo.height, photo.width, self.detector.settings)

    def prepare(self, keys: Iterable[str], read: Read) -> None:
        """Compute the candidates of photographs ahead of the first lesson."""
        for key in keys:
            self._candidates(key, read)

    def _detect(
        self, detector: Detector, project: Project, key: str, read: Read
    ) -> tuple[Detection, ...]:
        names = {*project.categories} & {*detector.names}
        detections = detector.detect(self._candidates(key, read), MIN_SCORE) if names else ()
        return tuple(detection for detection in detections if detection.name in names)

    @cachedmethod(
        lambda self: self._candidate_cache,
        key=lambda self, key, read: key,
        lock=lambda self: self._lock,
    )
    def _candidates(self, key: str, read: Read) -> Candidates:
        """Candidates of a photograph, with float16 features."""
        (candidates,) = self.detector.candidates([read(key)])
        return replace(candidates, features=candidates.features.to(torch.float16))

    @cachedmethod(
        lambda self: self._region_cache,
        key=lambda self, key, labels, read: (key, labels),
        lock=lambda self: self._lock,
    )
    def _regions(self, key: str, labels: Labels, read: Read) -> tuple[Regions, tuple[str, ...]]:
        """Regions of a photograph's boxes and rejections, and the names of their labels."""
        names = tuple(dict.fromkeys(box.category for box in labels.boxes if box.category))
        classes = [names.index(b.category) + 1 if b.category else IGNORE for b in labels.boxes]
        corners = [*(box.corners for box in labels.boxes), *labels.rejected]
        target = Target(
            boxes=torch.tensor(corners, dtype=torch.float32).reshape(-1, 4),
            labels=torch.tensor(classes + [0] * len(labels.rejected)),
        )
        # A photograph that is not complete may show unboxed objects: only rejections are background there.
        background = 16 if labels.complete else 0
        shots = Shots([as_tensor(read(key))], [target], names)
        return only_present(*self.detector.examples([shots], background))


def _num_bytes(features: Features) -> int:
    return sum(t.numel() * t.element_size() for t in (features.maps, features.means))
