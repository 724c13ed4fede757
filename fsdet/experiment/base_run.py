"""Base run: a base detector with the cached region features that heads are trained and scored on."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fsdet import build
from fsdet import config as cfg
from fsdet.api import detector_file
from fsdet.errors import InputError
from fsdet.experiment import preflight
from fsdet.experiment.context import Context, claim
from fsdet.experiment.fabric import batches_of, precision_of
from fsdet.experiment.features import CachedFeatures, extract_features
from fsdet.experiment.few_shot_data import Problem, open_problem
from fsdet.experiment.run_log import LossLog
from fsdet.experiment.stages.training import base_training, meta_training, new_model
from fsdet.experiment.starting_detector import spec_for, starting_detector
from fsdet.heads.base import Head
from fsdet.heads.finetuning.beside import Beside
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.training.episodes import EpisodeSampler
from fsdet.training.region_bank import RegionBank


@dataclass(frozen=True)
class BaseRun(Context):
    """A detector and its cached features of a few-shot problem."""

    model: FewShotRCNN
    features: CachedFeatures

    def new_head(self, spec: cfg.Head) -> Head:
        """A new head that starts from the layers of the base detector's head."""
        self.fabric.seed_everything(self.config.seed, verbose=False)  # whatever was drawn before
        base, rows = self.model.head, len(self.problem.split.base)
        if isinstance(base, Beside) and spec.name == "beside":
            rows = base.n_rows  # an imported detector may know more than the split
        elif spec.name == "beside" and (self.config.base or self.config.detector.boxes == "given"):
            raise InputError(
                f"head 'beside' keeps the classifier of base training, which"
                f" '{self.config.base or 'detector.boxes=given'}' does not hold; expected an imported"
                " detector as base, or another head"
            )
        spec = spec_for(spec, base)
        head = build.head(spec, self.model.shape, self.config.detector.width, rows)
        if isinstance(base, Beside) and spec.name != "beside":
            base.start(head, self.features.memory)
        else:
            head.inherit(base)
        return head


@dataclass(frozen=True)
class TrainedBase(BaseRun):
    """A run whose detector was trained on the base categories."""

    bank: RegionBank  # of training images of base categories
    origin: str = ""  # of an imported detector: file, preset and licence

    def trained_head(self, spec: cfg.Head, folder: Path | None = None) -> Head:
        """A new head, meta-trained on the region bank if it learns from episodes.

        Args:
            folder: checkpoint and losses go there; None: the run folder.
        """
        head = self.new_head(spec)
        if head.learns_from_episodes:
            context = self if folder is None else replace(self, losses=LossLog(folder))
            with self.clock.time(f"meta-training: {spec.label}"):
                bank = self.bank.gathered_on(self.fabric.device)
                meta_training(context, spec, head, episode_sampler(bank, self.config))
        return head.eval()


def prepare(config: cfg.Config, problem: Problem | None = None) -> TrainedBase:
    """Claim the run folder, train the base detector or load `config.base`, and extract region features.

    A second call with the same folder reads the stored results.

    Raises:
        InputError: data, split, shots, `config.base` or run folder are wrong.
    """
    config = preflight.rescale_to_batches(replace(config, precision=precision_of(config)))
    problem = problem or open_problem(config.data)
    origin = ""
    if config.base:
        detector = starting_detector(config.base, problem.split, config.detector.descriptor)
        config = replace(config, detector=detector.settings)
        cfg.check(config)  # given boxes need more of it
        identity = detector_file.identity(detector.parts())
        context = claim(config, problem, batches_of(config), identity)
        model, origin = detector.model, detector.origin
    else:
        context = claim(config, problem, batches_of(config))
        if config.detector.boxes == "given":  # nothing of it learns
            model = new_model(context, len(problem.split.base))
        else:
            with context.clock.time("base training"):
                model = base_training(context)
    context.fabric.to_device(model.eval())
    bank, features = extract_features(context, model, context.folder)
    return TrainedBase(**vars(context), model=model, features=features, bank=bank, origin=origin)


def episode_sampler(
    bank: RegionBank,
    config: cfg.Config,
    images: np.ndarray | None = None,
    classes: Collection[str] | None = None,
) -> EpisodeSampler:
    """A sampler of episodes of base categories with the settings of `config.meta`.

    Args:
        images: images of the bank to draw from; None: all.
        classes: categories of the bank to draw from; None: all.
    """
    settings = config.meta
    return EpisodeSampler(
        bank,
        (settings.ways[0], settings.ways[1]),
        (settings.shots[0], settings.shots[1]),
        settings.known,
        query=settings.query,
        background=settings.background,
        chimeras=settings.chimeras,
        seed=config.seed,
        images=images,
        classes=classes,
    )
