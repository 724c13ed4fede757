"""Rows of `results.json`: a head over shots and seeds, from what the image side left."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch

from fsdet import config as cfg
from fsdet.data.shots.splits import FewShotSplit
from fsdet.evaluation.candidates import embed, find, measure
from fsdet.evaluation.coco import CocoTruth, Scores
from fsdet.evaluation.lvis import MOST_DETECTIONS
from fsdet.experiment.dataset_metrics import Numbers, own_numbers
from fsdet.experiment.features import CachedFeatures, EmbeddedSupport, shots_of
from fsdet.experiment.few_shot_data import Problem, novel_shots
from fsdet.heads.base import Head
from fsdet.model.postprocess import Found, Selection
from fsdet.types import Task

Row = dict[str, Any]


@dataclass(frozen=True)
class Scored:
    """A head over all shot counts and seeds."""

    rows: list[Row]
    scores: dict[tuple[int, int], Scores]  # (shots, seed) -> of base and novel categories together
    found: dict[int, Found]  # shots -> detections with those of the first seed


def score(
    method: str,
    head: Head,
    seen: CachedFeatures,
    problem: Problem,
    config: cfg.Config,
    progress: Callable[[Iterable, int], Iterable] = lambda loop, total: loop,
) -> Scored:
    """A row for every (protocol, shots, seed), and one before any novel category is there, if base ones are.

    Protocol "all" reports every category, "novel" drops detections of base categories; images are all of
    the test set in both. A category's AP does not depend on detections of others, so that one evaluation
    gives both. Tasks are independent, and shared among as many threads as there are cores.
    """
    base, novel = problem.split.base, problem.split.novel
    cases = [(k, seed) for k in config.evaluate.shots for seed in range(config.evaluate.seeds)]
    supports = EmbeddedSupport.of(head, seen)
    known, everything = CocoTruth(problem.test, base), CocoTruth(problem.test, base + novel)
    asked = [(None, known)] * bool(base) + [(case, everything) for case in cases]

    def learn(one: tuple[tuple[int, int] | None, CocoTruth]) -> tuple[Task, float]:
        support, case = supports.memory, one[0]
        if case:
            shots = novel_shots(problem, config.data, *case)
            support = supports.with_shots(shots_of(seen, problem, shots))
        start = time.perf_counter()
        return head.learn(support), time.perf_counter() - start

    with ThreadPoolExecutor(torch.get_num_threads(), "", torch.set_num_threads, (1,)) as pool:
        learned = pool.map(learn, asked)
        tasks, seconds = zip(*progress(learned, len(asked)), strict=True)
        selection, found = selection_of(problem, config), []
        for run in progress(seen.test, len(seen.test.files)):
            embeddings = embed(head, run.features)
            look = partial(find, head, embeddings=embeddings, seen=run, selection=selection)
            found.append(list(pool.map(look, tasks)))
        joined = [Found.cat(parts, seen.test.firsts) for parts in zip(*found, strict=True)]
        truths = [truth for _, truth in asked]
        made = list(pool.map(partial(judged, layout=problem.test.layout), joined, truths))
    about = {"method": method, "data": config.data.root, "split": problem.split.name}
    rows, of_case, first_seed = [], {}, {}
    for (case, _), numbers, taken, together in zip(asked, made, seconds, joined, strict=True):
        if case is None:
            rows.append(row_before(about | {"seed": config.seed}, numbers, problem.split, taken))
            continue
        k, seed = case
        rows += rows_after(about | {"shots": k, "seed": seed}, numbers, problem.split, taken)
        of_case[case] = numbers.scores
        if seed == 0:
            first_seed[k] = together
    return Scored(rows, of_case, first_seed)


class Judged(NamedTuple):
    """What evaluations say of detections."""

    scores: Scores  # COCO's
    own: Numbers  # that of the data set


def judged(found: Found, truth: CocoTruth, layout: str) -> Judged:
    """Detections against the truth of data in a layout, as `DetectionData` has it."""
    return Judged(measure(found, truth), own_numbers(found, truth, layout))


def selection_of(problem: Problem, config: cfg.Config) -> Selection:
    """Which predictions are scored: as many of an image as the evaluation of the test data takes."""
    most = MOST_DETECTIONS if problem.test.federated else Selection.per_image
    return Selection(config.evaluate.score, per_image=most)


def row_before(about: Row, said: Judged, split: FewShotSplit, seconds: float) -> Row:
    """The row of a detector that knows base categories alone."""
    row = about | {"shots": 0, "protocol": "all"}
    return row | _numbers(said, split.base, split.base, ()) | {"adapt_seconds": seconds}


def rows_after(about: Row, said: Judged, split: FewShotSplit, seconds: float) -> list[Row]:
    """The rows of a task, one for each protocol that its categories allow."""
    base, novel = (
        tuple(name for name in names if name in said.scores.classes)
        for names in (split.base, split.novel)
    )
    spaces = {"all": (base + novel, base), "novel": (novel, ())}
    if not base:
        del spaces["all"]
    return [
        about
        | {"protocol": protocol}
        | _numbers(said, every, known, novel)
        | {"adapt_seconds": seconds}
        for protocol, (every, known) in spaces.items()
    ]


def _numbers(said: Judged, every: Sequence[str], base: Sequence[str], novel: Sequence[str]) -> Row:
    """In percent; NaN for what was not measured."""
    scores, numbers = said.scores, Row()
    for prefix, names in (("", every), ("b", base), ("n", novel)):
        for name, value in scores.mean(names)._asdict().items():
            numbers[prefix + name] = 100 * value
    numbers |= said.own(every, base, novel)
    each = {name: 100 * v for name, v in zip(scores.classes, scores.ap50.tolist(), strict=True)}
    return numbers | {"per_class": {n: each[n] if each[n] == each[n] else None for n in every}}
