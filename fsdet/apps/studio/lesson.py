"""From what a person has said to what is found; nothing is done twice for the same boxes."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from cachetools import LRUCache

from fsdet.api.detector import Detection, Detector
from fsdet.api.inputs import as_tensor, check_sides
from fsdet.apps.studio.project import SAME, Box, Labels, Photo, Project, iou, settled
from fsdet.types import IGNORE, Candidates, Regions, Shots, Target

LOW = 0.05  # scores below are nothing anybody wants to see
USUAL = 0.5  # threshold of a category that no second photograph speaks of
DOUBT = 2  # boxes' worth of belief in the usual threshold, against what few shots say
JUDGES = 4  # photographs that are left out in turn to choose thresholds
Read = Callable[[str], np.ndarray]  # key of a photograph -> its pixels
Found = Mapping[str, tuple[Detection, ...]]  # by key of the photograph, best first


@dataclass(frozen=True)
class Lesson:
    """A detector that has learned a project, and what it finds in its photographs from `LOW` on."""

    detector: Detector
    found: Found


class Teacher:
    """Makes lessons of projects with one base detector; photographs are looked at once.

    Args:
        detector: knows the base categories; it stays as it is.
        gigabytes: of memory for what the image side left.
    """

    def __init__(self, detector: Detector, gigabytes: float = 2.0):
        self.detector = detector
        self._lock = threading.Lock()
        self._seen: LRUCache[Any, Candidates] = LRUCache(gigabytes * 0.8e9, _bytes_of)
        self._regions: LRUCache[Any, Regions] = LRUCache(gigabytes * 0.2e9, _bytes_of)

    def lesson(
        self, project: Project, read: Read, progress: Callable[[Iterable], Iterable] = iter
    ) -> Lesson:
        """Learn all boxes of a project and look for their categories in all its photographs.

        A category all of whose boxes have others on them leaves no region, and is not learned.
        """
        detector = self.taught(project, read)
        found = {
            p.key: self._found(detector, project, p.key, read) for p in progress(project.photos)
        }
        return Lesson(detector, found)

    def taught(self, project: Project, read: Read) -> Detector:
        """The base detector, and what a project's boxes say."""
        detector = self.detector.copy()
        for photo in project.photos:
            labels = project.of(photo.key)
            if any(box.category for box in labels.boxes) or labels.rejected:
                detector.learn(*self._of_labels(photo, labels, read))
        return detector

    def thresholds(self, project: Project, read: Read) -> dict[str, float]:
        """For each category the threshold with the best F1 in photographs that were left out in turn.

        Few boxes say little: n of them move it from the usual threshold by n / (n + DOUBT) of the way.
        """
        judges = [photo for photo in project.photos if project.of(photo.key).complete]
        marks: dict[str, list[tuple[float, bool]]] = {name: [] for name in project.categories}
        truth = dict.fromkeys(marks, 0)
        for photo in judges[:JUDGES]:
            rest = project.without_photo(photo.key)
            found = self._found(self.taught(rest, read), rest, photo.key, read)
            for name in rest.categories:
                boxes = [b for b in project.of(photo.key).boxes if b.category == name]
                truth[name] += len(boxes)
                marks[name] += hits([one for one in found if one.name == name], boxes)
        return {
            name: (truth[name] * best_threshold(marks[name], truth[name]) + DOUBT * USUAL)
            / (truth[name] + DOUBT)
            for name in marks
        }

    def check(self, photo: Photo) -> None:
        """Whether the detector can look at a photograph.

        Raises:
            InputError: it is too narrow.
        """
        check_sides(photo.height, photo.width, self.detector.settings)

    def look(self, keys: Iterable[str], read: Read) -> None:
        """Do the image side's work of photographs ahead of the first lesson."""
        for key in keys:
            self._candidates(key, read)

    def _found(
        self, detector: Detector, project: Project, key: str, read: Read
    ) -> tuple[Detection, ...]:
        wanted = {*project.categories} & {*detector.names}
        found = detector.detect(self._candidates(key, read), LOW) if wanted else ()
        return tuple(one for one in found if one.name in wanted)

    def _candidates(self, key: str, read: Read) -> Candidates:
        def make() -> Candidates:
            (seen,) = self.detector.candidates([read(key)])
            return replace(seen, features=seen.features.to(torch.float16))

        return self._kept(self._seen, key, make)

    def _of_labels(
        self, photo: Photo, labels: Labels, read: Read
    ) -> tuple[Regions, tuple[str, ...]]:
        """Regions of a photograph's boxes, and the names of their labels: of those that have regions."""
        names = tuple(dict.fromkeys(box.category for box in labels.boxes if box.category))

        def make() -> Regions:
            image = as_tensor(read(photo.key))
            kinds = [names.index(b.category) + 1 if b.category else IGNORE for b in labels.boxes]
            corners = [*(box.corners for box in labels.boxes), *labels.rejected]
            target = Target(
                boxes=torch.tensor(corners, dtype=torch.float32),
                labels=torch.tensor(kinds + [0] * len(labels.rejected)),
            )
            # What nobody drew in may hold anything: there, only what was rejected is background.
            background = 16 if labels.complete else 0
            return self.detector.examples([Shots([image], [target], names)], background)[0]

        regions = self._kept(self._regions, (photo.key, labels), make)
        left = [n for n in range(1, len(names) + 1) if (regions.labels == n).any()]
        place = torch.zeros(1 + len(names), dtype=torch.int64)
        place[left] = torch.arange(1, 1 + len(left))
        regions = replace(regions, labels=place[regions.labels.cpu()], n_way=len(left))
        return regions, tuple(names[n - 1] for n in left)

    def _kept(self, cache: LRUCache, key: Any, make: Callable[[], Any]) -> Any:
        with self._lock:
            if key in cache:
                return cache[key]
        made = make()
        with self._lock:
            if _bytes_of(made) <= cache.maxsize:
                cache[key] = made
        return made


def hits(found: Iterable[Detection], truth: Iterable[Box]) -> list[tuple[float, bool]]:
    """Of detections of a category in a photograph, best first: score, and whether it is a new right one."""
    left = [box.corners for box in truth]
    marks = []
    for one in found:
        overlaps = [iou(one.box, corners) for corners in left]
        hit = max(overlaps, default=0.0) >= SAME
        if hit:
            del left[int(np.argmax(overlaps))]
        marks.append((one.score, hit))
    return marks


def best_threshold(marks: Iterable[tuple[float, bool]], truth: int) -> float:
    """Halfway between the last score that makes F1 greatest and the next one; without a hit, the usual one."""
    ordered = sorted(marks, reverse=True)
    right = np.cumsum([hit for _, hit in ordered])
    if not len(right) or not right[-1]:
        return USUAL
    scores = np.array([score for score, _ in ordered])
    f1 = 2 * right / (np.arange(1, len(right) + 1) + truth)
    f1[:-1][scores[:-1] == scores[1:]] = 0  # no threshold parts equal scores
    last = int(np.argmax(f1))
    below = scores[last + 1] if last + 1 < len(scores) else LOW
    return float(np.clip((scores[last] + below) / 2, LOW, 0.95))


def next_to_label(project: Project, found: Found) -> list[str]:
    """Keys of photographs nobody has drawn in, first those whose detections are least certain.

    The uncertainty of a photograph is the sum of the entropies of its detections' scores, in bits; those in
    which nothing at all was found come last, in their order.
    """

    def doubt(key: str) -> float:
        least = dict.fromkeys((one.name for one in found.get(key, ())), 0.0)
        open_ones = pending(project, key, found, least)
        scores = np.array([one.score for one in open_ones])
        p = np.clip(scores, 1e-6, 1 - 1e-6)
        return float(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum())

    rest = [photo.key for photo in project.photos if not project.of(photo.key).complete]
    return sorted(rest, key=doubt, reverse=True)


def pending(
    project: Project, key: str, found: Found, thresholds: Mapping[str, float]
) -> list[Detection]:
    """Detections of a photograph that are above their thresholds and on which nothing has been said.

    A part of a surer detection of the same category is left out.
    """
    known = project.of(key)
    said = [*(box.corners for box in known.boxes), *known.rejected]
    kept: list[Detection] = []
    for one in found.get(key, ()):
        surer = [other.box for other in kept if other.name == one.name]
        if one.score >= thresholds.get(one.name, USUAL) and not settled(one.box, said + surer):
            kept.append(one)
    return kept


def _bytes_of(value: Candidates | Regions) -> int:
    features = value.features
    return sum(t.numel() * t.element_size() for t in (features.maps, features.means))
