"""Images of the report: test images, shots and mistakes, drawn from the detections that were scored."""

from dataclasses import dataclass

import numpy as np

from fsdet import config as cfg
from fsdet import report
from fsdet.data import DetectionData
from fsdet.data.labels import class_indices
from fsdet.evaluation.coco import CocoTruth
from fsdet.evaluation.detections import DetectionArrays
from fsdet.evaluation.matching import NOTHING, best_first, by_image, confusion, lies_on, match
from fsdet.experiment.few_shot_data import Problem, novel_shots
from fsdet.experiment.scoring import ScoredHead
from fsdet.model.postprocess import DetectionTable
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
        counts=confusion(images.truth, images.detections, SCORE),
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
    detections: DetectionArrays
    matched: np.ndarray  # [D] row of the ground truth that each detection matches, or NOTHING
    colours: dict[str, Colour]

    @staticmethod
    def match(detections: DetectionTable, problem: Problem) -> "DetectionImages":
        """Match detections to the ground truth of the test images."""
        names = problem.split.base + problem.split.novel
        truth, arrays = CocoTruth(problem.test, names), DetectionArrays.of(detections)
        matched = match(truth, arrays)
        colours = report.palette(names)
        return DetectionImages(problem.test, problem.split.novel, truth, arrays, matched, colours)

    def best_first(self) -> np.ndarray:
        """Indices of images with novel objects or confident novel detections, by falling F1 score."""
        novel = 1 + np.array(class_indices(self.novel, self.truth.classes, "scores"))
        confident = np.isin(self.detections.labels, novel) & (self.detections.scores >= SCORE)
        image_index = self.detections.image_index[confident]
        return best_first(by_image(self.truth, image_index, self.matched[confident], novel))

    def spread(self, most: int) -> np.ndarray:
        """Indices of up to `most` images with novel objects, evenly spread."""
        indices = class_indices(self.novel, self.data.classes, str(self.data.root))
        images = np.unique(np.concatenate([self.data.images_of(n + 1) for n in indices]))
        return images[np.linspace(0, len(images) - 1, min(most, len(images))).astype(int)]

    def beside(self, image: int) -> Picture:
        """The ground truth of an image beside its detections."""
        detections = self.detections[self.detections.image_index == image]
        rows = self.data.rows(image)
        picture = report.side_by_side(
            self.data.image(image),
            (self.data.boxes[rows], [self.data.classes[n - 1] for n in self.data.labels[rows]]),
            (
                detections.boxes,
                [self.truth.classes[n - 1] for n in detections.labels],
                detections.scores.tolist(),
            ),
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
        ignored = (self.matched != NOTHING) & self.truth.ignore[self.matched]
        label = self.truth.classes.index(name) + 1
        index = np.flatnonzero((self.detections.labels == label) & ~ignored)
        index = index[np.argsort(-self.detections.scores[index], kind="stable")]
        first, later = index[:NUM_DETECTIONS], index[NUM_DETECTIONS:]
        mistakes = later[self.matched[later] == NOTHING][:NUM_MISTAKES]
        return report.CategoryGallery(
            shots, self._crops(first, colour), self._crops(mistakes, colour)
        )

    def _crops(self, index: np.ndarray, colour: Colour) -> list[report.DetectionCrop]:
        detections, errors = self.detections[index], self._errors(index)
        images, scores = detections.image_index.tolist(), detections.scores.tolist()
        return [
            report.DetectionCrop(report.crop(self.data.image(image), box, colour), score, error)
            for image, box, score, error in zip(
                images, detections.boxes, scores, errors, strict=True
            )
        ]

    def _errors(self, index: np.ndarray) -> list[str]:
        """The error of each detection; "" for a right one."""
        detections = self.detections[index]
        on, close_to = lies_on(self.truth, detections), lies_on(self.truth, detections, LOW_IOU)
        rows = zip(self.matched[index], detections.labels, on, close_to, strict=True)
        return ["" if match != NOTHING else self._error(*row) for match, *row in rows]

    def _error(self, label: int, on: int, close_to: int) -> str:
        """The error of a wrong detection.

        Args:
            on: row of the ground truth with an IoU of 0.5 or more, or NOTHING.
            close_to: row of the ground truth with an IoU of `LOW_IOU` or more, or NOTHING.
        """
        if close_to == NOTHING:
            return "background"
        true_label = self.truth.labels[on if on != NOTHING else close_to]
        if true_label == label:
            return "found already" if on != NOTHING else "badly placed"
        name = self.truth.classes[true_label - 1]
        return name if on != NOTHING else f"partly {name}"
