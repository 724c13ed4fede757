"""Detections on the test images as a report shows them: crops, galleries and a method's results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fsdet.report.rows import display_name
from fsdet.report.sentences import shots_label

Picture = tuple[str, np.ndarray]  # a caption, and uint8 [H, W, 3] RGB


class DetectionCrop(NamedTuple):
    """The crop of a detection."""

    picture: np.ndarray  # uint8 [S, S, 3] RGB
    score: float
    mistake: str  # the error, such as "background"; "" for a right detection


class CategoryGallery(NamedTuple):
    """Crops of a category: its shots, and its detections and other mistakes by falling score."""

    shots: Sequence[np.ndarray]  # uint8 [S, S, 3] RGB each
    detections: Sequence[DetectionCrop]
    mistakes: Sequence[DetectionCrop]  # wrong, not in `detections`


@dataclass(frozen=True, eq=False)
class DetectionResults:
    """Detections of a method on the test images at one shot count, base and novel categories together."""

    method: str
    shots: int
    seed: int  # of all but `precision`
    threshold: float  # `counts`, `best` and `worst` leave out detections below this score
    names: Sequence[str]  # [N] in the order of labels
    novel: Sequence[str]
    precision: Mapping[str, np.ndarray]  # novel category -> [seeds, 101], see `figures`
    counts: np.ndarray  # [2 + N, 1 + N] int64, see `fsdet.evaluation.matching.confusion`
    best: Sequence[Picture]  # from `comparison.side_by_side`
    worst: Sequence[Picture]
    galleries: Mapping[str, CategoryGallery]  # of novel categories

    @property
    def description(self) -> str:
        """Method, shots and seed."""
        return f"{display_name(self.method)} at {shots_label(self.shots)}, seed {self.seed}"
