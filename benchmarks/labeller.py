"""Actions of a simulated person who labels photographs in the studio, against one drag a box by hand.

The person knows the true boxes. A drag, a key, a click and a typed name are an action each; looking is none. The
first photographs are drawn by hand. Then, one by one: what is wrong is rejected, what is missing drawn, and Enter
opens the next photograph. Or by the review grid: what is wrong is clicked, one button accepts the rest, as long as
this brings at least three boxes; then the photographs with missing boxes are opened and completed.

example:
  python benchmarks/labeller.py runs/fod-split1 --data fod --names SodaCan,Hammer
"""

import tempfile
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

import fsdet
from fsdet.apps.studio.boxes import iou
from fsdet.apps.studio.project import Box, Labels
from fsdet.apps.studio.store import Store
from fsdet.apps.studio.studio import Studio
from fsdet.cli import program
from fsdet.data import open_data

DRAWN = 2  # boxes of each category that are drawn by hand first
WORTH = 3  # right boxes that a round of the review grid has to bring
Truth = dict[str, list[Box]]  # by key of the photograph


def main() -> None:
    usage = "RUN --data DATA --category NAME [options]"
    parser = program.Parser("benchmarks/labeller.py", usage, __doc__)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--data", required=True, metavar="DATA", help="its subset test is used")
    parser.add_argument("--names", required=True, metavar="A,B", help="categories to label")
    parser.add_argument("--photos", type=int, default=40, help="default: 40")
    parser.add_argument("--least", type=float, default=0.5, help="IoU of a right box; default: 0.5")
    parser.add_argument("--repeats", type=int, default=3, help="draws of photographs; default: 3")
    arguments = parser.parse_args()
    data, detector = open_data(arguments.data, "test"), fsdet.load(arguments.run)
    names = program.split_names(arguments.names, list(data.classes))
    labels = [data.classes.index(name) + 1 for name in names]
    images = np.unique(np.concatenate([data.images_of(label) for label in labels]))
    for seed in range(arguments.repeats):
        rng = np.random.default_rng(seed)
        chosen = rng.choice(images, arguments.photos, replace=False).tolist()
        for way in (by_grid, one_by_one):
            with tempfile.TemporaryDirectory() as name:
                studio, token, truth = opened(data, labels, chosen, detector, Path(name))
                actions = begin(studio, token, truth) + way(studio, token, truth, arguments.least)
                report(way.__name__, seed, actions, studio, token, truth)


def opened(
    data, labels: list[int], chosen: list[int], detector, folder: Path
) -> tuple[Studio, str, Truth]:
    """A session with the photographs, and their true boxes of the category."""
    studio = Studio(Store(folder / "sessions"), detector)
    token, by_name = studio.store.begin(), {}
    for number, i in enumerate(chosen):
        image, target = data[i]
        file = folder / f"{number:03}.png"
        cv2.imwrite(str(file), image[:, :, ::-1])
        rows = zip(target["labels"].tolist(), target["boxes"].tolist(), strict=True)
        by_name[file.name] = [Box(data.classes[n - 1], tuple(b)) for n, b in rows if n in labels]
    studio.add(token, sorted(folder.glob("*.png")))
    photos = studio.store.project(token).photos
    return studio, token, {photo.key: by_name[photo.name] for photo in photos}


def begin(studio: Studio, token: str, truth: Truth) -> int:
    """Draw photographs in order until each category has enough; returns the number of actions."""
    names = {box.category for boxes in truth.values() for box in boxes}
    actions, chosen = len(names), ""  # a category that was just typed is chosen
    for key in truth:
        shots = studio.store.project(token).shots()
        if all(shots.get(name, 0) >= DRAWN for name in names):
            break
        typed = {box.category for box in truth[key]} - set(shots)
        studio.label(token, key, Labels(tuple(truth[key]), complete=True))
        actions += len(truth[key]) + 1  # Enter
        for box in truth[key]:
            actions += box.category not in (chosen, *typed)
            chosen = box.category
    return actions


def drawing(boxes: list[Box], names: set[str]) -> int:
    """Actions to draw boxes: a drag each, and a key for the category where there are several."""
    return len(boxes) * (1 if len(names) == 1 else 2)


def judged(boxes: list[Box], truth: list[Box], least: float) -> tuple[list[Box], list[Box]]:
    """The right ones of found boxes, best first, at most one for each true box, and the boxes that are missing."""
    right, missing = [], list(truth)
    for box in boxes:
        hit = max(missing, key=lambda true: iou(box.corners, true.corners), default=None)
        same = hit is not None and box.category == hit.category
        if same and iou(box.corners, hit.corners) >= least:
            right.append(box)
            missing.remove(hit)
    return right, missing


def one_by_one(studio: Studio, token: str, truth: Truth, least: float) -> int:
    """Correct one photograph after the other; returns the number of actions."""
    actions, names = 0, {box.category for boxes in truth.values() for box in boxes}
    for key in studio.store.project(token).unfinished():
        found = [Box(d.name, d.box) for d in studio.view(token).pending(key)]
        right, missing = judged(found, truth[key], least)
        wrong = tuple(box.corners for box in found if box not in right)
        studio.label(token, key, Labels((*right, *missing), wrong, complete=True))
        actions += len(wrong) + drawing(missing, names) + 1
    return actions


def by_grid(studio: Studio, token: str, truth: Truth, least: float) -> int:
    """Answer rounds of the review grid, then draw what is missing; returns the number of actions."""
    actions, brought = 0, WORTH
    names = {box.category for boxes in truth.values() for box in boxes}
    while brought >= WORTH and (
        found := sorted(studio.view(token).above(0), key=lambda f: f[1].score)
    ):
        project, grid = studio.store.project(token), [(k, Box(d.name, d.box)) for k, d in found]
        right = set()
        for key in truth:
            missing = judged(list(project.of(key).boxes), truth[key], least)[1]
            best_first = [box for photo, box in reversed(grid) if photo == key]
            right |= {(key, box) for box in judged(best_first, missing, least)[0]}
        wrong = [(key, box.corners) for key, box in grid if (key, box) not in right]
        studio.answer(token, [pair for pair in grid if pair in right], wrong)
        clicks = sum(min(len(run), 2) for run in runs([pair not in right for pair in grid]))
        print(
            f"  grid: {len(right)} right, {len(wrong)} wrong, {clicks} clicks on them", flush=True
        )
        brought, actions = len(right), actions + 2 + clicks  # to show the grid, and to answer
    for key in truth:
        labels = studio.store.project(token).of(key)
        missing = judged(list(labels.boxes), truth[key], least)[1]
        if missing:  # the photograph is opened
            studio.label(token, key, Labels((*labels.boxes, *missing), labels.rejected, True))
            actions += 1 + drawing(missing, names)
    return actions


def runs(marks: list[bool]) -> list[list[bool]]:
    """Runs of marked crops: a click marks one, and a click and a Shift-click more."""
    return [list(group) for is_wrong, group in groupby(marks) if is_wrong]


def report(way: str, seed: int, actions: int, studio: Studio, token: str, truth: Truth) -> None:
    project = studio.store.project(token)
    boxes = sum(map(len, truth.values()))
    overlaps = [
        max((iou(true.corners, box.corners) for box in project.of(key).boxes), default=0.0)
        for key, of_it in truth.items()
        for true in of_it
    ]
    print(
        f"{way}, draw {seed}: {actions} actions for {boxes} boxes in {len(truth)} photographs,"
        f" {actions / boxes:.2f} a box; {project.shots()} labelled; IoU with the truth {np.mean(overlaps):.2f},"
        f" at least {min(overlaps):.2f}; {studio.view(token).seconds:.1f} s for the last lesson",
        flush=True,
    )


if __name__ == "__main__":
    program.exit_with(main)
