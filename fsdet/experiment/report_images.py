"""What the report shows of the test images: drawn from the detections that were scored."""

from dataclasses import dataclass

import numpy as np

from fsdet import config as cfg
from fsdet import report
from fsdet.data import DetectionData
from fsdet.evaluation.candidates import columns
from fsdet.evaluation.coco import CocoTruth
from fsdet.evaluation.matching import NOTHING, best_first, by_image, confusion, lies_on, match
from fsdet.experiment.few_shot_data import Problem, novel_shots
from fsdet.experiment.scoring import Scored
from fsdet.model.postprocess import Found
from fsdet.report.drawing import Colour
from fsdet.report.test_sections import Picture

SCORE = 0.5  # detections below are not shown as found: what `Detector.predict` leaves out, too
NEAR = 0.1  # IoU with a box that is meant, though it is not met
EXTREMES = 4  # best images, and worst ones
SHOTS, FINDS, MISTAKES = 10, 5, 5  # of each novel category, cut out


def pictures(
    scored: Scored, problem: Problem, config: cfg.Config
) -> tuple[report.Tested | None, list[Picture]]:
    """The pictures of a method at the shot count that the report tells of, with the first seed's shots.

    Returns:
        What the report draws, and images with novel objects spread evenly over the test set, truth
        beside found; nothing, if nothing novel could be scored.
    """
    method, split = scored.rows[0]["method"], problem.split
    shots = report.headline_shots(scored.rows, method, "all" if split.base else "novel")
    if shots is None:
        return None, []
    shown = Shown.of(scored.found[shots], problem)
    each = np.stack([s.precision50 for (k, _), s in scored.scores.items() if k == shots], 1)
    order, most = shown.best_first(), min(EXTREMES, config.evaluate.overlays)
    best, worst = order[:most], order[most:][::-1][:most]
    ids = novel_shots(problem, config.data, shots, 0)
    tested = report.Tested(
        method=method,
        shots=shots,
        seed=0,
        threshold=SCORE,
        names=shown.truth.classes,
        novel=split.novel,
        precision=dict(zip(split.novel, each[len(split.base) :], strict=True)),
        counts=confusion(shown.truth, *shown.found, SCORE),
        best=[shown.beside(i) for i in best.tolist()],
        worst=[shown.beside(i) for i in worst.tolist()],
        galleries={
            name: shown.gallery(name, problem.train, problem.rows_of(ids[name])) for name in ids
        },
    )
    spread = shown.spread(config.evaluate.overlays)
    return tested, [shown.beside(i) for i in spread.tolist()]


@dataclass(frozen=True)
class Shown:
    """Test images with their truth and with detections, base and novel categories together."""

    data: DetectionData
    novel: tuple[str, ...]
    truth: CocoTruth
    found: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # image, label, score, box
    hit: np.ndarray  # [D] what they match, see `fsdet.engine.matches`
    colours: dict[str, Colour]

    @staticmethod
    def of(found: Found, problem: Problem) -> "Shown":
        names = problem.split.base + problem.split.novel
        truth = CocoTruth(problem.test, names)
        arrays = columns(found)
        hit, colours = match(truth, *arrays), report.palette(names)
        return Shown(problem.test, problem.split.novel, truth, arrays, hit, colours)

    def best_first(self) -> np.ndarray:
        """Images with novel boxes, or novel detections of `SCORE`, by how right they are."""
        image, label, score, _ = self.found
        novel = [self.truth.classes.index(name) + 1 for name in self.novel]
        mine = np.isin(label, novel) & (score >= SCORE)
        return best_first(by_image(self.truth, image[mine], self.hit[mine], novel))

    def spread(self, most: int) -> np.ndarray:
        """Up to so many images with novel objects, evenly spread."""
        labels = [self.data.classes.index(name) + 1 for name in self.novel]
        images = np.unique(np.concatenate([self.data.images_of(label) for label in labels]))
        return images[np.linspace(0, len(images) - 1, min(most, len(images))).astype(int)]

    def beside(self, i: int) -> Picture:
        """The truth of an image beside what was found in it."""
        _, label, score, box = (column[self.found[0] == i] for column in self.found)
        rows = self.data.rows(i)
        truth = [self.data.classes[label - 1] for label in self.data.labels[rows]]
        said = [self.truth.classes[n - 1] for n in label]
        picture = report.beside(
            self.data.image(i),
            (self.data.boxes[rows], truth),
            (box, said, score.tolist()),
            self.novel,
            self.colours,
            SCORE,
        )
        return self.data.paths[i], picture

    def gallery(self, name: str, train: DetectionData, rows: list[int]) -> report.Gallery:
        """A category's shots (rows of the training data), and the detections of it with the highest scores."""
        colour = self.colours[name]
        shots = [
            report.crop(train.image(int(train.image_of([row])[0])), train.boxes[row], colour)
            for row in rows[:SHOTS]
        ]
        _, label, score, _ = self.found
        ignored = (self.hit != NOTHING) & self.truth.ignore[self.hit]
        mine = np.flatnonzero((label == self.truth.classes.index(name) + 1) & ~ignored)
        mine = mine[np.argsort(-score[mine], kind="stable")]
        first, rest = mine[:FINDS], mine[FINDS:]
        mistakes = rest[self.hit[rest] == NOTHING][:MISTAKES]
        return report.Gallery(shots, self._finds(first, colour), self._finds(mistakes, colour))

    def _finds(self, detections: np.ndarray, colour: Colour) -> list[report.Find]:
        image, _, score, box = (column[detections] for column in self.found)
        return [
            report.Find(report.crop(self.data.image(i), where, colour), float(sure), wrong)
            for i, where, sure, wrong in zip(
                image.tolist(), box, score, self._instead(detections), strict=True
            )
        ]

    def _instead(self, detections: np.ndarray) -> list[str]:
        """What each of the detections is on if it is wrong; "" if it is right."""
        image, label, _, box = (column[detections] for column in self.found)
        on, near = lies_on(self.truth, image, box), lies_on(self.truth, image, box, NEAR)
        rows = zip(self.hit[detections], label, on, near, strict=True)
        return ["" if hit != NOTHING else self._mistake(*row) for hit, *row in rows]

    def _mistake(self, label: int, on: int, near: int) -> str:
        if near == NOTHING:
            return "background"
        there = self.truth.labels[on if on != NOTHING else near]
        if there == label:
            return "found already" if on != NOTHING else "badly placed"
        return (
            self.truth.classes[there - 1]
            if on != NOTHING
            else f"partly {self.truth.classes[there - 1]}"
        )
