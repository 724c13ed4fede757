"""Time and memory of inference with as many categories as LVIS has, and with 10,000.

The categories are synthetic: regions of a category of the detector plus noise, a tenth of the features' standard
deviation. Many are alike, so more regions of an image pass the low threshold than with real categories.

    python benchmarks/label_space.py runs/shapes --data shapes --head prototype
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


def with_categories(detector: fsdet.Detector, count: int, regions: int) -> fsdet.Detector:
    """A copy of a detector with `count` synthetic categories of `regions` regions each, and no other."""
    support, draw = detector.support(), torch.Generator().manual_seed(0)
    other = detector.copy()
    rows = [torch.nonzero(support.labels == 1 + n % support.n_way)[:, 0] for n in range(count)]
    index = torch.cat([row[:regions] for row in rows])
    labels = torch.arange(1, 1 + count).repeat_interleave(
        torch.tensor([min(len(row), regions) for row in rows])
    )
    features = support.features[index]
    maps, means = features.maps, features.means
    features = Features(
        maps + 0.1 * maps.std() * torch.randn(maps.shape, generator=draw),
        means + 0.1 * means.std() * torch.randn(means.shape, generator=draw),
    )
    for name in detector.names:
        other.forget(name)
    other.learn(
        Regions(features, labels, support.deltas[index], count),
        tuple(f"synthetic {n}" for n in range(count)),
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
    arguments = parser.parse_args()
    detector, data = fsdet.load(arguments.run), open_data(arguments.data, "test")
    if arguments.head:
        parts = detector.parts()
        spec = cfg.Head(arguments.head)
        head = build.head(spec, parts.model.shape, parts.settings.width, parts.n_base).eval()
        head.inherit(parts.model.head)
        parts.model.head = head
        detector = fsdet.Detector(*parts._replace(head=spec))
    images = [data.image(i) for i in range(arguments.images)]
    detectors = {}
    for count in (20, 1203, 10_000):
        detectors[count] = with_categories(detector, count, arguments.regions)
        start = time.perf_counter()
        detections = detectors[count].predict(images[0], threshold=THRESHOLD)
        elapsed = time.perf_counter() - start
        print(f"{count} categories learned, and {len(detections)} detections, in {elapsed:.1f} s")
    seconds: dict[int, list[float]] = {count: [] for count in detectors}
    for _ in range(arguments.rounds):  # in turn: other processes of the machine slow all alike
        for count, other in detectors.items():
            start = time.perf_counter()
            for image in images:
                other.predict(image, threshold=THRESHOLD)
            seconds[count].append((time.perf_counter() - start) / len(images))
    for count, values in seconds.items():
        ratios = sorted(value / few for value, few in zip(values, seconds[20], strict=True))
        ratio = ratios[len(ratios) // 2]
        print(f"{count}: {1000 * min(values):.1f} ms per image, {ratio:.2f} times that of 20")
    print(f"largest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    program.exit_with(main)
