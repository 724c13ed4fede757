"""Score a detector on a data set, in percent: COCO's twelve numbers; AP and AP50 per category.

AP50 also as VOC 2007 computes it (11 points) and as VOC does since 2010 (area under the curve).

examples:
  fsdet test runs/mine --data my-coco --subset val2017 --json scores.json
  fsdet test runs/quickstart --data shapes --register-from train --shots 5 --seed 0
"""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from fsdet.cli.program import (
    MOST_SEED,
    Parser,
    add_data,
    add_device,
    add_run,
    check_output,
    check_range,
)
from fsdet.errors import InputError, printable
from fsdet.files import write_whole

if TYPE_CHECKING:
    from fsdet.api.detector import Detector
    from fsdet.data import DetectionData

USAGE = "RUN --data ROOT [options]"
COLUMNS = ("AP", "AP50", "AP50_voc07", "AP50_voc10")


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add_run(parser)
    add_data(parser)
    add("--subset", default="test", help="subset to score on; default: test")
    add("--register-from", metavar="SUBSET", help="first register unknown categories from here")
    add("--shots", type=int, metavar="K", default=5, help="boxes per category; default: 5")
    add("--seed", type=int, default=0, help="of the shots; default: 0")
    add_device(parser)
    add("--json", type=Path, metavar="FILE", help="all numbers, for programs")


def run(arguments: Namespace) -> None:
    import fsdet
    from fsdet.api.predict_dataset import detections
    from fsdet.data import open_data
    from fsdet.evaluation.coco import CocoTruth, evaluate
    from fsdet.evaluation.voc import printed_ap50
    from fsdet.progress import progress

    check_output("--json", arguments.json)
    check_range(0, MOST_SEED, seed=arguments.seed)
    detector = fsdet.load(arguments.run, arguments.device)
    data = open_data(arguments.data, arguments.subset)
    if arguments.register_from:
        register(detector, data, arguments)
    names, left_out = shared_names(detector, data, arguments.data)
    for reason, others in left_out.items():
        if others:
            print(printable(f"left out, {reason}: {', '.join(others)}"), file=sys.stderr)
    truth = CocoTruth(data, names)
    arrays = detections(detector, data, names, progress=progress("detecting"))
    scores = evaluate(truth, arrays)
    voc = [printed_ap50(truth, arrays, points) for points in ("11", "area")]
    numbers = {name: percent(value) for name, value in scores.numbers.items()}
    categories = {
        name: dict(zip(COLUMNS, map(percent, values), strict=True))
        for name, *values in zip(names, scores.ap, scores.ap50, *voc, strict=True)
    }
    show(numbers, categories)
    if arguments.json:
        source = {"run": arguments.run, "data": arguments.data, "subset": arguments.subset}
        results = {"numbers": numbers, "categories": categories, "left out": left_out}
        text = json.dumps(source | {"images": len(data)} | results, indent=1)
        write_whole(arguments.json, lambda file: file.write_text(text))


def register(detector: "Detector", data: "DetectionData", arguments: Namespace) -> None:
    """Register the categories of the data set that the detector lacks, from shots of another subset."""
    from fsdet.api.detector import BATCH
    from fsdet.data import open_data
    from fsdet.data.shots.images import choose

    source = open_data(arguments.data, arguments.register_from)
    names = [name for name in data.classes if name not in detector.names]
    if not names:
        raise InputError("--register-from: the detector has every category of the data set already")
    shots = choose(source, names, arguments.shots, arguments.seed)
    test_paths = {data.paths[i] for i in range(len(data))}
    for path in (source.paths[int(i)] for i in shots.images):
        if path in test_paths:
            raise InputError(f"--register-from: '{path}' is one of the images to score on")
    detector.remember(shots.batches(BATCH))


def shared_names(
    detector: "Detector", data: "DetectionData", root: str
) -> tuple[list[str], dict[str, list[str]]]:
    """The categories that detector and data set share, and those left out, by reason.

    Raises:
        InputError: they share none.
    """
    names = [name for name in data.classes if name in detector.names]
    if not names:
        raise InputError(
            f"no category to score: {root} has {', '.join(data.classes[:12])}; the detector"
            f" has {', '.join(detector.names[:12])}"
        )
    return names, {
        "not known to the detector": sorted(set(data.classes) - set(names)),
        "not in the data": sorted(set(detector.names) - set(names)),
    }


def show(numbers: dict[str, float | None], categories: dict[str, dict]) -> None:
    """Print COCO's numbers in one line, then one line per category."""
    print("  ".join(f"{name} {_rounded(value)}" for name, value in numbers.items()))
    width = max(map(len, categories))
    for name, values in categories.items():
        cells = (f"{key} {_rounded(value):>5}" for key, value in values.items())
        print(f"{name:{width}}", *cells, sep="  ")


def percent(value: float) -> float | None:
    """A share as percent; None for NaN, a category without annotated boxes."""
    return None if value != value else 100 * float(value)


def _rounded(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
