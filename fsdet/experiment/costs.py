"""What methods that move the detector itself will take, measured before they start."""

import copy
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from fsdet import config as cfg
from fsdet.data.loading.stream import BATCH
from fsdet.experiment.extraction import candidates_of
from fsdet.experiment.features import test_runs
from fsdet.experiment.run_folder import Log, Losses
from fsdet.experiment.setup import BaseRun
from fsdet.experiment.stages.novel_finetuning import moves_image_side, novel_stage, steps_of
from fsdet.experiment.stages.per_shot_detectors import joint_cases, stage_cases
from fsdet.experiment.stages.training import base_training, end_to_end
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.model.rpn import ProposalGenerator
from fsdet.training.checkpoint import steps_done

logger = logging.getLogger("fsdet")

TIMED = 6  # steps that tell what a step costs


def announce(ready: BaseRun) -> None:
    """Say it of every novel stage, of joint training and of episodes of images, and of all of them together.

    A few steps of each are taken on the way, and a few test images looked at. What is finished costs nothing.
    """
    config, all_seconds = ready.config, []
    for stage in config.stages:
        if missing := stage_cases(ready, stage).missing:
            all_seconds.append(_stage(ready, stage, missing))
    if config.joint and (missing := joint_cases(ready).missing):
        all_seconds.append(_joint(ready, missing))
    if config.meta.end_to_end:
        left = config.meta.end_to_end - steps_done(end_to_end_state(ready))
        all_seconds += [_end_to_end(ready, left)] if left > 0 else []
    if len(all_seconds) > 1:
        logger.warning("these together: about %s", hours(sum(all_seconds)))


def end_to_end_state(ready: BaseRun) -> Path:
    """The checkpoint of the episodes of images."""
    return ready.folder / f"{ready.config.head.label}-e2e.state"


def seconds_of_test_images(
    ready: BaseRun, model: FewShotRCNN, proposing: ProposalGenerator | None = None
) -> float:
    """What it takes to look at all of them again, from a few."""
    images = next(iter(test_runs(ready.problem, model, proposing)))[: 4 * BATCH]
    start = time.perf_counter()
    candidates_of(ready.fabric, model, ready.problem.test, images, proposing=proposing)
    seconds = time.perf_counter() - start
    return seconds / max(len(images), 1) * len(ready.problem.test)


def hours(seconds: float) -> str:
    """A time in words."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(minutes, 1)} min"


class _Watch(Losses):
    """In the place of the losses: when each step ended."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def log(self, step: int, values: dict[str, float]) -> None:
        self.moments.append(time.perf_counter())

    @contextmanager
    def of(self, stage: str, steps: int) -> Iterator[Log]:
        yield self.log


def _stage(ready: BaseRun, stage: cfg.Stage, missing: list[tuple[int, int]]) -> float:
    short = replace(stage, steps=TIMED, steps_a_shot=0, alone=1)

    def some(watch: _Watch) -> None:
        novel_stage(ready, short, *missing[-1], log=watch.log)

    first, step = _timed(some)
    looking = seconds_of_test_images(ready, ready.model) if moves_image_side(stage) else 0.0
    alone = stage.alone if stage.start == "novel" else 0
    steps = sum(alone + steps_of(stage, k) for k, _ in missing)
    seconds = len(missing) * (first + looking) + steps * step
    logger.warning(
        "%s: %d detectors in %d steps (%.2f s each) and %.0f s of test images for each of them: about %s;"
        " fewer evaluate.shots or evaluate.seeds take less",
        stage.name, len(missing), steps, step, looking, hours(seconds),
    )  # fmt: skip
    return seconds


def _joint(ready: BaseRun, missing: list[tuple[int, int]]) -> float:
    config, count = ready.config, len(missing)
    short = replace(config, train=replace(config.train, steps=TIMED))

    def some(watch: _Watch) -> None:
        with TemporaryDirectory() as folder:
            base_training(ready.fabric, ready.problem, short, Path(folder), watch)

    first, step = _timed(some)
    looking = seconds_of_test_images(ready, ready.model)
    seconds = count * (first + config.train.steps * step + looking)
    logger.warning(
        "joint: %d base trainings of %d steps (%.2f s each): about %s; fewer evaluate.shots or evaluate.seeds"
        " take less", count, config.train.steps, step, hours(seconds),
    )  # fmt: skip
    return seconds


def _end_to_end(ready: BaseRun, steps: int) -> float:
    config, name = ready.config, end_to_end_state(ready).stem
    short = replace(config, meta=replace(config.meta, end_to_end=TIMED))

    def some(watch: _Watch) -> None:
        with TemporaryDirectory() as folder:
            model = copy.deepcopy(ready.model)
            model.head = ready.head(config.head).to(ready.fabric.device)
            end_to_end(ready.fabric, name, model, ready.problem, short, Path(folder), watch)

    first, step = _timed(some)
    seconds = first + steps * step
    logger.warning(
        "%s: %d steps of %d episodes of images (%.2f s each): about %s",
        name, steps, config.meta.batch, step, hours(seconds),
    )  # fmt: skip
    return seconds


def _timed(run: Callable[[_Watch], None]) -> tuple[float, float]:
    """Seconds of what is not steps, the first one's start included; and of a step, the median of some."""
    watch, start = _Watch(), time.perf_counter()
    run(watch)
    whole = time.perf_counter() - start
    step = float(np.median(np.diff(watch.moments)))
    return max(whole - TIMED * step, 0.0), step
