"""Rows of `results.json`: a head over shots and seeds, from what the image side left."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fsdet import config as cfg
from fsdet.engine.evaluate import embed, find, measure
from fsdet.engine.metrics import CocoTruth, Scores
from fsdet.experiment.image_side import Seen, Supports, shots_of
from fsdet.experiment.problem import Problem, novel_shots
from fsdet.heads.base import Head
from fsdet.postprocess import Selection
from fsdet.types import Support

Row = dict[str, Any]


def score(
    method: str,
    head: Head,
    seen: Seen,
    problem: Problem,
    config: cfg.Config,
    progress: Callable[[Iterable, int], Iterable] = lambda loop, total: loop,
) -> list[Row]:
    """A row for every (protocol, shots, seed), and one before any novel category is there.

    Protocol "all" reports every category, "novel" drops detections of base categories; images are all of
    the test set in both. A category's AP does not depend on detections of others, so that one evaluation
    gives both.
    """
    base, novel = problem.split.base, problem.split.novel
    selection = Selection(score=config.evaluate.score)
    everything = CocoTruth(problem.test, base + novel)
    embeddings, supports = embed(head, seen.test.features), Supports.of(head, seen)

    def scored(support: Support, truth: CocoTruth) -> tuple[Scores, float]:
        start = time.perf_counter()
        task = head.learn(support)
        seconds = time.perf_counter() - start
        return measure(find(head, task, embeddings, seen.test, selection), truth), seconds

    about = {"method": method, "data": config.data.root, "split": problem.split.name}
    scores, seconds = scored(supports.memory, CocoTruth(problem.test, base))
    first = about | {"shots": 0, "seed": config.seed, "protocol": "all"}
    rows = [first | _numbers(scores, base, base, ()) | {"adapt_seconds": seconds}]
    cases = [(k, seed) for k in config.evaluate.shots for seed in range(config.evaluate.seeds)]
    for k, seed in progress(cases, len(cases)):
        index = shots_of(seen, problem, novel_shots(problem, config.data, k, seed))
        scores, seconds = scored(supports.with_shots(index), everything)
        row = about | {"shots": k, "seed": seed}
        cost = {"adapt_seconds": seconds}
        rows.append(row | {"protocol": "all"} | _numbers(scores, base + novel, base, novel) | cost)
        rows.append(row | {"protocol": "novel"} | _numbers(scores, novel, (), novel) | cost)
    return rows


def _numbers(
    scores: Scores, every: Sequence[str], base: Sequence[str], novel: Sequence[str]
) -> Row:
    """In percent; NaN for what was not measured."""
    numbers: Row = {}
    for prefix, names in (("", every), ("b", base), ("n", novel)):
        for name, value in scores.mean(names)._asdict().items():
            numbers[prefix + name] = 100 * value
    each = {name: 100 * v for name, v in zip(scores.classes, scores.ap50.tolist(), strict=True)}
    return numbers | {"per_class": {n: each[n] if each[n] == each[n] else None for n in every}}
