"""Levels of fine-tuning, compared on photographs that are left out in turn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from fsdet.api.detector import BATCH, Detector
from fsdet.api.finetune import finetune
from fsdet.api.moving import Moving, move
from fsdet.api.predict_dataset import detections
from fsdet.data.dataset import DetectionData
from fsdet.data.shots.images import ShotImages
from fsdet.errors import InputError
from fsdet.evaluation.coco import CocoTruth, evaluate
from fsdet.evaluation.detections import DetectionArrays
from fsdet.progress import Progress, silent

Level = Literal["register", "head", "detector", "all"]
LEVELS: tuple[Level, ...] = ("register", "head", "detector", "all")  # from cheap to costly
FOLDS = 3
MANY, MOST_LEFT_OUT = (
    60,
    100,
)  # from so many photographs on, a quarter is left out once, at most so many
WORTH = 1.0  # points of AP50 that a costlier level must bring


class Choice(NamedTuple):
    """A level and its number of steps."""

    level: Level
    steps: int  # 0: register


@dataclass(frozen=True)
class Estimate:
    """How good a choice is, by photographs that it has not seen."""

    choice: Choice
    ap50: float  # percent, over all photographs that were left out
    gain: float  # over registering
    interval: float  # half width of the gain's 95% interval, by the jackknife over photographs


def adapt(
    detector: Detector,
    shots: ShotImages,
    choice: Choice,
    seed: int = 0,
    flip: bool = True,
    watch: Callable[[int, Callable[[], Detector]], None] = lambda done, adapted: None,
) -> Detector:
    """A detector that learned the shots as chosen; the given one is not changed.

    Levels: `register` adds regions to the memory; `head` also fine-tunes the head on episodes of them (`finetune`);
    `detector` trains pyramid, proposals and box head; `all` trains the backbone's last stage too (`move`).

    Args:
        watch: of `move`.

    Raises:
        InputError: as `finetune` and `move`, or an unknown level.
    """
    level, steps = choice
    if level not in LEVELS:
        raise InputError(f"level: expected one of {', '.join(LEVELS)}; got '{level}'")
    if level in ("detector", "all"):
        return move(detector, shots, Moving(level, steps, seed=seed, flip=flip), watch)
    adapted = detector.copy()
    adapted.remember(shots.batches(BATCH))
    if level == "head":
        finetune(adapted, shots, steps, seed=seed, flip=flip)
    return adapted


def estimates(
    detector: Detector,
    shots: ShotImages,
    most: Mapping[Level, int],
    seed: int = 0,
    flip: bool = True,
    progress: Progress = silent,
) -> list[Estimate]:
    """Estimate registering, and every level in `most` at the best of several numbers of steps.

    Photographs are left out in turn, in up to `FOLDS` parts; where there are `MANY`, a quarter is left out once.
    A training that moves the detector is scored at a quarter, at half and at all of its steps.

    Args:
        most: level -> its largest number of steps.
        progress: wraps a loop over trainings.

    Raises:
        InputError: fewer than two photographs.
    """
    parts = folds(len(shots), seed)
    truth = shots.truth().subset(np.concatenate(parts))
    found: dict[Choice, list[DetectionArrays]] = {}
    trainings = [(n, level, steps) for n in range(len(parts)) for level, steps in most.items()]
    for n, level, steps in progress(trainings, len(trainings)):
        first = sum(map(len, parts[:n]))
        others = shots.only(np.setdiff1d(np.arange(len(shots)), parts[n]))
        left_out = truth.subset(np.arange(first, first + len(parts[n])))

        def score(choice: Choice, adapted: Detector, first=first, left_out=left_out) -> None:
            arrays = detections(adapted, left_out, shots.classes)
            moved = DetectionArrays(
                arrays.image_index + first, arrays.labels, arrays.scores, arrays.boxes
            )
            found.setdefault(choice, []).append(moved)

        _score_level(detector, others, Choice(level, steps), seed, flip, score)
    return _best_of_each(truth, shots.classes, found)


def _score_level(
    detector: Detector,
    shots: ShotImages,
    choice: Choice,
    seed: int,
    flip: bool,
    score: Callable[[Choice, Detector], None],
) -> None:
    """Train once, and score the detector at several numbers of steps if it moves."""
    level, steps = choice
    moves = level in ("detector", "all")
    early = {steps // 4, steps // 2} - {0} if moves else set()

    def watch(done: int, adapted: Callable[[], Detector]) -> None:
        if done in early:
            score(Choice(level, done), adapted())

    score(choice, adapt(detector, shots, choice, seed, flip, watch))


def folds(images: int, seed: int) -> list[np.ndarray]:
    """Positions of the photographs that are left out, part by part.

    Raises:
        InputError: fewer than two photographs.
    """
    if images < 2:
        raise InputError(f"leaving photographs out: expected at least two, got {images}")
    order = np.random.default_rng(seed).permutation(images)
    if images >= MANY:
        return [np.sort(order[: min(images // 4, MOST_LEFT_OUT)])]
    return [np.sort(part) for part in np.array_split(order, min(FOLDS, images))]


def best(candidates: list[Estimate]) -> Estimate:
    """The best of the estimates, cheap levels first; a costlier one must bring `WORTH` points more."""
    chosen = candidates[0]
    for candidate in candidates[1:]:
        if candidate.ap50 >= chosen.ap50 + WORTH:
            chosen = candidate
    return chosen


def _best_of_each(
    truth: DetectionData, names: tuple[str, ...], found: dict[Choice, list[DetectionArrays]]
) -> list[Estimate]:
    joined = {choice: _joined(parts) for choice, parts in found.items()}
    scores = {choice: ap50(truth, names, arrays) for choice, arrays in joined.items()}
    register = Choice("register", 0)
    jackknife = {register: _without_each(truth, names, joined[register])}
    result = []
    for level in LEVELS:
        choices = [choice for choice in scores if choice.level == level]
        if not choices:
            continue
        choice = max(choices, key=lambda c: scores[c])
        if choice not in jackknife:
            jackknife[choice] = _without_each(truth, names, joined[choice])
        differences = jackknife[choice] - jackknife[register]
        differences = differences[~np.isnan(differences)]  # NaN: no box was left
        n = max(len(differences), 1)
        error = np.sqrt((n - 1) / n * ((differences - differences.mean()) ** 2).sum())
        gain = scores[choice] - scores[register]
        result.append(Estimate(choice, scores[choice], gain, float(1.96 * error)))
    return result


def _joined(parts: list[DetectionArrays]) -> DetectionArrays:
    columns = ([vars(part)[name] for part in parts] for name in vars(parts[0]))
    return DetectionArrays(*map(np.concatenate, columns))


def ap50(truth: DetectionData, names: tuple[str, ...], found: DetectionArrays) -> float:
    """Mean AP50 of the categories in percent."""
    return 100 * evaluate(CocoTruth(truth, names), found).numbers["AP50"]


def _without_each(
    truth: DetectionData, names: tuple[str, ...], found: DetectionArrays
) -> np.ndarray:
    """[I] AP50 without each of the photographs."""
    values = []
    for image in range(len(truth)):
        kept = np.delete(np.arange(len(truth)), image)
        rows = found[found.image_index != image]
        index = rows.image_index - (rows.image_index > image)
        others = DetectionArrays(index, rows.labels, rows.scores, rows.boxes)
        values.append(ap50(truth.subset(kept), names, others))
    return np.array(values)
