"""A label space of LVIS's size, and of 10,000: what inference costs then, and whether it fits.

The categories are made: each is one that the detector knows, its regions moved by noise a tenth as large as
they vary. Many of them are alike, so that more of an image's regions pass the low threshold than of real ones.

    python benchmarks/label_space.py runs/quickstart --data shapes --head prototype
"""

import resource
import time

import torch

import fsdet
from fsdet import build
from fsdet import config as cfg
from fsdet.cli import program
from fsdet.data import open_data
from fsdet.types import Features, Regions

THRESHOLD = 0.001


def made(detector: fsdet.Detector, count: int, regions: int) -> fsdet.Detector:
    """A copy that knows `count` categories of so many regions each, and no other."""
    known, draw = detector.support(), torch.Generator().manual_seed(0)
    other = detector.copy()
    rows = [torch.nonzero(known.labels == 1 + n % known.n_way)[:, 0] for n in range(count)]
    index = torch.cat([row[:regions] for row in rows])
    labels = torch.arange(1, 1 + count).repeat_interleave(
        torch.tensor([min(len(row), regions) for row in rows])
    )
    features = known.features[index]
    maps, means = features.maps, features.means
    features = Features(
        maps + 0.1 * maps.std() * torch.randn(maps.shape, generator=draw),
        means + 0.1 * means.std() * torch.randn(means.shape, generator=draw),
    )
    for name in detector.names:
        other.forget(name)
    other.learn(
        Regions(features, labels, known.deltas[index], count),
        tuple(f"made {n}" for n in range(count)),
    )
    return other


def main() -> None:
    parser = program.Parser("benchmarks/label_space.py", "RUN [options]", __doc__)
    parser.add_argument("run", metavar="RUN", help="a run folder or a detector.safetensors")
    parser.add_argument("--data", default="shapes")
    parser.add_argument("--head", help="in the place of the detector's own, from its layers")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--regions", type=int, default=5, help="of each category")
    parser.add_argument("--rounds", type=int, default=5)
    words = parser.parse_args()
    detector, data = fsdet.load(words.run), open_data(words.data, "test")
    if words.head:
        parts = detector.parts()
        spec = cfg.Head(words.head)
        head = build.head(spec, parts.model.shape, parts.settings.width, parts.n_base).eval()
        head.inherit(parts.model.head)
        parts.model.head = head
        detector = fsdet.Detector(*parts._replace(head=spec))
    images = [data.image(i) for i in range(words.images)]
    detectors = {}
    for count in (20, 1203, 10_000):
        detectors[count] = made(detector, count, words.regions)
        start = time.perf_counter()
        found = detectors[count].predict(images[0], threshold=THRESHOLD)
        print(
            f"{count} categories learned, and {len(found)} detections, in {time.perf_counter() - start:.1f} s"
        )
    seconds: dict[int, list[float]] = {count: [] for count in detectors}
    for _ in range(
        words.rounds
    ):  # one after the other, so that what else runs here slows all alike
        for count, one in detectors.items():
            start = time.perf_counter()
            for image in images:
                one.predict(image, threshold=THRESHOLD)
            seconds[count].append((time.perf_counter() - start) / len(images))
    for count, taken in seconds.items():
        ratios = sorted(t / few for t, few in zip(taken, seconds[20], strict=True))
        print(
            f"{count}: {1000 * min(taken):.1f} ms an image, {ratios[len(ratios) // 2]:.2f} times 20's"
        )
    print(f"largest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    program.exit_with(main)
