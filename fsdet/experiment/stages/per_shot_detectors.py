"""Detectors per shot count and seed: methods that move the detector itself, each trained and scored alone."""

import logging
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
from fsdet.experiment.result_cache import cache_key, cached, read_cached
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

logger = logging.getLogger("fsdet")

Progress = Callable[[Iterable, int], Iterable]
"""Wraps a loop over that many cases with a progress bar."""


@dataclass(frozen=True)
class PerShotRuns:
    """A detector for every shot count and seed; finished ones are read from the run folder."""

    ready: BaseRun
    method: str
    key: dict[str, Any]  # of all cases, by `cache_key`

    @property
    def folder(self) -> Path:
        return self.ready.folder / "stages" / self.method.replace("/", "-")

    @property
    def cases(self) -> list[tuple[int, int]]:
        """Pairs of shot count and seed."""
        scored = self.ready.config.evaluate
        return [(k, seed) for k in scored.shots for seed in range(scored.seeds)]

    @property
    def missing(self) -> list[tuple[int, int]]:
        """The cases that are not in the cache."""
        return [case for case in self.cases if read_cached(*self._file_and_key(*case)) is None]

    def rows(
        self, make: Callable[[int, int], FineTunedDetector], moves_images: bool, progress: Progress
    ) -> list[Row]:
        """Rows of all of them.

        Args:
            make: the detector of k shots and a seed.
            moves_images: whether test images are looked at again, or what `ready` has seen of them is scored.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        num_missing, start = len(self.missing), time.perf_counter()
        num_made = 0

        def score(k: int, seed: int) -> list[Row]:
            nonlocal num_made
            begin = time.perf_counter()
            detector = make(k, seed)
            seconds = time.perf_counter() - begin
            data, split = self.ready.config.data.root, self.ready.problem.split.name
            row = {"method": self.method, "data": data, "split": split, "shots": k, "seed": seed}
            rows = _scored(self.ready, detector, moves_images, row, seconds)
            num_made += 1
            if num_made == 1 < num_missing:
                each = time.perf_counter() - start
                logger.warning(
                    "%s: the first of %d detectors took %s, all of them take about %s; fewer"
                    " evaluate.shots or evaluate.seeds take less",
                    self.method, num_missing, duration(each), duration(num_missing * each),
                )  # fmt: skip
            return rows

        results = (
            cached(*self._file_and_key(*case), partial(score, *case))
            for case in progress(self.cases, len(self.cases))
        )
        return [row for rows in results for row in rows]

    def _file_and_key(self, k: int, seed: int) -> tuple[Path, dict[str, Any]]:
        """The cached rows of a case and their key, which leaves out how many other cases there are."""
        config = self.key["config"]
        ignored = ("shots", "seeds", "overlays")
        evaluate = {key: value for key, value in config["evaluate"].items() if key not in ignored}
        key = self.key | {"config": config | {"evaluate": evaluate}, "k": k, "seed": seed}
        return self.folder / f"{k}shot-seed{seed}.json", key


def duration(seconds: float) -> str:
    """Seconds as text: "40 s", "3 min", "2 h 5 min"."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def stage_cases(ready: BaseRun, stage: cfg.Stage) -> PerShotRuns:
    """Those of a novel stage."""
    key = cache_key(ready.config, stage.head) | {"stage": typed_yaml.as_dict(stage)}
    del key["config"]["meta"]
    return PerShotRuns(ready, stage.name, key)


def stage_rows(ready: BaseRun, stage: cfg.Stage, progress: Progress) -> list[Row]:
    """Rows of a novel stage; finished ones are read from the run folder.

    Raises:
        InputError: what `novel_stage` refuses.
    """
    make = partial(novel_stage, ready, stage)
    return stage_cases(ready, stage).rows(make, moves_image_side(stage), progress)


def joint_cases(ready: BaseRun) -> PerShotRuns:
    """Those of joint training."""
    key = cache_key(ready.config, cfg.Head("cosine"))
    del key["config"]["meta"]
    return PerShotRuns(ready, "joint", key)


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
