"""Boxes of selective search, recognised by averages of a frozen network: no base training.

    python benchmarks/foreign_boxes.py voc2012-animals boxes.json [HEAD ...]

`selective_search.py` writes boxes.json. Prints recall, and nAP50 for each head over shots and seeds.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

import fsdet
from fsdet import build
from fsdet import config as cfg
from fsdet.api.detector import BATCH, Detector
from fsdet.boxes import overlaps
from fsdet.data import DetectionData, open_data
from fsdet.data.shots.images import ShotImages, choose
from fsdet.evaluation.coco import CocoTruth, evaluate
from fsdet.evaluation.detections import DetectionArrays

NAMES = ("cow", "sheep", "horse", "cat", "dog")
SHOTS, SEEDS = (1, 5, 10), range(3)
TEST = 150  # images
HEADS = ("prototype", "ridge", "beside")


class Images(NamedTuple):
    """Test images, and the images of the shots of all seeds."""

    train: DetectionData
    test: DetectionData

    @staticmethod
    def of(root: str) -> "Images":
        test = open_data(root, "test")
        some = np.linspace(0, len(test) - 1, TEST).astype(int)
        return Images(open_data(root, "train"), test.subset(some))

    def shots(self, k: int, seed: int) -> ShotImages:
        return choose(self.train, NAMES, k, seed)

    def all(self) -> Iterator[tuple[DetectionData, int]]:
        """Every image once."""
        used = [self.shots(max(SHOTS), seed).images for seed in SEEDS]
        yield from ((self.train, int(i)) for i in np.unique(np.concatenate(used)))
        yield from ((self.test, i) for i in range(len(self.test)))


class FromFile:
    """Boxes of a COCO result file for arrays: an image is found by its pixels."""

    def __init__(self, images: Images, file: str):
        train, test = (data.with_proposals(file) for data in images)
        of = {id(images.train): train.proposals, id(images.test): test.proposals}
        self.boxes = {data.image(i).tobytes(): of[id(data)].of(i) for data, i in images.all()}

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.boxes[image.tobytes()]


def recall(data: DetectionData, boxes: FromFile, most: int = 100) -> dict[str, float]:
    """Share of the objects of each category with a box of IoU 0.5, in percent."""
    found: dict[str, list[bool]] = {name: [] for name in NAMES}
    for i in range(len(data)):
        proposed = boxes(data.image(i))[:most].astype(float)
        rows = data.rows(i)
        objects = zip(data.boxes[rows], data.labels[rows], data.ignore[rows], strict=True)
        for box, label, ignored in objects:
            name = data.classes[label - 1]
            if name in found and not ignored:
                same = np.repeat(box[None], len(proposed), 0)
                found[name].append(bool((overlaps(proposed, same) >= 0.5).any()))
    return {name: 100 * np.mean(hits) for name, hits in found.items()}


def ap50(detector: Detector, candidates: Sequence, data: DetectionData) -> float:
    """nAP50 of the detector's five categories, in percent."""
    labels = {name: label for label, name in enumerate(NAMES, 1)}
    rows = [
        (image, labels[d.name], d.score, *d.box)
        for image, regions in enumerate(candidates)
        for d in detector.detect(regions, 0.01)
    ]
    table = np.array(rows, np.float64).reshape(-1, 7)
    arrays = DetectionArrays(table[:, 0], table[:, 1], table[:, 2], table[:, 3:])
    return 100 * float(evaluate(CocoTruth(data, NAMES), arrays).mean(NAMES).AP50)


def with_head(detector: Detector, name: str) -> Detector:
    """The detector without categories, with another head."""
    parts, spec = detector.parts(), cfg.Head(name)
    torch.manual_seed(0)
    head = build.head(spec, parts.model.shape, parts.settings.width, 0).eval()
    return Detector(*parts._replace(model=parts.model.with_head(head), head=spec))


def main(root: str, file: str, *heads: str) -> None:
    torch.set_num_threads(1)
    images = Images.of(root)
    boxes = FromFile(images, file)
    print("recall", {name: round(value) for name, value in recall(images.test, boxes).items()})
    detector = fsdet.from_boxes(boxes, size=(300, 400))
    pixels = [images.test.image(i) for i in range(len(images.test))]
    candidates = [
        regions
        for start in range(0, len(pixels), BATCH)
        for regions in detector.candidates(pixels[start : start + BATCH])
    ]
    for k in SHOTS:
        scores: dict[str, list[float]] = {head: [] for head in heads or HEADS}
        for seed in SEEDS:
            regions, names = detector.examples(images.shots(k, seed).batches(BATCH))
            for head, values in scores.items():
                taught = with_head(detector, head)
                taught.learn(regions, names)
                values.append(ap50(taught, candidates, images.test))
        for head, values in scores.items():
            print(f"{k} shots, {head}: {np.mean(values):.1f} ({np.std(values):.1f})", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
