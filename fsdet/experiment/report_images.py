"""Images of the report: test images, shots and mistakes, drawn from the detections that were scored."""

from dataclasses import dataclass

import numpy as np

from fsdet import config as cfg
from fsdet import report
from fsdet.data import DetectionData
from fsdet.evaluation.candidates import columns
from fsdet.evaluation.coco import CocoTruth
from fsdet.evaluation.matching import NOTHING, best_first, by_image, confusion, lies_on, match
from fsdet.experiment.few_shot_data import Problem, novel_shots
from fsdet.experiment.scoring import ScoredHead
from fsdet.model.postprocess import Found
from fsdet.report.detections import Picture
from fsdet.report.drawing import Colour

SCORE = 0.5  # detections with a lower score are not drawn, as in `Detector.predict`
LOW_IOU = 0.1  # from which a wrong detection counts as badly placed rather than as background
NUM_EXTREMES = 4  # best images, and worst ones
NUM_SHOTS, NUM_DETECTIONS, NUM_MISTAKES = 10, 5, 5  # crops of each novel category


def report_images(
    scored: ScoredHead, problem: Problem, config: cfg.Config
) -> tuple[report.DetectionResults | None, list[Picture]]:
    """Draw the images of a head at the shot count of the report's headline, with the shots of seed 0.

    Returns:
        The images of the report's sections, and images with novel objects spread evenly over the test set,
        ground truth beside detections; None and no images if no novel category could be scored.
    """
    method, split = scored.rows[0]["method"], problem.split
    shots = report.headline_shots(scored.rows, method, "all" if split.base else "novel")
    if shots is None:
        return None, []
    images = DetectionImages.match(scored.detections[shots], problem)
    precision = np.stack([s.precision50 for (k, _), s in scored.scores.items() if k == shots], 1)
    order, most = images.best_first(), min(NUM_EXTREMES, config.evaluate.overlays)
    best, worst = order[:most], order[most:][::-1][:most]
    ids = novel_shots(problem, config.data, shots, 0)
    detections = report.DetectionResults(
        method=method,
        shots=shots,
        seed=0,
        threshold=SCORE,
        names=images.truth.classes,
        novel=split.novel,
        precision=dict(zip(split.novel, precision[len(split.base) :], strict=True)),
        counts=confusion(images.truth, *images.detections, SCORE),
        best=[images.beside(i) for i in best.tolist()],
        worst=[images.beside(i) for i in worst.tolist()],
        galleries={
            name: images.gallery(name, problem.train, problem.rows_of(ids[name])) for name in ids
        },
    )
    overlays = images.spread(config.evaluate.overlays)
    return detections, [images.beside(i) for i in overlays.tolist()]


@dataclass(frozen=True)
class DetectionImages:
    """Test images with ground truth and detections of base and novel categories, matched to each other."""

    data: DetectionData
    novel: tuple[str, ...]
    truth: CocoTruth
    detections: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # image, label, score, box
    matched: np.ndarray  # [D] row of the ground truth that each detection matches, or NOTHING
    colours: dict[str, Colour]

    @staticmethod
    def match(detections: Found, problem: Problem) -> "DetectionImages":
        """Match detections to the ground truth of the test images."""
        names = problem.split.base + problem.split.novel
        truth, arrays = CocoTruth(problem.test, names), columns(detections)
        matched = match(truth, *arrays)
        colours = report.palette(names)
        return DetectionImages(problem.test, problem.split.novel, truth, arrays, matched, colours)

    def best_first(self) -> np.ndarray:
        """Indices of images with novel objects or confident novel detections, by falling F1 score."""
        image, label, score, _ = self.detections
        novel = np.array([self.truth.classes.index(name) + 1 for name in self.novel])
        confident = np.isin(label, novel) & (score >= SCORE)
        return best_first(by_image(self.truth, image[confident], self.matched[confident], novel))

    def spread(self, most: int) -> np.ndarray:
        """Indices of up to `most` images with novel objects, evenly spread."""
        labels = [self.data.classes.index(name) + 1 for name in self.novel]
        images = np.unique(np.concatenate([self.data.images_of(label) for label in labels]))
        return images[np.linspace(0, len(images) - 1, min(most, len(images))).astype(int)]

    def beside(self, image: int) -> Picture:
        """The ground truth of an image beside its detections."""
        in_image = self.detections[0] == image
        _, labels, scores, boxes = (column[in_image] for column in self.detections)
        rows = self.data.rows(image)
        picture = report.side_by_side(
            self.data.image(image),
            (self.data.boxes[rows], [self.data.classes[n - 1] for n in self.data.labels[rows]]),
            (boxes, [self.truth.classes[n - 1] for n in labels], scores.tolist()),
            self.novel,
            self.colours,
            SCORE,
        )
        return self.data.paths[image], picture

    def gallery(self, name: str, train: DetectionData, rows: list[int]) -> report.CategoryGallery:
        """Crops of a category's shots, of its detections with the highest scores, and of its mistakes.

        Args:
            rows: annotations of `train` that are its shots.
        """
        colour = self.colours[name]
        shots = [
            report.crop(train.image(int(train.image_of([row])[0])), train.boxes[row], colour)
            for row in rows[:NUM_SHOTS]
        ]
        _, label, score, _ = self.detections
        ignored = (self.matched != NOTHING) & self.truth.ignore[self.matched]
        index = np.flatnonzero((label == self.truth.classes.index(name) + 1) & ~ignored)
        index = index[np.argsort(-score[index], kind="stable")]
        first, rest = index[:NUM_DETECTIONS], index[NUM_DETECTIONS:]
        mistakes = rest[self.matched[rest] == NOTHING][:NUM_MISTAKES]
        return report.CategoryGallery(
            shots, self._crops(first, colour), self._crops(mistakes, colour)
        )

    def _crops(self, index: np.ndarray, colour: Colour) -> list[report.DetectionCrop]:
        image, _, score, box = (column[index] for column in self.detections)
        crops = zip(image.tolist(), box, score, self._errors(index), strict=True)
        return [
            report.DetectionCrop(
                report.crop(self.data.image(i), xyxy, colour), float(confidence), error
            )
            for i, xyxy, confidence, error in crops
        ]

    def _errors(self, index: np.ndarray) -> list[str]:
        """What each detection shows if it is wrong; "" if it is right."""
        image, label, _, box = (column[index] for column in self.detections)
        on, close_to = lies_on(self.truth, image, box), lies_on(self.truth, image, box, LOW_IOU)
        rows = zip(self.matched[index], label, on, close_to, strict=True)
        return ["" if match != NOTHING else self._error(*row) for match, *row in rows]

    def _error(self, label: int, on: int, close_to: int) -> str:
        """Why a detection is wrong.

        Args:
            on: row of the ground truth that it overlaps by 0.5 or more, or NOTHING.
            close_to: row of the ground truth that it overlaps by `LOW_IOU` or more, or NOTHING.
        """
        if close_to == NOTHING:
            return "background"
        true_label = self.truth.labels[on if on != NOTHING else close_to]
        if true_label == label:
            return "found already" if on != NOTHING else "badly placed"
        name = self.truth.classes[true_label - 1]
        return name if on != NOTHING else f"partly {name}"
