"""Scoring: rows of `results.json` for a head over shots and seeds, from cached region features."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch

from fsdet import build
from fsdet import config as cfg
from fsdet.data.shots.splits import FewShotSplit
from fsdet.evaluation.candidates import embed, find
from fsdet.evaluation.coco import CocoTruth, Scores, evaluate
from fsdet.evaluation.detections import DetectionArrays
from fsdet.evaluation.lvis import MOST_DETECTIONS
from fsdet.experiment.dataset_metrics import DatasetMetrics, dataset_metrics
from fsdet.experiment.features import CachedFeatures
from fsdet.experiment.few_shot_data import Problem, novel_shots
from fsdet.experiment.support import EmbeddedSupport, select_shots
from fsdet.heads.base import Head
from fsdet.model.postprocess import DetectionTable, Selection
from fsdet.progress import Progress, silent
from fsdet.types import Task

Row = dict[str, Any]
Case = tuple[int, int]  # shot count and seed


@dataclass(frozen=True)
class ScoredHead:
    """Scores and detections of a head over all shot counts and seeds."""

    rows: list[Row]
    scores: dict[Case, Scores]  # of base and novel categories together
    detections: dict[int, DetectionTable]  # shot count -> detections with the shots of seed 0


def score(
    method: str,
    head: Head,
    features: CachedFeatures,
    problem: Problem,
    config: cfg.Config,
    progress: Progress = silent,
) -> ScoredHead:
    """Score a head: a row for every (protocol, shots, seed), and one for base categories before any shot.

    Protocol "all" reports every category, "novel" drops detections of base categories; both use all test
    images. A category's AP does not depend on detections of other categories, so one evaluation gives both.
    Tasks are independent; they are distributed over as many threads as there are cores.
    """
    base, novel = problem.split.base, problem.split.novel
    cases = [(k, seed) for k in config.evaluate.shots for seed in range(config.evaluate.seeds)]
    tasks_of: list[Case | None] = [*[None] * bool(base), *cases]  # None: base categories alone
    base_truth, truth = CocoTruth(problem.test, base), CocoTruth(problem.test, base + novel)
    truths = [base_truth if case is None else truth for case in tasks_of]
    support, selection = EmbeddedSupport.embed(head, features), selection_of(problem, config)
    with ThreadPoolExecutor(torch.get_num_threads(), "", torch.set_num_threads, (1,)) as pool:
        learned = pool.map(partial(_learn, head, support, problem, config), tasks_of)
        tasks, seconds = zip(*progress(learned, len(tasks_of)), strict=True)
        shards = []
        for candidates in progress(features.test, len(features.test.files)):
            embeddings = embed(head, candidates.features)
            detect = partial(
                find, head, embeddings=embeddings, candidates=candidates, selection=selection
            )
            shards.append(list(pool.map(detect, tasks)))
        detections = [
            DetectionTable.cat(parts, features.test.offsets) for parts in zip(*shards, strict=True)
        ]
        measures = partial(evaluate_detections, layout=problem.test.layout)
        evaluations = list(pool.map(measures, detections, truths))
    about = {"method": method, "data": config.data.root, "split": problem.split.name}
    rows: list[Row] = []
    for case, evaluation, learning in zip(tasks_of, evaluations, seconds, strict=True):
        if case is None:
            rows.append(
                base_row(about | {"seed": config.seed}, evaluation, problem.split, learning)
            )
        else:
            k, seed = case
            row = about | {"shots": k, "seed": seed}
            rows += task_rows(row, evaluation, problem.split, learning)
    scores = zip(tasks_of, evaluations, strict=True)
    first_seed = zip(tasks_of, detections, strict=True)
    return ScoredHead(
        rows,
        {case: evaluation.scores for case, evaluation in scores if case is not None},
        {case[0]: result for case, result in first_seed if case is not None and case[1] == 0},
    )


def _learn(
    head: Head, support: EmbeddedSupport, problem: Problem, config: cfg.Config, case: Case | None
) -> tuple[Task, float]:
    """The task of a case, and the seconds that learning it took."""
    regions = support.memory
    if case is not None:
        shots = novel_shots(problem, config.data, *case)
        regions = support.with_shots(select_shots(support.features, problem, shots))
    start = time.perf_counter()
    return head.learn(regions), time.perf_counter() - start


class Evaluation(NamedTuple):
    """Metrics of detections."""

    scores: Scores  # COCO's
    dataset_metrics: DatasetMetrics  # of the data set's own evaluation


def evaluate_detections(detections: DetectionTable, truth: CocoTruth, layout: str) -> Evaluation:
    """Evaluate detections.

    Args:
        layout: of the test data, as in `DetectionData`.
    """
    arrays = DetectionArrays.of(detections)
    return Evaluation(evaluate(truth, arrays), dataset_metrics(arrays, truth, layout))


def selection_of(problem: Problem, config: cfg.Config) -> Selection:
    """The selection of detections to score: as many per image as the evaluation of the test data takes."""
    most = MOST_DETECTIONS if problem.test.federated else Selection.per_image
    return Selection(config.evaluate.score, per_image=most, voting=build.voting(config.detector))


def base_row(about: Row, evaluation: Evaluation, split: FewShotSplit, seconds: float) -> Row:
    """The row of a detector of base categories alone."""
    row = about | {"shots": 0, "protocol": "all"}
    return row | _metrics(evaluation, split.base, split.base, ()) | {"adapt_seconds": seconds}


def task_rows(about: Row, evaluation: Evaluation, split: FewShotSplit, seconds: float) -> list[Row]:
    """The rows of a task: one for each protocol that its categories allow."""
    base, novel = (
        tuple(name for name in names if name in evaluation.scores.classes)
        for names in (split.base, split.novel)
    )
    protocols = {"all": (base + novel, base), "novel": (novel, ())}
    if not base:
        del protocols["all"]
    return [
        about
        | {"protocol": protocol}
        | _metrics(evaluation, reported, reported_base, novel)
        | {"adapt_seconds": seconds}
        for protocol, (reported, reported_base) in protocols.items()
    ]


def _metrics(
    evaluation: Evaluation, reported: Sequence[str], base: Sequence[str], novel: Sequence[str]
) -> Row:
    """Metrics in percent; NaN where there is nothing to measure."""
    scores, metrics = evaluation.scores, Row()
    for prefix, names in (("", reported), ("b", base), ("n", novel)):
        for name, value in scores.mean(names)._asdict().items():
            metrics[prefix + name] = 100 * value
    metrics |= evaluation.dataset_metrics(reported, base, novel)
    ap50 = {name: 100 * v for name, v in zip(scores.classes, scores.ap50.tolist(), strict=True)}
    return metrics | {"per_class": nan_to_none({name: ap50[name] for name in reported})}


def nan_to_none(row: Row) -> Row:
    """The row with None for NaN, which JSON does not have."""
    return {key: None if value != value else value for key, value in row.items()}
