"""The same small search for every method, without a look at novel categories or test images."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fsdet.engine.bank import EpisodeSampler
from fsdet.experiment import record
from fsdet.experiment.plan import Method
from fsdet.experiment.prepared import Prepared, sampler
from fsdet.experiment.stages import meta_training
from fsdet.heads.base import Head

JUDGED = 0.25  # of the bank's images, which trials are judged on and never learn from


@dataclass(frozen=True)
class Trial:
    """Arguments of a method and what they were worth."""

    args: dict[str, Any]
    score: float  # mean average precision over categories of held-out episodes, percent
    seconds: float


def tune(
    ready: Prepared,
    method: Method,
    arguments: Sequence[dict[str, Any]],
    share: float,
    episodes: int,
) -> list[Trial]:
    """Try arguments: meta-training for a `share` of its steps on some base images, judged on the others.

    New categories of the episodes are base categories spliced in two (`meta.chimeras`): neither the layers nor
    the search have met them, and no novel box is used up.

    Returns:
        A trial for each of the arguments, in their order.
    """
    config = ready.config
    images = np.unique(ready.seen.base.images.numpy())
    images = np.random.Generator(np.random.PCG64(config.seed)).permutation(images)
    cut = int(len(images) * JUDGED)
    judged = sampler(ready.seen, config, images[:cut])
    learned = sampler(ready.seen, config, images[cut:])
    steps = max(round(config.meta.steps * share), 1)
    short = replace(config, meta=replace(config.meta, steps=steps))
    found = []
    for args in arguments:
        start, spec = time.perf_counter(), method.spec(args)
        head = ready.head(spec)
        if head.learns_from_episodes:
            with TemporaryDirectory() as folder:
                losses = record.Losses(Path(folder), writes=False)
                meta_training(ready.fabric, spec, head, learned, short, Path(folder), losses)
        score = judge(head.eval(), judged, episodes)
        found.append(Trial(args, score, time.perf_counter() - start))
    return found


def best(trials: Sequence[Trial]) -> Trial:
    """The one with the highest score; of equals the first."""
    return max(trials, key=lambda trial: trial.score)


@torch.no_grad()
def judge(head: Head, sampler: EpisodeSampler, episodes: int) -> float:
    """Mean average precision, in percent, of the categories of episodes in ranking their query's regions."""
    values = []
    for i in range(episodes):
        support, query = sampler(i)
        scores = head(query.features, head.adapt(support)).probabilities()
        for label in range(1, query.n_way + 1):
            if (query.labels == label).any():
                values.append(average_precision(scores[:, label - 1], query.labels == label))
    return 100 * float(np.mean(values))


def average_precision(scores: Tensor, positive: Tensor) -> float:
    """Mean over the positives of the precision at each, regions in falling order of score."""
    hits = positive[scores.argsort(descending=True, stable=True)].double()
    ranks = torch.arange(1, len(hits) + 1, dtype=torch.float64)
    return float((hits.cumsum(0) / ranks * hits).sum() / hits.sum())
