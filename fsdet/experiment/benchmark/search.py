"""The same small search for every method, without a look at novel categories or test images."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fsdet import config as cfg
from fsdet.errors import InputError
from fsdet.experiment import run_folder
from fsdet.experiment.benchmark.plan import Method
from fsdet.experiment.setup import TrainedBase, sampler
from fsdet.experiment.stages.training import meta_training
from fsdet.heads.base import Head
from fsdet.training.episodes import EpisodeSampler

JUDGED = 0.25  # of the bank's images, which trials are judged on and never learn from


@dataclass(frozen=True)
class Trial:
    """Arguments of a method and what they were worth.

    `score` is mean average precision over the new categories of held-out episodes, in percent; None: it diverged.
    """

    args: dict[str, Any]
    score: float | None
    seconds: float


def tune(
    ready: TrainedBase,
    method: Method,
    arguments: Sequence[dict[str, Any]],
    share: float,
    episodes: int,
    classes: Collection[str],
) -> list[Trial]:
    """Try arguments: meta-training for a `share` of its steps on some base images, judged on the others.

    Episodes that judge have new categories of `classes`, spliced in two (`meta.chimeras`) and so unknown to the
    layers and the search, among known ones and as much background as a task has in use; the new ones count. No
    novel box is used up.

    Returns:
        A trial for each of the arguments, in their order.
    """
    config = ready.config
    images = np.unique(ready.bank.images.numpy())
    images = np.random.Generator(np.random.PCG64(config.seed)).permutation(images)
    cut = int(len(images) * JUDGED)
    n_new, empty = min(config.meta.ways), config.evaluate.background
    asked = replace(config, meta=replace(config.meta, ways=[n_new, n_new], background=empty))
    judged = sampler(ready.bank, asked, images[:cut], classes)
    learned = sampler(ready.bank, config, images[cut:])
    short = replace(config, meta=_share_of(config.meta, share))
    found = []
    for args in arguments:
        start, spec = time.perf_counter(), method.spec(args)
        head = ready.head(spec)
        try:
            if head.learns_from_episodes:
                with TemporaryDirectory() as folder:
                    losses = run_folder.Losses(Path(folder), writes=False)
                    meta_training(ready.fabric, spec, head, learned, short, Path(folder), losses)
            score: float | None = judge(head.cpu().eval(), judged, judged.ways[1], episodes)
        except InputError:  # its loss is no number: other arguments may do better
            score = None
        found.append(Trial(args, score, time.perf_counter() - start))
    return found


def best(trials: Sequence[Trial]) -> Trial:
    """The one with the highest score; of equals the first.

    Raises:
        InputError: all of them diverged.
    """
    good = {trial.score: trial for trial in reversed(trials) if trial.score is not None}
    if not good:
        raise InputError(f"all {len(trials)} trials diverged, the last with {trials[-1].args}")
    return good[max(good)]


@torch.no_grad()
def judge(head: Head, sampler: EpisodeSampler, n_new: int, episodes: int) -> float:
    """Mean average precision, in percent, of the first `n_new` categories of episodes in ranking their query."""
    values = []
    for i in range(episodes):
        support, query = sampler(i)
        scores = head(query.features, head.adapt(support)).probabilities()
        for label in range(1, n_new + 1):
            if (query.labels == label).any():
                values.append(average_precision(scores[:, label - 1], query.labels == label))
    return 100 * float(np.mean(values))


def average_precision(scores: Tensor, positive: Tensor) -> float:
    """Mean over the positives of the precision at each, regions in falling order of score."""
    hits = positive[scores.argsort(descending=True, stable=True)].double()
    ranks = torch.arange(1, len(hits) + 1, dtype=torch.float64)
    return float((hits.cumsum(0) / ranks * hits).sum() / hits.sum())


def _share_of(meta: cfg.Meta, share: float) -> cfg.Meta:
    steps, warmup = (max(round(count * share), 1) for count in (meta.steps, meta.warmup))
    return replace(meta, steps=steps, warmup=warmup)
