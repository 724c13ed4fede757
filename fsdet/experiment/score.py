"""Rows of `results.json`: a head over shots and seeds, from what the image side left."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from fsdet import config as cfg
from fsdet.engine.evaluate import embed, find, measure
from fsdet.engine.lvis_metrics import MOST_DETECTIONS
from fsdet.engine.metrics import CocoTruth, Scores
from fsdet.experiment.image_side import Seen, Supports, shots_of
from fsdet.experiment.own_numbers import Numbers, own_numbers
from fsdet.experiment.problem import Problem, novel_shots
from fsdet.heads.base import Head
from fsdet.postprocess import Found, Selection
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
    seen: Seen,
    problem: Problem,
    config: cfg.Config,
    progress: Callable[[Iterable, int], Iterable] = lambda loop, total: loop,
) -> Scored:
    """A row for every (protocol, shots, seed), and one before any novel category is there.

    Protocol "all" reports every category, "novel" drops detections of base categories; images are all of
    the test set in both. A category's AP does not depend on detections of others, so that one evaluation
    gives both. Tasks are independent, and shared among as many threads as there are cores.
    """
    base, novel = problem.split.base, problem.split.novel
    cases = [(k, seed) for k in config.evaluate.shots for seed in range(config.evaluate.seeds)]
    supports = Supports.of(head, seen)

    def learn(case: tuple[int, int] | None) -> tuple[Task, float]:
        support = supports.memory
        if case:
            shots = novel_shots(problem, config.data, *case)
            support = supports.with_shots(shots_of(seen, problem, shots))
        start = time.perf_counter()
        return head.learn(support), time.perf_counter() - start

    with ThreadPoolExecutor(torch.get_num_threads(), "", torch.set_num_threads, (1,)) as pool:
        learned = pool.map(learn, [None, *cases])
        tasks, seconds = zip(*progress(learned, 1 + len(cases)), strict=True)
        most = MOST_DETECTIONS if problem.test.federated else Selection.per_image
        selection, found = Selection(config.evaluate.score, per_image=most), []
        for run in progress(seen.test, len(seen.test.files)):
            embeddings = embed(head, run.features)
            look = partial(find, head, embeddings=embeddings, seen=run, selection=selection)
            found.append(list(pool.map(look, tasks)))
        joined = [Found.cat(parts, seen.test.firsts) for parts in zip(*found, strict=True)]
        known, everything = CocoTruth(problem.test, base), CocoTruth(problem.test, base + novel)
        truths = [known] + [everything] * len(cases)
        scores = list(pool.map(measure, joined, truths))
        own = list(pool.map(partial(own_numbers, layout=problem.test.layout), joined, truths))
    about = {"method": method, "data": config.data.root, "split": problem.split.name}
    first = about | {"shots": 0, "seed": config.seed, "protocol": "all"}
    numbers = [partial(_numbers, *both) for both in zip(scores, own, strict=True)]
    rows = [first | numbers[0](base, base, ()) | {"adapt_seconds": seconds[0]}]
    for (k, seed), of, taken in zip(cases, numbers[1:], seconds[1:], strict=True):
        row, cost = about | {"shots": k, "seed": seed}, {"adapt_seconds": taken}
        rows.append(row | {"protocol": "all"} | of(base + novel, base, novel) | cost)
        rows.append(row | {"protocol": "novel"} | of(novel, (), novel) | cost)
    detections = zip(cases, joined[1:], strict=True)
    first_seed = {k: together for (k, seed), together in detections if seed == 0}
    return Scored(rows, dict(zip(cases, scores[1:], strict=True)), first_seed)


def _numbers(
    scores: Scores, own: Numbers, every: Sequence[str], base: Sequence[str], novel: Sequence[str]
) -> Row:
    """In percent; NaN for what was not measured."""
    numbers: Row = {}
    for prefix, names in (("", every), ("b", base), ("n", novel)):
        for name, value in scores.mean(names)._asdict().items():
            numbers[prefix + name] = 100 * value
    numbers |= own(every, base, novel)
    each = {name: 100 * v for name, v in zip(scores.classes, scores.ap50.tolist(), strict=True)}
    return numbers | {"per_class": {n: each[n] if each[n] == each[n] else None for n in every}}
