"""Preflight checks: errors and warnings before hours of training rather than after them."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from fsdet import build
from fsdet import config as cfg
from fsdet.errors import InputError, join_some
from fsdet.experiment.few_shot_data import Problem, base_shots, novel_shots
from fsdet.experiment.stages.training import augmentation
from fsdet.heads.base import Head
from fsdet.heads.finetuning.base import FineTunedHead
from fsdet.heads.finetuning.cosine_averages import CosineAverages
from fsdet.heads.layers import RegionShape

logger = logging.getLogger("fsdet")


def check(problem: Problem, config: cfg.Config, specs: Iterable[cfg.Head]) -> None:
    """Build heads and augmentation, and draw all shots; warn of categories with few boxes or none in the test.

    Args:
        specs: the heads of the experiment.

    Raises:
        InputError: a head, an argument or an augmentation does not exist; more shots than boxes; too few base
            categories for episodes; a novel stage that its head or the base detector does not allow.
    """
    augmentation(config)
    _check_test_boxes(problem)
    heads = [_small_head(spec) for spec in specs]
    if any(head.learns_from_episodes for head in heads):
        _check_episodes(problem)
    for stage in config.stages:
        _check_stage(problem, stage)
    for k in config.evaluate.shots:
        for seed in range(config.evaluate.seeds if config.data.shots else 1):
            _check_shots(problem, config, k, seed)


def _check_test_boxes(problem: Problem) -> None:
    """Warn of novel categories that have no box among the test images: no score tells anything of them."""
    counts = problem.test.box_counts()
    untested = [name for name in problem.split.novel if not counts.get(name)]
    if untested:
        logger.warning(
            "no box in the test images, so that scores leave it out: novel category %s",
            join_some(untested),
        )


def _check_episodes(problem: Problem) -> None:
    train, base = problem.train, problem.split.base
    several = [label for label in problem.labels(base) if len(train.images_of(label)) >= 2]
    if base and len(several) < 2:
        raise InputError(
            "meta-training needs two base categories with objects in two images or more, the split"
            f" '{problem.split.name}' has {len(several)}: register the categories in a trained detector (fsdet"
            " finetune), or train heads that need no episodes"
        )


def _small_head(spec: cfg.Head) -> Head:
    return build.head(spec, RegionShape(1, 2, (1,)), 1, 1)


def _check_stage(problem: Problem, stage: cfg.Stage) -> None:
    averages = isinstance(stage_head(stage, _small_head), CosineAverages)
    if stage.start != "means" and (averages or not problem.split.base):
        reason = "an averages head does not use" if averages else "other data do not use"
        raise InputError(
            f"stages, '{stage.name}': start: '{stage.start}' needs the classifier of base training,"
            f" which {reason}; expected start: means"
        )


def _check_shots(problem: Problem, config: cfg.Config, k: int, seed: int) -> None:
    shots = novel_shots(problem, config.data, k, seed)
    fewer = [f"{name} ({len(ids)})" for name, ids in shots.items() if len(ids) < k]
    if fewer:
        logger.warning("%d shots, seed %d: fewer boxes of %s", k, seed, join_some(fewer))
    if config.data.shots and uses_base_shots(problem, config):
        sampled = base_shots(problem, config.data, k, seed).sampled
        for reason in list(sampled.values())[:1]:
            logger.warning(
                "%d shots, seed %d: base shots of %s are sampled, not from a list: %s",
                k, seed, join_some(list(sampled)), reason,
            )  # fmt: skip


def stage_head(stage: cfg.Stage, create: Callable[[cfg.Head], Head]) -> FineTunedHead:
    """Create the head of a novel stage, without calibration.

    Raises:
        InputError: the head cannot be fine-tuned.
    """
    head = create(replace(stage.head, calibration=0.0))
    if not isinstance(head, FineTunedHead):
        raise InputError(
            f"stages, '{stage.name}': '{stage.head.label}' has no second stage; expected cosine,"
            " cosine-averages, linear, finetune or fsce"
        )
    return head


def uses_base_shots(problem: Problem, config: cfg.Config) -> bool:
    """Whether a novel stage learns from shots of base categories too."""
    return bool(problem.split.base) and any(stage.categories == "all" for stage in config.stages)


def rescale_to_batches(config: cfg.Config) -> cfg.Config:
    """Rescale steps and learning rates of base training and of novel stages from `reference` to `batch`.

    Rescaled values are logged.
    """
    train, stages = cfg.scaled(config.train), list(map(cfg.scaled_stage, config.stages))
    if train.batch != (config.train.reference or train.batch):
        logger.warning(
            "train: %d steps of %d images at learning rate %.3g, rescaled from %d of %d at %.3g",
            train.steps, train.batch, train.learning_rate,
            config.train.steps, config.train.reference, config.train.learning_rate,
        )  # fmt: skip
    for stage, reference in zip(stages, config.stages, strict=True):
        if stage.batch != (reference.reference or stage.batch):
            logger.warning(
                "stages, '%s': %d steps and %d per shot of %d images at learning rate %.3g, rescaled"
                " from %d and %d of %d at %.3g",
                stage.name, stage.steps, stage.steps_a_shot, stage.batch, stage.learning_rate,
                reference.steps, reference.steps_a_shot, reference.reference, reference.learning_rate,
            )  # fmt: skip
    return replace(config, train=train, stages=stages)
