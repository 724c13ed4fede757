"""Suggestions: detections of a session's photographs that wait for an answer."""

from collections.abc import Mapping

import numpy as np

from fsdet.api.results import Detection
from fsdet.apps.studio.boxes import covered
from fsdet.apps.studio.estimates import DEFAULT_THRESHOLD
from fsdet.apps.studio.project import Project

Found = Mapping[str, tuple[Detection, ...]]  # key of a photograph -> its detections, best first


def next_to_label(project: Project, found: Found) -> list[str]:
    """Keys of photographs that are not complete, the most uncertain first.

    The uncertainty of a photograph is the sum of the entropies of its pending detections' scores, in bits; it
    is 0 for photographs without detections.
    """

    def uncertainty(key: str) -> float:
        zeros = dict.fromkeys((detection.name for detection in found.get(key, ())), 0.0)
        scores = np.array([detection.score for detection in pending(project, key, found, zeros)])
        p = np.clip(scores, 1e-6, 1 - 1e-6)
        return float(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum())

    return sorted(project.unfinished(), key=uncertainty, reverse=True)


def pending(
    project: Project, key: str, found: Found, thresholds: Mapping[str, float]
) -> list[Detection]:
    """Detections of a photograph above their thresholds that have not been accepted or rejected.

    A detection that is a part of a better one of the same category is left out. In a complete photograph nothing
    waits: what is in none of its boxes is background.
    """
    labels = project.of(key)
    if labels.complete:
        return []
    labelled = [*(box.corners for box in labels.boxes), *labels.rejected]
    open_detections: list[Detection] = []
    for detection in found.get(key, ()):
        better = [other.box for other in open_detections if other.name == detection.name]
        is_above = detection.score >= thresholds.get(detection.name, DEFAULT_THRESHOLD)
        if is_above and not covered(detection.box, labelled + better):
            open_detections.append(detection)
    return open_detections
