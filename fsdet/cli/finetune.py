"""Register the categories of an annotated data set; with --steps, fine-tune the head on their shots.

examples:
  fsdet finetune runs/quickstart --data shapes --names gear,tee --shots 5 --out runs/5
  fsdet finetune runs/voc --data my-coco --steps 30 --old VOC0712:test --out runs/mine
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fsdet.cli.program import Parser, add_data, add_device, add_run, split_names
from fsdet.errors import InputError

if TYPE_CHECKING:
    from fsdet.api.detector import Detector
    from fsdet.data import DetectionData

USAGE = "RUN --data ROOT --out FILE [options]"


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add_run(parser)
    add_data(parser)
    add("--subset", default="train", help="default: train")
    add("--names", metavar="A,B", help="categories; default: all of the data set")
    add("--shots", type=int, metavar="K", help="boxes per category; default: all")
    add("--steps", type=int, default=0, metavar="N", help="default: 0, register only")
    add("--rate", type=float, default=3e-5, metavar="R", help="learning rate; default: 3e-5")
    add("--no-flip", action="store_true", help="left and right differ: text, signs")
    add("--seed", type=int, default=0, help="of shots and steps; default: 0")
    add_device(parser)
    add("--old", metavar="ROOT:SUBSET", help="score the old categories here, before and after")
    add("--out", metavar="FILE", required=True, help="detector file, or a folder")


def run(arguments: Namespace) -> None:
    import fsdet
    from fsdet.api.detector import BATCH
    from fsdet.api.finetune import finetune
    from fsdet.data import open_data
    from fsdet.data.shots.images import choose
    from fsdet.progress import progress

    detector = fsdet.load(arguments.run, arguments.device)
    data = open_data(arguments.data, arguments.subset)
    names = split_names(arguments.names, list(data.classes))
    shots = choose(data, names, arguments.shots, arguments.seed)
    old = old_categories(arguments.old, detector, shots.classes) if arguments.old else None
    before = ap50(detector, *old) if old else 0.0
    bar = progress("registering")
    detector.remember(bar(shots.batches(BATCH), -(-len(shots) // BATCH)))
    new = [name for name in shots.classes if name not in detector.kept]
    print(f"registered {', '.join(new) or 'no new category'}: boxes in {len(shots)} images")
    if unchanged := [name for name in shots.classes if name in detector.kept]:
        print(f"known already, unchanged: {', '.join(unchanged)}")
    losses = finetune(
        detector,
        shots,
        arguments.steps,
        arguments.rate,
        arguments.seed,
        flip=not arguments.no_flip,
        progress=progress("fine-tuning"),
    )
    if losses:
        print(f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} at step {len(losses)}")
    if old:
        after, count = ap50(detector, *old), len(old[1])
        print(
            f"AP50 of {count} old categor{'y' if count == 1 else 'ies'}: {before:.1f} before,"
            f" {after:.1f} after ({after - before:+.1f})"
        )
    print(f"{detector.save(Path(arguments.out))}: {len(detector.names)} categories")


def old_categories(
    address: str, detector: "Detector", new: Sequence[str]
) -> "tuple[DetectionData, list[str]]":
    """A data set, and its categories that the detector has and that are not in `new`.

    Args:
        address: ROOT:SUBSET.

    Raises:
        InputError: `address` has another form, or the data set has no such category.
    """
    from fsdet.data import open_data

    root, _, subset = address.rpartition(":")
    if not root or not subset:
        raise InputError(f"--old: expected ROOT:SUBSET, as in VOC0712:test; got '{address}'")
    data = open_data(root, subset)
    shown = [name for label, name in enumerate(data.classes, 1) if len(data.images_of(label))]
    names = [name for name in detector.names if name in shown and name not in new]
    if not names:
        raise InputError(
            f"--old: '{address}' shows no old category of the detector, only {', '.join(shown[:12])}"
        )
    return data, names


def ap50(detector: "Detector", data: "DetectionData", names: Sequence[str]) -> float:
    """Mean AP50 of these categories in percent, where all categories of the detector compete."""
    from fsdet.api.predict_dataset import detections
    from fsdet.evaluation.coco import CocoTruth, evaluate
    from fsdet.progress import progress

    arrays = detections(detector, data, names, progress=progress("detecting"))
    return 100 * evaluate(CocoTruth(data, names), arrays).numbers["AP50"]
