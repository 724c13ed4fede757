"""Detectors per shot count and seed: methods that train the detector itself, once for every case."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fsdet import config as cfg
from fsdet.data.shots.images import ShotImages
from fsdet.evaluation.candidates import CandidateSet, embed, find
from fsdet.evaluation.coco import CocoTruth
from fsdet.experiment.base_run import BaseRun
from fsdet.experiment.extraction import extract_candidates, image_shards
from fsdet.experiment.few_shot_data import all_base_objects, novel_shots
from fsdet.experiment.result_cache import cache_key, cached, read_cached
from fsdet.experiment.scoring import (
    Case,
    Evaluation,
    Row,
    evaluate_detections,
    nan_to_none,
    selection_of,
    task_rows,
)
from fsdet.experiment.stages.novel_finetuning import (
    FineTunedDetector,
    changes_image_side,
    fine_tune,
)
from fsdet.experiment.stages.training import base_task, new_model, supervised
from fsdet.model.postprocess import DetectionTable
from fsdet.progress import Progress, duration

logger = logging.getLogger("fsdet")

CreateDetector = Callable[[int, int], FineTunedDetector]
"""The detector of k shots and a seed."""


@dataclass(frozen=True)
class PerShotRuns:
    """A method with a detector for every shot count and seed; finished ones are read from the run folder."""

    base: BaseRun
    method: str
    key: dict[str, Any]  # cache key of all cases

    @property
    def folder(self) -> Path:
        """The folder of cached rows and checkpoints."""
        return self.base.folder / "stages" / self.method

    def rows(
        self, create: CreateDetector, changes_image_side: bool, progress: Progress
    ) -> list[Row]:
        """The rows of all cases.

        Args:
            create: trains or builds the detector of a case.
            changes_image_side: whether the detectors need features of test images of their own; if not, those of
                the base detector are scored.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.base.config.evaluate
        cases = [(k, seed) for k in settings.shots for seed in range(settings.seeds)]
        missing = [case for case in cases if read_cached(*self._file_and_key(case)) is None]
        start = time.perf_counter()
        rows: list[Row] = []
        for case in progress(cases, len(cases)):
            compute = partial(self._rows_of_case, create, changes_image_side, case)
            rows += cached(*self._file_and_key(case), compute)
            if len(missing) > 1 and case == missing[0]:
                seconds = time.perf_counter() - start
                logger.warning(
                    "%s: the first of %d detectors took %s, the other %d take about %s; fewer"
                    " evaluate.shots or evaluate.seeds take less",
                    self.method, len(missing), duration(seconds),
                    len(missing) - 1, duration((len(missing) - 1) * seconds),
                )  # fmt: skip
        return rows

    def _rows_of_case(
        self, create: CreateDetector, changes_image_side: bool, case: Case
    ) -> list[Row]:
        k, seed = case
        start = time.perf_counter()
        detector = create(k, seed)
        seconds = time.perf_counter() - start
        data, split = self.base.config.data.root, self.base.problem.split
        about = {"method": self.method, "data": data, "split": split.name, "shots": k, "seed": seed}
        evaluation = _evaluate(self.base, detector, changes_image_side)
        return [nan_to_none(row) for row in task_rows(about, evaluation, split, seconds)]

    def _file_and_key(self, case: Case) -> tuple[Path, dict[str, Any]]:
        """The file of a case and its cache key, which does not contain the number of cases."""
        k, seed = case
        config = self.key["config"]
        ignored = ("shots", "seeds", "overlays")
        evaluate = {key: value for key, value in config["evaluate"].items() if key not in ignored}
        key = self.key | {"config": config | {"evaluate": evaluate}, "k": k, "seed": seed}
        return self.folder / f"{k}shot-seed{seed}.json", key


def stage_rows(base: BaseRun, stage: cfg.Stage, progress: Progress) -> list[Row]:
    """Rows of a novel stage.

    Raises:
        InputError: the head cannot be fine-tuned, or a training diverged.
    """
    key = cache_key(base.config, stage.head) | {"stage": asdict(stage)}
    del key["config"]["meta"]
    runs = PerShotRuns(base, stage.name, key)
    return runs.rows(partial(fine_tune, base, stage), changes_image_side(stage), progress)


def joint_rows(base: BaseRun, progress: Progress) -> list[Row]:
    """Rows of Faster R-CNN trained on all base boxes and the shots together, from the backbone's weights."""
    key = cache_key(base.config, cfg.Head("cosine"))
    del key["config"]["meta"]
    runs = PerShotRuns(base, "joint", key)
    return runs.rows(partial(_train_jointly, base, runs.folder), True, progress)


def _train_jointly(base: BaseRun, folder: Path, k: int, seed: int) -> FineTunedDetector:
    problem, config = base.problem, base.config
    classes = problem.split.base + problem.split.novel
    ids = all_base_objects(problem) | novel_shots(problem, config.data, k, seed)
    images = ShotImages(problem.train, ids)
    state = folder / f"joint-{k}shot-seed{seed}.state"
    model = supervised(base, new_model(base, len(classes)), images, classes, state)
    base.fabric.to_device(model.eval())
    return FineTunedDetector(model, base_task(model), classes)


def _evaluate(base: BaseRun, detector: FineTunedDetector, changes_image_side: bool) -> Evaluation:
    """Evaluate a detector on the test images."""
    selection, test = selection_of(base.problem, base.config), base.problem.test
    head = detector.model.head.cpu()
    task = {name: value.cpu() for name, value in detector.task.items()}
    shards = _extract_shards(base, detector) if changes_image_side else base.features.test
    detections, offsets = [], [0]
    for candidates in shards:
        embeddings = embed(head, candidates.features)
        detections.append(find(head, task, embeddings, candidates, selection))
        offsets.append(offsets[-1] + len(candidates.sizes))
    joined = DetectionTable.cat(detections, offsets[:-1])
    return evaluate_detections(joined, CocoTruth(test, detector.classes), test.layout)


def _extract_shards(base: BaseRun, detector: FineTunedDetector) -> Iterator[CandidateSet]:
    """The detector's own candidates in test images, a shard at a time."""
    test, workers = base.problem.test, base.config.data.workers
    for images in image_shards(len(test), detector.model, detector.proposing):
        yield extract_candidates(
            base.fabric, detector.model, test, images, workers, proposing=detector.proposing
        )
