"""Teach a detector the categories of an annotated data set, and save it.

--level register: stored regions only. head: train the head. detector: train proposals and box head
too. all: and the last stage of the backbone. auto: compare them on left-out photographs.
example: fsdet finetune runs/quickstart --data my-data --names gear,tee --out runs/mine
"""

import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fsdet.cli.advice import advised
from fsdet.cli.program import (
    MOST_SEED,
    Parser,
    add_data,
    add_device,
    add_run,
    check_output,
    check_range,
    split_names,
)
from fsdet.errors import InputError

if TYPE_CHECKING:
    from fsdet.api.detector import Detector
    from fsdet.api.levels import Choice, Level
    from fsdet.data import DetectionData
    from fsdet.data.shots.images import ShotImages

USAGE = "RUN --data ROOT --out FILE [options]"
HEAD_STEPS = 30
MOVE_STEPS, MOST_STEPS, EPOCHS = (
    100,
    2000,
    10,
)  # by default at least, at most, and of all photographs


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add_run(parser)
    add_data(parser)
    add("--subset", default="train", help="default: train")
    add("--names", metavar="A,B", help="default: all categories of the data set")
    add("--shots", type=int, metavar="K", help="boxes per category; default: all")
    add("--level", metavar="L", default="auto", help="auto, register, head, detector or all")
    add("--steps", type=int, metavar="N", help="training steps at most; 0: register only")
    add("--no-flip", action="store_true", help="left and right differ: text, signs")
    add("--seed", type=int, default=0, help="of shots and training; default: 0")
    add_device(parser)
    add("--old", metavar="ROOT:SUBSET", help="score the old categories here, before and after")
    add("--out", metavar="FILE", required=True, help="detector file, or a folder")


def run(arguments: Namespace) -> None:
    import fsdet
    from fsdet.api import detector_file
    from fsdet.api.levels import LEVELS, adapt
    from fsdet.data import open_data
    from fsdet.data.shots.images import choose

    check_range(0, 1_000_000, steps=arguments.steps or 0)
    if arguments.level not in ("auto", *LEVELS):
        raise InputError(f"--level: expected auto, {', '.join(LEVELS)}; got '{arguments.level}'")
    check_range(0, MOST_SEED, seed=arguments.seed)
    check_output("--out", detector_file.save_path(arguments.out))
    detector = advised(fsdet.load(arguments.run, arguments.device), arguments.device)
    data = open_data(arguments.data, arguments.subset)
    shots = choose(
        data,
        split_names(arguments.names, list(data.classes)) if arguments.names else with_boxes(data),
        arguments.shots,
        arguments.seed,
    )
    old = old_categories(arguments.old, detector, shots.classes) if arguments.old else None
    before = ap50(detector, *old) if old else 0.0
    choice = chosen(detector, shots, arguments)
    start = time.perf_counter()
    adapted = adapt(detector, shots, choice, arguments.seed, not arguments.no_flip)
    done = f"{choice.level}, {choice.steps} steps" if choice.steps else "registered"
    new = [name for name in shots.classes if name not in detector.kept]
    print(
        f"{done} in {time.perf_counter() - start:.1f} s: {', '.join(new) or 'no new category'};"
        f" boxes in {len(shots)} photographs"
    )
    if unchanged := [name for name in shots.classes if name in detector.kept]:
        print(f"known already, unchanged: {', '.join(unchanged)}")
    if old:
        after, count = ap50(adapted, *old), len(old[1])
        print(
            f"AP50 of {count} old categor{'y' if count == 1 else 'ies'}: {before:.1f} before,"
            f" {after:.1f} after ({after - before:+.1f})"
        )
    print(f"{adapted.save(Path(arguments.out))}: {len(adapted.names)} categories")


def with_boxes(data: "DetectionData") -> list[str]:
    """The categories that have boxes; the others, leftovers of labelling, are named."""
    counts = data.box_counts()
    if without := [name for name, count in counts.items() if not count]:
        print(f"without a box, left out: {', '.join(without)}")
    return [name for name, count in counts.items() if count]


def chosen(detector: "Detector", shots: "ShotImages", arguments: Namespace) -> "Choice":
    """The level that the user asked for, or the best one by photographs that are left out."""
    from fsdet.api.levels import MANY, Choice, best, estimates
    from fsdet.progress import progress

    if arguments.steps == 0 or arguments.level == "register":
        return Choice("register", 0)
    most = largest_steps(len(shots), arguments.steps)
    if arguments.level != "auto":
        return Choice(arguments.level, most[arguments.level])
    if detector.kept:
        print(
            "level register: the others would change the layers that the imported categories rest on"
            " (`fsdet import --drop-known` gives these up)"
        )
        return Choice("register", 0)
    if len(shots) < 2:
        print("level register: one photograph, none to leave out")
        return Choice("register", 0)
    if len(shots) < MANY:
        del most["all"]  # a few photographs teach a backbone nothing that holds on others
    print(f"comparing levels on photographs that are left out; {forecast(detector, shots, most)}")
    compared = estimates(
        detector, shots, most, arguments.seed, not arguments.no_flip, progress("comparing levels")
    )
    print(f"{'level':<10}{'steps':>6}{'AP50':>7}   against register")
    for estimate in compared:
        level, steps = estimate.choice
        gain = f"{estimate.gain:+.1f} ± {estimate.interval:.1f}" if steps else ""
        print(f"{level:<10}{steps:>6}{estimate.ap50:>7.1f}   {gain}")
    return best(compared).choice


def largest_steps(photographs: int, steps: int | None) -> "dict[Level, int]":
    """The largest number of steps of each level that `auto` compares."""
    from fsdet.api.moving import Moving

    epochs = EPOCHS * photographs // Moving().batch
    moving = steps or min(max(epochs, MOVE_STEPS), MOST_STEPS)
    return {"register": 0, "head": steps or HEAD_STEPS, "detector": moving, "all": moving}


def forecast(detector: "Detector", shots: "ShotImages", most: "dict[Level, int]") -> str:
    """Expected time of the comparison and the final training, from the measured time of one photograph."""
    from fsdet.api.levels import folds
    from fsdet.api.moving import Moving
    from fsdet.progress import duration

    image = shots[0][0]
    detector.candidates([image])  # the first pass is slower
    start = time.perf_counter()
    detector.candidates([image])
    seconds = time.perf_counter() - start
    # Forward and backward take some three times a forward pass; a score passes the photographs three times.
    training = 3.5 * seconds * Moving().batch * (most["detector"] + most.get("all", 0))
    scores = 18 * seconds * len(shots)
    parts = len(folds(len(shots), 0))
    return f"{parts} parts, about {duration(parts * (training + scores) + training / 2)}"


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
