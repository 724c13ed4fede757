"""Time to register five categories of five boxes each, on one core.

The categories are those of `shapes` that the detector lacks. Measured are the extraction of features and the
adaptation of the head, not the drawing of the images.

    python benchmarks/register.py runs/shapes
"""

import time

import numpy as np
import torch

import fsdet
from fsdet.cli import program
from fsdet.data.shapes.dataset import open_shapes
from fsdet.data.shots.images import choose
from fsdet.errors import InputError

CATEGORIES, SHOTS, REPEATS = 5, 5, 5


def main() -> None:
    parser = program.Parser("benchmarks/register.py", "RUN", __doc__)
    parser.add_argument("run", metavar="RUN", help="a run folder or a detector.safetensors")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data, names = open_shapes("train"), fsdet.load(arguments.run).names
    new = [name for name in data.classes if name not in names][:CATEGORIES]
    if not new:
        raise InputError(f"{arguments.run}: expected a detector that lacks categories of shapes")
    examples = {}
    for name in new:
        shots = choose(data, [name], SHOTS, seed=0)
        pairs = [shots[i] for i in range(len(shots))]
        boxes = [target["boxes"][target["labels"] > 0] for _, target in pairs]
        examples[name] = [image for image, _ in pairs], boxes
    times = []
    for _ in range(1 + REPEATS):
        detector = fsdet.load(arguments.run)
        start = time.perf_counter()
        for name, (images, boxes) in examples.items():
            detector.register(name, images, boxes)
        middle = time.perf_counter()
        detector.task()
        times.append((middle - start, time.perf_counter() - middle))
    images, head = np.median(times[1:], axis=0)  # the first one warms up
    print(f"{detector}")
    print(f"{len(examples)} categories x {SHOTS} boxes, one core, median of {REPEATS}:")
    print(f"  images {images:.2f} s, head {head:.2f} s, together {images + head:.2f} s")


if __name__ == "__main__":
    program.exit_with(main)
