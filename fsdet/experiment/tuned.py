"""Methods that move the detector itself: one for every shot count and seed, trained and scored on its own."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fsdet import config as cfg
from fsdet import structured
from fsdet.data.shot_images import ShotImages
from fsdet.engine.evaluate import CandidateSet, embed, find
from fsdet.engine.image_side import BATCH, candidates_of
from fsdet.engine.metrics import CocoTruth
from fsdet.experiment.image_side import test_runs
from fsdet.experiment.kept import asked_of, held, kept
from fsdet.experiment.novel_stage import Tuned, moves_image_side, novel_stage, steps_of
from fsdet.experiment.prepared import Ready
from fsdet.experiment.problem import novel_shots
from fsdet.experiment.record import measured
from fsdet.experiment.score import Row, judged, rows_after, selection_of
from fsdet.experiment.stages import supervised
from fsdet.postprocess import Found

logger = logging.getLogger("fsdet")

Progress = Callable[[Iterable, int], Iterable]
"""Wraps a loop over that many cases, to show how far it is."""

TIMED = 4  # steps that tell what a step costs, after as many that warm up


def stage_rows(ready: Ready, stage: cfg.Stage, progress: Progress) -> list[Row]:
    """Rows of a novel stage; finished ones are read from the run folder.

    Raises:
        InputError: what `novel_stage` refuses.
    """
    asked = asked_of(ready.config, stage.head) | {"stage": structured.as_dict(stage)}
    del asked["config"]["meta"]
    folder = ready.folder / "stages" / stage.name.replace("/", "-")
    make = partial(novel_stage, ready, stage)
    again = moves_image_side(stage)
    return rows_of_cases(
        ready, stage.name, asked, folder, make, again, partial(_say, ready, stage), progress
    )


def joint_rows(ready: Ready, progress: Progress) -> list[Row]:
    """Rows of Faster R-CNN trained on all base boxes and the shots together, from the backbone's weights on."""
    asked = asked_of(ready.config, cfg.Head("cosine"))
    del asked["config"]["meta"]
    problem, config, folder = ready.problem, ready.config, ready.folder / "stages" / "joint"
    train, classes = problem.train, problem.split.base + problem.split.novel

    def make(k: int, seed: int) -> Tuned:
        ids = {
            name: train.ids[(train.labels == label) & ~train.ignore].tolist()
            for name, label in zip(
                problem.split.base, problem.labels(problem.split.base), strict=True
            )
        }
        ids |= novel_shots(problem, config.data, k, seed)
        images, state = ShotImages(train, ids), folder / f"joint-{k}shot-seed{seed}.state"
        model = supervised(ready.fabric, images, classes, config, state, ready.losses)
        task = {name: value.detach() for name, value in model.head.base_task().items()}
        return Tuned(ready.fabric.to_device(model.eval()), task, classes)

    def say(cases: list[tuple[int, int]]) -> None:
        seconds = ready.clock.seconds.get("base training", 0.0)
        logger.warning(
            "joint: %d base trainings%s",
            len(cases),
            f", {hours(len(cases) * seconds)}" if seconds > 60 else "",
        )

    folder.mkdir(parents=True, exist_ok=True)
    return rows_of_cases(ready, "joint", asked, folder, make, True, say, progress)


def rows_of_cases(
    ready: Ready,
    method: str,
    asked: dict[str, Any],
    folder: Path,
    make: Callable[[int, int], Tuned],
    again: bool,
    say: Callable[[list[tuple[int, int]]], None],
    progress: Progress,
) -> list[Row]:
    """Rows of a detector for every shot count and seed; those of a finished one are read from its file.

    Args:
        asked: all that the numbers hang on but the data, as `asked_of` says it.
        folder: of the files.
        make: the detector of k shots and a seed.
        again: whether test images are looked at again, or what `ready` has seen of them is scored.
        say: is told which detectors are to be made, as (k, seed), before the first.
    """
    scored = ready.config.evaluate
    cases = [(k, seed) for k in scored.shots for seed in range(scored.seeds)]
    for key in ("shots", "seeds", "overlays"):
        del asked["config"]["evaluate"][key]  # of which there are as many cells as are asked for
    folder.mkdir(parents=True, exist_ok=True)

    def place(k: int, seed: int) -> Path:
        return folder / f"{k}shot-seed{seed}.json"

    def score(k: int, seed: int) -> list[Row]:
        start = time.perf_counter()
        tuned = make(k, seed)
        seconds = time.perf_counter() - start
        about = {
            "method": method,
            "data": ready.config.data.root,
            "split": ready.problem.split.name,
        }
        return _scored(ready, tuned, again, about | {"shots": k, "seed": seed}, seconds)

    wanted = {(k, seed): asked | {"k": k, "seed": seed} for k, seed in cases}
    if missing := [case for case in cases if held(place(*case), wanted[case]) is None]:
        say(missing)
    found = (
        kept(place(*case), wanted[case], partial(score, *case))
        for case in progress(cases, len(cases))
    )
    return [row for rows in found for row in rows]


def _scored(ready: Ready, tuned: Tuned, again: bool, about: Row, seconds: float) -> list[Row]:
    selection, found, firsts = selection_of(ready.problem, ready.config), [], [0]
    head, task = tuned.model.head.cpu(), {name: value.cpu() for name, value in tuned.task.items()}
    for run in _looked_at(ready, tuned) if again else ready.seen.test:
        found.append(find(head, task, embed(head, run.features), run, selection))
        firsts.append(firsts[-1] + len(run.sizes))
    together = Found.cat(found, firsts[:-1])
    test, split = ready.problem.test, ready.problem.split
    said = judged(together, CocoTruth(test, tuned.classes), test.layout)
    return [measured(row) for row in rows_after(about, said, split, seconds)]


def _looked_at(ready: Ready, tuned: Tuned) -> Iterator[CandidateSet]:
    for images in test_runs(ready.problem, tuned.model, tuned.proposing):
        yield candidates_of(
            ready.fabric, tuned.model, ready.problem.test, images, ready.config.data.workers,
            proposing=tuned.proposing,
        )  # fmt: skip


def seconds_of_test_images(ready: Ready, tuned: Tuned) -> float:
    """What it takes to look at all of them again, from a few."""
    images = next(iter(test_runs(ready.problem, tuned.model, tuned.proposing)))[: 4 * BATCH]
    start = time.perf_counter()
    candidates_of(ready.fabric, tuned.model, ready.problem.test, images, proposing=tuned.proposing)
    seconds = time.perf_counter() - start
    return seconds / max(len(images), 1) * len(ready.problem.test)


def _say(ready: Ready, stage: cfg.Stage, cases: list[tuple[int, int]]) -> None:
    """What a stage will cost, from a few of its steps and some test images."""
    seconds = []
    for steps in (TIMED, 2 * TIMED):
        start, short = time.perf_counter(), replace(stage, steps=steps, steps_a_shot=0)
        tuned = novel_stage(ready, short, *cases[-1])
        seconds.append(time.perf_counter() - start)
    step = max(seconds[1] - seconds[0], 0.0) / TIMED
    looking = seconds_of_test_images(ready, tuned) if moves_image_side(stage) else 0.0
    steps = sum(steps_of(stage, k) for k, _ in cases)
    whole = len(cases) * (seconds[0] - TIMED * step + looking) + steps * step
    logger.warning(
        "%s: %d detectors in %d steps (%.2f s each) and %.0f s of test images for each of them: about %s;"
        " fewer evaluate.shots or evaluate.seeds take less",
        stage.name, len(cases), steps, step, looking, hours(whole),
    )  # fmt: skip


def hours(seconds: float) -> str:
    """A time in words."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(minutes, 1)} min"
