"""Methods that move the detector itself: one for every shot count and seed, trained and scored on its own."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fsdet import config as cfg
from fsdet.config import typed_yaml
from fsdet.data.shots.images import ShotImages
from fsdet.evaluation.candidates import CandidateSet, embed, find
from fsdet.evaluation.coco import CocoTruth
from fsdet.experiment.extraction import candidates_of
from fsdet.experiment.features import test_runs
from fsdet.experiment.few_shot_data import base_objects, novel_shots
from fsdet.experiment.result_cache import asked_of, held, kept
from fsdet.experiment.run_folder import measured
from fsdet.experiment.scoring import Row, judged, rows_after, selection_of
from fsdet.experiment.setup import BaseRun
from fsdet.experiment.stages.novel_finetuning import (
    FineTunedDetector,
    moves_image_side,
    novel_stage,
)
from fsdet.experiment.stages.training import supervised
from fsdet.model.postprocess import Found

Progress = Callable[[Iterable, int], Iterable]
"""Wraps a loop over that many cases, to show how far it is."""


@dataclass(frozen=True)
class PerShotRuns:
    """A detector for every shot count and seed; what is finished is read from the run folder."""

    ready: BaseRun
    method: str
    asked: dict[str, Any]  # all that the numbers hang on but the data, as `asked_of` says it

    @property
    def folder(self) -> Path:
        return self.ready.folder / "stages" / self.method.replace("/", "-")

    @property
    def every(self) -> list[tuple[int, int]]:
        """As (k, seed)."""
        scored = self.ready.config.evaluate
        return [(k, seed) for k in scored.shots for seed in range(scored.seeds)]

    @property
    def missing(self) -> list[tuple[int, int]]:
        """Those that are still to be made."""
        return [case for case in self.every if held(self._place(*case), self._asked(*case)) is None]

    def rows(
        self, make: Callable[[int, int], FineTunedDetector], moves_images: bool, progress: Progress
    ) -> list[Row]:
        """Rows of all of them.

        Args:
            make: the detector of k shots and a seed.
            moves_images: whether test images are looked at again, or what `ready` has seen of them is scored.
        """
        self.folder.mkdir(parents=True, exist_ok=True)

        def score(k: int, seed: int) -> list[Row]:
            start = time.perf_counter()
            tuned = make(k, seed)
            seconds = time.perf_counter() - start
            data, split = self.ready.config.data.root, self.ready.problem.split.name
            about = {"method": self.method, "data": data, "split": split, "shots": k, "seed": seed}
            return _scored(self.ready, tuned, moves_images, about, seconds)

        found = (
            kept(self._place(*case), self._asked(*case), partial(score, *case))
            for case in progress(self.every, len(self.every))
        )
        return [row for rows in found for row in rows]

    def _place(self, k: int, seed: int) -> Path:
        return self.folder / f"{k}shot-seed{seed}.json"

    def _asked(self, k: int, seed: int) -> dict[str, Any]:
        config = self.asked["config"]
        free = ("shots", "seeds", "overlays")  # there are as many cells as are asked for
        evaluate = {key: value for key, value in config["evaluate"].items() if key not in free}
        return self.asked | {"config": config | {"evaluate": evaluate}, "k": k, "seed": seed}


def stage_cases(ready: BaseRun, stage: cfg.Stage) -> PerShotRuns:
    """Those of a novel stage."""
    asked = asked_of(ready.config, stage.head) | {"stage": typed_yaml.as_dict(stage)}
    del asked["config"]["meta"]
    return PerShotRuns(ready, stage.name, asked)


def stage_rows(ready: BaseRun, stage: cfg.Stage, progress: Progress) -> list[Row]:
    """Rows of a novel stage; finished ones are read from the run folder.

    Raises:
        InputError: what `novel_stage` refuses.
    """
    make = partial(novel_stage, ready, stage)
    return stage_cases(ready, stage).rows(make, moves_image_side(stage), progress)


def joint_cases(ready: BaseRun) -> PerShotRuns:
    """Those of joint training."""
    asked = asked_of(ready.config, cfg.Head("cosine"))
    del asked["config"]["meta"]
    return PerShotRuns(ready, "joint", asked)


def joint_rows(ready: BaseRun, progress: Progress) -> list[Row]:
    """Rows of Faster R-CNN trained on all base boxes and the shots together, from the backbone's weights on."""
    problem, config, cases = ready.problem, ready.config, joint_cases(ready)
    classes = problem.split.base + problem.split.novel

    def make(k: int, seed: int) -> FineTunedDetector:
        ids = base_objects(problem) | novel_shots(problem, config.data, k, seed)
        images = ShotImages(problem.train, ids)
        state = cases.folder / f"joint-{k}shot-seed{seed}.state"
        model = supervised(ready.fabric, images, classes, config, state, ready.losses)
        task = {name: value.detach() for name, value in model.head.base_task().items()}
        return FineTunedDetector(ready.fabric.to_device(model.eval()), task, classes)

    return cases.rows(make, True, progress)


def _scored(
    ready: BaseRun, tuned: FineTunedDetector, moves_images: bool, about: Row, seconds: float
) -> list[Row]:
    selection, found, firsts = selection_of(ready.problem, ready.config), [], [0]
    head, task = tuned.model.head.cpu(), {name: value.cpu() for name, value in tuned.task.items()}
    for run in _looked_at(ready, tuned) if moves_images else ready.seen.test:
        found.append(find(head, task, embed(head, run.features), run, selection))
        firsts.append(firsts[-1] + len(run.sizes))
    together = Found.cat(found, firsts[:-1])
    test, split = ready.problem.test, ready.problem.split
    said = judged(together, CocoTruth(test, tuned.classes), test.layout)
    return [measured(row) for row in rows_after(about, said, split, seconds)]


def _looked_at(ready: BaseRun, tuned: FineTunedDetector) -> Iterator[CandidateSet]:
    for images in test_runs(ready.problem, tuned.model, tuned.proposing):
        yield candidates_of(
            ready.fabric, tuned.model, ready.problem.test, images, ready.config.data.workers,
            proposing=tuned.proposing,
        )  # fmt: skip
