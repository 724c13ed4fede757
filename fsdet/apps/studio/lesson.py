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
from fsdet.apps.studio.boxes import SAME, covered, iou
from fsdet.apps.studio.project import Box, Labels, Photo, Project
from fsdet.types import IGNORE, Candidates, Features, Regions, Shots, Target

MIN_SCORE = 0.05  # detections below are dropped
DEFAULT_THRESHOLD = 0.5  # of a category without complete photographs to choose one from
PRIOR_BOXES = 2  # weight of the default threshold, in boxes, against the one chosen from few shots
MAX_FOLDS = 4  # photographs left out in turn to choose thresholds
Read = Callable[[str], np.ndarray]  # key of a photograph -> uint8 [H, W, 3] RGB
Found = Mapping[str, tuple[Detection, ...]]  # key of a photograph -> its detections, best first


@dataclass(frozen=True)
class Lesson:
    """A detector taught a project, and its detections in the photographs with scores from `MIN_SCORE`."""

    detector: Detector
    found: Found


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
        return Lesson(detector, found)

    def taught(self, project: Project, read: Read) -> Detector:
        """The base detector with the boxes and rejections of a project registered."""
        detector = self.detector.copy()
        for photo in project.photos:
            labels = project.of(photo.key)
            if any(box.category for box in labels.boxes) or labels.rejected:
                detector.learn(*self._regions(photo.key, labels, read))
        return detector

    def thresholds(self, project: Project, read: Read) -> dict[str, float]:
        """For each category the threshold with the best F1 in photographs that are left out in turn.

        With n boxes the threshold moves from the default towards the best one by n / (n + PRIOR_BOXES).
        """
        complete = [photo for photo in project.photos if project.of(photo.key).complete]
        matches: dict[str, list[tuple[float, bool]]] = {name: [] for name in project.categories}
        num_boxes = dict.fromkeys(matches, 0)
        for photo in complete[:MAX_FOLDS]:
            others = project.without_photo(photo.key)
            detections = self._detect(self.taught(others, read), others, photo.key, read)
            for name in others.categories:
                boxes = [b for b in project.of(photo.key).boxes if b.category == name]
                num_boxes[name] += len(boxes)
                matches[name] += hits([d for d in detections if d.name == name], boxes)
        return {
            name: (n * best_threshold(matches[name], n) + PRIOR_BOXES * DEFAULT_THRESHOLD)
            / (n + PRIOR_BOXES)
            for name, n in num_boxes.items()
        }

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
            boxes=torch.tensor(corners, dtype=torch.float32),
            labels=torch.tensor(classes + [0] * len(labels.rejected)),
        )
        # A photograph without drawn boxes may show unboxed objects: only rejections are background there.
        background = 16 if labels.complete else 0
        shots = Shots([as_tensor(read(key))], [target], names)
        return only_present(*self.detector.examples([shots], background))


def hits(detections: Iterable[Detection], truth: Iterable[Box]) -> list[tuple[float, bool]]:
    """Scores of one category's detections in a photograph, best first, and whether each is a new match."""
    unmatched = [box.corners for box in truth]
    matches = []
    for detection in detections:
        overlaps = [iou(detection.box, corners) for corners in unmatched]
        hit = max(overlaps, default=0.0) >= SAME
        if hit:
            del unmatched[int(np.argmax(overlaps))]
        matches.append((detection.score, hit))
    return matches


def best_threshold(matches: Iterable[tuple[float, bool]], num_boxes: int) -> float:
    """The threshold with the best F1: halfway between the last score above it and the next score.

    Args:
        matches: score, and whether it is a match, of every detection of a category.
        num_boxes: ground truth boxes of the category.

    Returns:
        `MIN_SCORE`..0.95; the default threshold if no detection is a match.
    """
    ordered = sorted(matches, reverse=True)
    num_hits = np.cumsum([hit for _, hit in ordered])
    if not len(num_hits) or not num_hits[-1]:
        return DEFAULT_THRESHOLD
    scores = np.array([score for score, _ in ordered])
    f1 = 2 * num_hits / (np.arange(1, len(num_hits) + 1) + num_boxes)
    f1[:-1][scores[:-1] == scores[1:]] = 0  # no threshold separates equal scores
    last = int(np.argmax(f1))
    below = scores[last + 1] if last + 1 < len(scores) else MIN_SCORE
    return float(np.clip((scores[last] + below) / 2, MIN_SCORE, 0.95))


def next_to_label(project: Project, found: Found) -> list[str]:
    """Keys of photographs without drawn boxes, the most uncertain first.

    The uncertainty of a photograph is the sum of the entropies of its pending detections' scores, in bits; it
    is 0 for photographs without detections.
    """

    def uncertainty(key: str) -> float:
        zeros = dict.fromkeys((detection.name for detection in found.get(key, ())), 0.0)
        scores = np.array([detection.score for detection in pending(project, key, found, zeros)])
        p = np.clip(scores, 1e-6, 1 - 1e-6)
        return float(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum())

    undrawn = [photo.key for photo in project.photos if not project.of(photo.key).complete]
    return sorted(undrawn, key=uncertainty, reverse=True)


def pending(
    project: Project, key: str, found: Found, thresholds: Mapping[str, float]
) -> list[Detection]:
    """Detections of a photograph above their thresholds that have not been accepted or rejected.

    A detection that is a part of a better one of the same category is left out.
    """
    labels = project.of(key)
    labelled = [*(box.corners for box in labels.boxes), *labels.rejected]
    open_detections: list[Detection] = []
    for detection in found.get(key, ()):
        better = [other.box for other in open_detections if other.name == detection.name]
        is_above = detection.score >= thresholds.get(detection.name, DEFAULT_THRESHOLD)
        if is_above and not covered(detection.box, labelled + better):
            open_detections.append(detection)
    return open_detections


def _num_bytes(features: Features) -> int:
    return sum(t.numel() * t.element_size() for t in (features.maps, features.means))
