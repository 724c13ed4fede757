"""Small objects in large images, with and without tiles: AP and time.

Photographs of a data set are reduced and pasted onto grey canvases of 1200 x 1200 pixels, six on each, at places
drawn by a seed. The detector looks at the canvases as a whole, and in tiles of each side.

    python benchmarks/tiles.py runs/cells --data bccd --tiles 320,640
"""

import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import cv2
import numpy as np
import torch

import fsdet
from fsdet.api.predict_dataset import detections
from fsdet.cli import program
from fsdet.data import DetectionData, open_data
from fsdet.data.formats.raw import RawAnnotations, RawImage, RawObject
from fsdet.data.formats.validation import validate
from fsdet.evaluation.coco import CocoTruth, evaluate

SIDE, GRID, PHOTOGRAPHS = 1200, 4, 6  # of a canvas, in pixels, cells a side, and number
GREY = 128


def main() -> None:
    parser = program.Parser("benchmarks/tiles.py", "RUN --data ROOT [options]", __doc__)
    program.add_run(parser)
    program.add_data(parser)
    parser.add_argument("--subset", default="test")
    parser.add_argument("--tiles", metavar="A,B", default="320,640", help="pixels a side")
    parser.add_argument("--long", type=int, default=150, help="long side of a pasted photograph")
    parser.add_argument("--canvases", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    detector = fsdet.load(arguments.run)
    photographs = open_data(arguments.data, arguments.subset)
    names = [name for name in photographs.classes if name in detector.names]
    rng = np.random.default_rng(arguments.seed)
    with TemporaryDirectory() as folder:
        data = canvases(photographs, arguments.long, arguments.canvases, rng, Path(folder))
        print(f"{len(data)} canvases, {len(data.boxes)} boxes of {', '.join(names)}")
        for side in (None, *map(int, arguments.tiles.split(","))):
            looking = SimpleNamespace(predict_many=partial(detector.predict_many, tiles=side))
            start = time.perf_counter()
            found = detections(looking, data, names)  # type: ignore[arg-type]
            seconds = (time.perf_counter() - start) / len(data)
            scores = evaluate(CocoTruth(data, names), found)
            label = "whole" if side is None else f"tiles of {side}"
            ap, ap50 = (100 * np.nanmean(values) for values in (scores.ap, scores.ap50))
            print(f"{label}: AP {ap:.1f}, AP50 {ap50:.1f}, {seconds:.2f} s a canvas")


def canvases(
    photographs: DetectionData, long: int, most: int, rng: np.random.Generator, folder: Path
) -> DetectionData:
    """Photographs, reduced to a long side, on at most so many canvases, which are written to a folder."""
    order = rng.permutation(len(photographs))
    images, cell = [], SIDE // GRID
    for number in range(min(most, len(order) // PHOTOGRAPHS)):
        canvas = np.full((SIDE, SIDE, 3), GREY, np.uint8)
        objects: list[RawObject] = []
        cells = rng.choice(GRID * GRID, PHOTOGRAPHS, replace=False)
        for i, place in zip(order[number * PHOTOGRAPHS :], cells, strict=False):
            photograph, target = photographs[int(i)]
            scale = long / max(photograph.shape[:2])
            small = cv2.resize(photograph, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            height, width = small.shape[:2]
            x = int(place % GRID * cell + rng.integers(cell - width + 1))
            y = int(place // GRID * cell + rng.integers(cell - height + 1))
            canvas[y : y + height, x : x + width] = small
            boxes = target["boxes"].numpy() * scale + [x, y, x, y]
            rows = zip(boxes.tolist(), target["labels"].tolist(), strict=True)
            objects += [
                RawObject(len(objects), label, tuple(box), False, "")
                for box, label in rows
                if label > 0
            ]
        cv2.imwrite(str(folder / f"{number}.png"), canvas[..., ::-1])
        ids = [o._replace(id=1000 * number + n) for n, o in enumerate(objects)]
        images.append(RawImage(number, f"{number}.png", (SIDE, SIDE), True, ids))
    return validate(RawAnnotations.from_images(folder, "", photographs.classes, images))[0]


if __name__ == "__main__":
    program.exit_with(main)
