"""Rows of `results.json`: a head over shots and seeds, from what the image side left."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from fsdet import config as cfg
from fsdet.engine.evaluate import embed, find, measure
from fsdet.engine.metrics import CocoTruth, Scores
from fsdet.experiment.image_side import Seen, support_of
from fsdet.experiment.problem import Problem, novel_shots
from fsdet.heads.base import Head
from fsdet.postprocess import Selection
from fsdet.types import Prediction

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

    One adaptation serves both protocols: "all" reports every category, "novel" takes what is said of base
    categories as background and reports the novel ones alone. Images are all of the test set in both.
    """
    base, novel = problem.split.base, problem.split.novel
    selection = Selection(score=config.evaluate.score)
    everything, only_novel = (CocoTruth(problem.test, names) for names in (base + novel, novel))
    embeddings = embed(head, seen.test.features)
    about = {"method": method, "data": config.data.root, "split": problem.split.name}
    start = time.perf_counter()
    task = head.adapt(seen.memory)
    seconds = time.perf_counter() - start
    found = find(head, task, embeddings, seen.test, selection)
    scores = measure(found, CocoTruth(problem.test, base))
    first = about | {"shots": 0, "seed": config.seed, "protocol": "all"}
    rows = [first | _numbers(scores, base, ()) | {"adapt_seconds": seconds}]
    cases = [(k, seed) for k in config.evaluate.shots for seed in range(config.evaluate.seeds)]
    for k, seed in progress(cases, len(cases)):
        support = support_of(seen, problem, novel_shots(problem, config.data, k, seed))
        start = time.perf_counter()
        task = head.adapt(support)
        seconds = time.perf_counter() - start
        for protocol, truth, narrow in (
            ("all", everything, lambda p: p),
            ("novel", only_novel, lambda p: narrowed(p, len(base))),
        ):
            found = find(head, task, embeddings, seen.test, selection, narrow)
            scores = measure(found, truth)
            numbers = _numbers(scores, base if protocol == "all" else (), novel)
            row = about | {"shots": k, "seed": seed, "protocol": protocol}
            rows.append(row | numbers | {"adapt_seconds": seconds})
    return rows


def narrowed(prediction: Prediction, n_base: int) -> Prediction:
    """What is said of the first `n_base` categories becomes background; probabilities of the rest stay."""
    logits = prediction.logits
    background: Tensor = torch.logsumexp(logits[:, : 1 + n_base], dim=1, keepdim=True)
    return Prediction(torch.cat([background, logits[:, 1 + n_base :]], 1), prediction.deltas)


def _numbers(scores: Scores, base: Iterable[str], novel: Iterable[str]) -> Row:
    """In percent; NaN for what was not measured."""
    numbers: Row = {}
    for prefix, names in (("", scores.classes), ("b", base), ("n", novel)):
        for name, value in scores.mean(names)._asdict().items():
            numbers[prefix + name] = 100 * value
    per_class = zip(scores.classes, scores.ap50, strict=True)
    return numbers | {"per_class": {n: 100 * v if v == v else None for n, v in per_class}}
