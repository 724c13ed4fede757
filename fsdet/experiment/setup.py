"""A base detector and what its image side left: all that heads are trained and scored from."""

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric

from fsdet import build
from fsdet import config as cfg
from fsdet.errors import InputError, join_some
from fsdet.experiment import run_folder
from fsdet.experiment.fabric import batches_of, fabric_of, precision_of
from fsdet.experiment.features import CachedFeatures, look
from fsdet.experiment.few_shot_data import Problem, base_shots, novel_shots, open_problem
from fsdet.experiment.stages.training import augmentation, base_training, meta_training
from fsdet.heads.base import Head
from fsdet.heads.finetuning.base import FineTunedHead
from fsdet.heads.finetuning.cosine_averages import CosineAverages
from fsdet.heads.layers import RegionShape
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.training.episodes import EpisodeSampler
from fsdet.training.region_bank import RegionBank

logger = logging.getLogger("fsdet")


@dataclass(frozen=True)
class BaseRun:
    """A detector, and what its image side left of a problem."""

    config: cfg.Config
    problem: Problem
    fabric: Fabric
    model: FewShotRCNN
    seen: CachedFeatures
    losses: run_folder.Losses
    clock: run_folder.Clock

    @property
    def folder(self) -> Path:
        return Path(self.config.run)

    def head(self, spec: cfg.Head) -> Head:
        """A new head that starts from the layers of the base detector's head."""
        self.fabric.seed_everything(self.config.seed, verbose=False)  # whatever was drawn before
        base = self.problem.split.base
        head = build.head(spec, self.model.shape, self.config.detector.width, len(base))
        head.inherit(self.model.head)
        return head


@dataclass(frozen=True)
class TrainedBase(BaseRun):
    """A run that has its base detector; a second `prepare` of the same folder only reads what is there."""

    bank: RegionBank  # of training images of base categories

    def trained(self, spec: cfg.Head, place: Path | None = None) -> Head:
        """The same, meta-trained on the region bank if it profits; state and losses in `place`, or the run's."""
        head = self.head(spec)
        if head.learns_from_episodes:
            losses = self.losses if place is None else run_folder.Losses(place)
            with self.clock.time(f"meta-training: {spec.label}"):
                episodes, folder = sampler(self.bank, self.config), place or self.folder
                meta_training(self.fabric, spec, head, episodes, self.config, folder, losses)
        return head.eval()


def prepare(config: cfg.Config, problem: Problem | None = None) -> TrainedBase:
    """Make the run folder this configuration's; base training; the image side.

    Raises:
        InputError: data, split, shots or run folder are not what they should be.
    """
    config = in_own_batches(replace(config, precision=precision_of(config)))
    problem, folder = problem or open_problem(config.data), Path(config.run)
    data = {config.data.train: problem.train, config.data.test: problem.test}
    run_folder.claim(folder, config, run_folder.marks_of(data))
    fabric = fabric_of(config, batches_of(config))
    clock, losses = run_folder.Clock(), run_folder.Losses(folder, fabric.is_global_zero)
    with clock.time("base training"):
        model = base_training(fabric, problem, config, folder, losses)
    model = fabric.to_device(model.eval())
    bank, seen = look(fabric, model, problem, config, folder, clock)
    return TrainedBase(config, problem, fabric, model, seen, losses, clock, bank)


def in_own_batches(config: cfg.Config) -> cfg.Config:
    """The same with steps and rates of base training and stages as their batches need them; the log says so."""
    train, stages = cfg.scaled(config.train), list(map(cfg.scaled_stage, config.stages))
    if train.batch != (config.train.reference or train.batch):
        logger.warning(
            "train: %d steps of %d images at a rate of %.3g, for %d of %d at %.3g",
            train.steps, train.batch, train.learning_rate,
            config.train.steps, config.train.reference, config.train.learning_rate,
        )  # fmt: skip
    for one, given in zip(stages, config.stages, strict=True):
        if one.batch != (given.reference or one.batch):
            logger.warning(
                "stages, '%s': %d steps and %d a shot of %d images at a rate of %.3g, for %d and %d of %d at %.3g",
                one.name, one.steps, one.steps_a_shot, one.batch, one.learning_rate,
                given.steps, given.steps_a_shot, given.reference, given.learning_rate,
            )  # fmt: skip
    return replace(config, train=train, stages=stages)


def head_of(stage: cfg.Stage, make: Callable[[cfg.Head], Head]) -> FineTunedHead:
    """A novel stage's head as `make` makes it, its scores not corrected yet.

    Raises:
        InputError: it has no second stage.
    """
    head = make(replace(stage.head, calibration=0.0))
    if not isinstance(head, FineTunedHead):
        raise InputError(
            f"stages, '{stage.name}': '{stage.head.label}' has no second stage; expected cosine,"
            " cosine-averages, linear, finetune or fsce"
        )
    return head


def refused_early(problem: Problem, config: cfg.Config, specs: Iterable[cfg.Head]) -> None:
    """What could not be done after hours of training is said now; so is where shots are fewer than k.

    Raises:
        InputError: a head, an argument or an augmentation that is not there; more shots than boxes.
    """

    def small(spec: cfg.Head) -> Head:
        return build.head(spec, RegionShape(1, 2, (1,)), 1, 1)

    augmentation(config)
    for spec in specs:
        small(spec)
    for stage in config.stages:
        averages = isinstance(head_of(stage, small), CosineAverages)
        if stage.start != "means" and (averages or not problem.split.base):
            raise InputError(
                f"stages, '{stage.name}': start: '{stage.start}' needs the classifier that base training left,"
                f" which {'is not of averages' if averages else 'other data give up'}; expected start: means"
            )
    for k in config.evaluate.shots:
        for seed in range(config.evaluate.seeds if config.data.shots else 1):
            shots = novel_shots(problem, config.data, k, seed)
            fewer = [f"{name} ({len(ids)})" for name, ids in shots.items() if len(ids) < k]
            if fewer:
                logger.warning(
                    "%d shots, seed %d: there are fewer of %s", k, seed, join_some(fewer)
                )
            if config.data.shots and on_both_kinds(problem, config):
                sampled = base_shots(problem, config.data, k, seed).sampled
                for reason in list(sampled.values())[:1]:
                    logger.warning(
                        "%d shots, seed %d: base shots of %s are not of a list, but sampled: %s",
                        k, seed, join_some(list(sampled)), reason,
                    )  # fmt: skip


def on_both_kinds(problem: Problem, config: cfg.Config) -> bool:
    """Whether a novel stage learns from shots of base categories too."""
    return bool(problem.split.base) and any(stage.categories == "all" for stage in config.stages)


def sampler(
    bank: RegionBank,
    config: cfg.Config,
    images: np.ndarray | None = None,
    classes: Collection[str] | None = None,
) -> EpisodeSampler:
    """Episodes of base categories, as `meta` says, of some images or all, some categories or all."""
    settings = config.meta
    return EpisodeSampler(
        bank,
        tuple(settings.ways),
        tuple(settings.shots),
        settings.known,
        query=settings.query,
        background=settings.background,
        chimeras=settings.chimeras,
        seed=config.seed,
        images=images,
        classes=classes,
    )
