"""Score a detector on a data set, in percent: COCO's numbers; AP and AP50 of each category.

AP50 also as VOC 2007 counts it (11 points) and as VOC does since 2010 (area under the curve).

examples:
  python tools/test.py runs/mine --data my-coco --subset val2017 --json scores.json
  python tools/test.py runs/quickstart --data shapes --register-from train --shots 5 --seed 0
"""

import json
import sys
from argparse import Namespace
from pathlib import Path

import fsdet
from fsdet.api.detector import BATCH
from fsdet.api.predict_dataset import detections
from fsdet.cli import program
from fsdet.data import DetectionData, open_data
from fsdet.data.shots.images import choose
from fsdet.errors import InputError
from fsdet.evaluation.coco import CocoTruth, evaluate
from fsdet.evaluation.voc import printed_ap50
from fsdet.files import write_whole
from fsdet.progress import progress

COLUMNS = ("AP", "AP50", "AP50_voc07", "AP50_voc10")


def main() -> None:
    parser = program.Parser(__doc__, "tools/test.py RUN --data ROOT [options]")
    parser.add_argument("run", metavar="RUN", help="a run folder or a detector.safetensors")
    parser.add_argument("--data", metavar="ROOT", required=True, help="COCO, VOC, YOLO or shapes")
    parser.add_argument("--subset", default="test", help="to score on; default: test")
    parser.add_argument(
        "--register-from", metavar="SUBSET", help="first learn what is unknown here"
    )
    parser.add_argument("--shots", type=int, metavar="K", default=5, help="of each; default: 5")
    parser.add_argument("--seed", type=int, default=0, help="of the shots; default: 0")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all numbers, for programs")
    words = parser.parse_args()
    detector, data = fsdet.load(words.run, words.device), open_data(words.data, words.subset)
    if words.register_from:
        register(detector, data, words)
    shared = [name for name in data.classes if name in detector.names]
    if not shared:
        raise InputError(
            f"no category to score: {words.data} has {', '.join(data.classes[:12])}; the detector"
            f" knows {', '.join(detector.names[:12])}"
        )
    left_out = {
        "not known to the detector": sorted(set(data.classes) - set(shared)),
        "not in the data": sorted(set(detector.names) - set(shared)),
    }
    for why, names in left_out.items():
        if names:
            print(f"left out, {why}: {', '.join(names)}", file=sys.stderr)
    found = detections(detector, data, shared, progress=progress("looking"))
    scores = evaluate(truth := CocoTruth(data, shared), *found)
    voc = [printed_ap50(truth, *found, points) for points in ("11", "area")]
    numbers = {name: percent(value) for name, value in scores.numbers.items()}
    rows = {
        name: dict(zip(COLUMNS, map(percent, values), strict=True))
        for name, *values in zip(shared, scores.ap, scores.ap50, *voc, strict=True)
    }
    print("  ".join(f"{name} {said(value)}" for name, value in numbers.items()))
    wide = max(map(len, rows))
    for name, values in rows.items():
        print(
            f"{name:{wide}}",
            *(f"{key} {said(value):>5}" for key, value in values.items()),
            sep="  ",
        )
    if words.json:
        about = {"run": words.run, "data": words.data, "subset": words.subset, "images": len(data)}
        whole = about | {"numbers": numbers, "categories": rows, "left out": left_out}
        write_whole(words.json, lambda to: to.write_text(json.dumps(whole, indent=1)))


def register(detector: fsdet.Detector, data: DetectionData, words: Namespace) -> None:
    """The categories of the data that the detector does not know, from shots of another subset."""
    other = open_data(words.data, words.register_from)
    names = [name for name in data.classes if name not in detector.names]
    if not names:
        raise InputError("--register-from: the detector knows every category of the data already")
    shots = choose(other, names, words.shots, words.seed)
    tested = {data.paths[i] for i in range(len(data))}
    for path in (other.paths[int(i)] for i in shots.images):
        if path in tested:
            raise InputError(f"--register-from: '{path}' is one of the images to score on")
    detector.remember(shots.batches(BATCH))


def percent(value: float) -> float | None:
    return None if value != value else 100 * float(value)


def said(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    program.main(main)
