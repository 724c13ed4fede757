"""Register categories from an annotated data set and, with --steps, move the head on their shots.

examples:
  python tools/finetune.py runs/quickstart --data shapes --names gear,tee --shots 5 --out runs/5
  python tools/finetune.py runs/voc --data my-coco --steps 30 --out runs/mine --old VOC0712:test
"""

from collections.abc import Sequence
from pathlib import Path

import fsdet
from fsdet.api.detector import BATCH
from fsdet.api.finetune import finetune
from fsdet.api.predict_dataset import detections
from fsdet.cli import program
from fsdet.data import DetectionData, open_data
from fsdet.data.shots.images import choose
from fsdet.errors import InputError
from fsdet.evaluation.coco import CocoTruth, evaluate
from fsdet.progress import progress


def main() -> None:
    parser = program.Parser(__doc__, "tools/finetune.py RUN --data ROOT --out FILE [options]")
    parser.add_argument("run", metavar="RUN", help="a run folder or a detector.safetensors")
    parser.add_argument("--data", metavar="ROOT", required=True, help="COCO, VOC, YOLO or shapes")
    parser.add_argument("--subset", default="train", help="of the data; default: train")
    parser.add_argument("--names", metavar="A,B", help="categories; default: all of the data")
    parser.add_argument("--shots", type=int, metavar="K", help="boxes of each; default: all")
    parser.add_argument(
        "--steps", type=int, default=0, metavar="N", help="default: 0, register only"
    )
    parser.add_argument("--rate", type=float, default=3e-5, metavar="R", help="default: 3e-5")
    parser.add_argument("--no-flip", action="store_true", help="left and right differ: text, signs")
    parser.add_argument("--seed", type=int, default=0, help="of shots and steps; default: 0")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--old", metavar="ROOT:SUBSET", help="of known categories: says what this costs them"
    )
    parser.add_argument("--out", metavar="FILE", required=True, help="or a folder for it")
    words = parser.parse_args()
    detector = fsdet.load(words.run, words.device)
    data = open_data(words.data, words.subset)
    names = [name.strip() for name in words.names.split(",")] if words.names else data.classes
    shots = choose(data, names, words.shots, words.seed)
    old = known_ones(words.old, detector, shots.classes) if words.old else None
    before = ap50(detector, *old) if old else 0.0
    register = progress("registering")
    detector.remember(register(shots.batches(BATCH), -(-len(shots) // BATCH)))
    print(f"registered {', '.join(shots.classes)}: boxes in {len(shots)} images")
    losses = finetune(
        detector,
        shots,
        words.steps,
        words.rate,
        words.seed,
        flip=not words.no_flip,
        progress=progress("fine-tuning"),
    )
    if losses:
        print(f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} at step {len(losses)}")
    if old:
        after, count = ap50(detector, *old), len(old[1])
        print(
            f"AP50 of {count} known categor{'y' if count == 1 else 'ies'}: {before:.1f} before, {after:.1f} after"
            f" ({after - before:+.1f})"
        )
    print(f"{detector.save(Path(words.out))}: {len(detector.names)} categories")


def known_ones(
    place: str, detector: fsdet.Detector, new: Sequence[str]
) -> tuple[DetectionData, list[str]]:
    """Data, and the categories they show that the detector knows and does not learn here.

    Raises:
        InputError: it is not ROOT:SUBSET, or they show none of them.
    """
    root, _, subset = place.rpartition(":")
    if not root or not subset:
        raise InputError(f"--old: expected ROOT:SUBSET, as in VOC0712:test; got '{place}'")
    data = open_data(root, subset)
    shown = [name for label, name in enumerate(data.classes, 1) if len(data.images_of(label))]
    kept = [name for name in detector.names if name in shown and name not in new]
    if not kept:
        raise InputError(
            f"--old: '{place}' shows no category that the detector knows and does not learn here; it shows"
            f" {', '.join(shown[:12])}"
        )
    return data, kept


def ap50(detector: fsdet.Detector, data: DetectionData, names: Sequence[str]) -> float:
    """The mean AP50 of these categories in percent, among all that the detector knows."""
    found = detections(detector, data, names, progress=progress("looking"))
    return 100 * evaluate(CocoTruth(data, names), *found).numbers["AP50"]


if __name__ == "__main__":
    program.main(main)
