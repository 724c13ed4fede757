"""Hyper-parameter search: the same small budget for every method, without novel categories or test images."""

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
from fsdet.experiment.base_run import TrainedBase, episode_sampler
from fsdet.experiment.benchmark.plan import Method
from fsdet.experiment.run_log import LossLog
from fsdet.experiment.stages.training import meta_training
from fsdet.heads.base import Head
from fsdet.heads.finetuning.beside import Beside
from fsdet.training.episodes import EpisodeSampler

VALIDATION_SHARE = 0.25  # of the bank's images; trials are scored on them and never trained on them


@dataclass(frozen=True)
class Trial:
    """Arguments of a method and their score.

    `score` is the mean average precision over the new categories of validation episodes, in percent; None: the
    training diverged.
    """

    args: dict[str, Any]
    score: float | None
    seconds: float


def tune(
    base: TrainedBase,
    method: Method,
    arguments: Sequence[dict[str, Any]],
    share: float,
    episodes: int,
    classes: Collection[str],
) -> list[Trial]:
    """Score arguments on validation episodes after meta-training on the other base images.

    New categories of validation episodes are chimeras of `classes` (`meta.chimeras`), unknown to the layers and
    to the search. Beside them are known categories and as much background as in use. Only new categories
    are scored. No novel box is used.

    Args:
        share: of the steps of meta-training.
        episodes: number of validation episodes.
        classes: base categories of validation episodes.

    Returns:
        A trial for each of the arguments, in order.
    """
    config = base.config
    images = np.unique(base.bank.images.numpy())
    images = np.random.Generator(np.random.PCG64(config.seed)).permutation(images)
    cut = int(len(images) * VALIDATION_SHARE)
    n_new, background = min(config.meta.ways), config.evaluate.background
    meta = replace(config.meta, ways=[n_new, n_new], background=background)
    validation = episode_sampler(base.bank, replace(config, meta=meta), images[:cut], classes)
    training = episode_sampler(base.bank, config, images[cut:])
    short = replace(config, meta=_shortened(config.meta, share))
    trials = []
    for args in arguments:
        start, spec = time.perf_counter(), method.spec(args)
        head = base.new_head(spec)
        if isinstance(head, Beside):  # the new categories of an episode are chimeras: none is kept
            head = head.only([])
        try:
            if head.learns_from_episodes:
                with TemporaryDirectory() as folder:
                    losses = LossLog(Path(folder), writes=False)
                    trial = replace(base, config=short, losses=losses)
                    meta_training(trial, spec, head, training)
            score: float | None = mean_ap(
                head.cpu().eval(), validation, validation.ways[1], episodes
            )
        except InputError:  # the training diverged; other arguments may not
            score = None
        trials.append(Trial(args, score, time.perf_counter() - start))
    return trials


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The trial with the highest score, the first of equals.

    Raises:
        InputError: all of them diverged.
    """
    by_score = {trial.score: trial for trial in reversed(trials) if trial.score is not None}
    if not by_score:
        raise InputError(f"all {len(trials)} trials diverged, the last with {trials[-1].args}")
    return by_score[max(by_score)]


@torch.no_grad()
def mean_ap(head: Head, sampler: EpisodeSampler, n_new: int, episodes: int) -> float:
    """Mean average precision, in percent, of a head in ranking the queries of episodes.

    Args:
        n_new: the first `n_new` categories of an episode are scored.
    """
    values = []
    for i in range(episodes):
        support, query = sampler(i)
        scores = head(query.features, head.adapt(support)).probabilities()
        for label in range(1, n_new + 1):
            if (query.labels == label).any():
                values.append(average_precision(scores[:, label - 1], query.labels == label))
    return 100 * float(np.mean(values))


def average_precision(scores: Tensor, positive: Tensor) -> float:
    """Mean over the positives of the precision at each, in falling order of score."""
    hits = positive[scores.argsort(descending=True, stable=True)].double()
    ranks = torch.arange(1, len(hits) + 1, dtype=torch.float64)
    return float((hits.cumsum(0) / ranks * hits).sum() / hits.sum())


def _shortened(meta: cfg.Meta, share: float) -> cfg.Meta:
    steps, warmup = (max(round(count * share), 1) for count in (meta.steps, meta.warmup))
    return replace(meta, steps=steps, warmup=warmup)
