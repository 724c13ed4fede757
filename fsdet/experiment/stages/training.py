"""The trainings of an experiment; each has a checkpoint of its own and goes on where it stopped."""

import copy
from pathlib import Path

import torch
from lightning_fabric import Fabric

from fsdet import build
from fsdet import config as cfg
from fsdet.data.loading.episodes import Episodes
from fsdet.data.loading.stream import Relabelled, Share, Source, Stream, loader
from fsdet.data.loading.transforms import Transform, custom, support, training
from fsdet.experiment.few_shot_data import Problem
from fsdet.experiment.run_folder import Losses
from fsdet.heads.base import Head
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.training.episodes import EpisodeSampler
from fsdet.training.loop import Loop, Schedule, train
from fsdet.training.objectives import FromBank, FromImages, Supervised
from fsdet.types import Episode, Shots


def augmentation(config: cfg.Config) -> Transform:
    """What a training image goes through: the configured steps, or the usual ones."""
    settings = config.train
    if settings.transforms:
        return custom(settings.transforms)
    return training(config.detector.max_size, settings.strength, settings.flip)


def base_training(
    fabric: Fabric, problem: Problem, config: cfg.Config, folder: Path, losses: Losses
) -> FewShotRCNN:
    """Faster R-CNN with a cosine classifier, on base categories; novel objects are ignored."""
    base = problem.split.base
    source = Relabelled(problem.train, problem.labels(base))
    return supervised(fabric, source, base, config, folder / "base.state", losses)


def supervised(
    fabric: Fabric,
    source: Source,
    classes: tuple[str, ...],
    config: cfg.Config,
    state: Path,
    losses: Losses,
) -> FewShotRCNN:
    """Faster R-CNN with a cosine classifier from the backbone's weights on, as `config.train` says.

    Args:
        source: images whose label n is `classes[n - 1]`.
        state: the checkpoint, by whose name the losses go.
    """
    fabric.seed_everything(config.seed, verbose=False)
    settings = config.train
    model = build.detector(config.detector, cfg.Head("cosine"), len(classes), pretrained=True)
    transform = augmentation(config)

    def batches(first: int):
        stream = Stream(
            source,
            transform,
            config.seed,
            (settings.steps - first) * settings.batch,
            first * settings.batch,
        )
        dealt = Share(stream, settings.batch, fabric.global_rank, fabric.world_size)
        for images, targets in loader(dealt, dealt.mine, config.data.workers):
            yield fabric.to_device(images), fabric.to_device(targets)

    body = list(model.backbone.body.parameters())
    within = {id(parameter) for parameter in body}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in within]
    groups = [{"params": rest, "lr": settings.learning_rate}]
    if moving := [p for p in body if p.requires_grad]:
        groups.append({"params": moving, "lr": settings.learning_rate * settings.backbone_rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    schedule = Schedule(settings.steps, settings.warmup, tuple(settings.drops))
    loop = Loop(schedule, config.seed, settings.clip, settings.ema, settings.save_every)
    with losses.of(state.stem, settings.steps) as log:
        objective = Supervised(model, classes)
        train(fabric, objective, batches, optimizer, loop, state, log)
    return model


def meta_training(
    fabric: Fabric,
    spec: cfg.Head,
    head: Head,
    sampler: EpisodeSampler,
    config: cfg.Config,
    folder: Path,
    losses: Losses,
) -> Head:
    """Episodes from the region bank."""
    settings = config.meta
    here = settings.batch // fabric.world_size

    def batches(first: int):
        for step in range(first, settings.steps):
            mine = range(here * fabric.global_rank, here * (fabric.global_rank + 1))
            episodes = (sampler(settings.batch * step + i) for i in mine)
            yield [(near.to(fabric.device), far.to(fabric.device)) for near, far in episodes]

    optimizer = head.optimizer(
        settings.learning_rate, settings.own_rate, settings.scalar_rate, settings.weight_decay
    )
    loop = _loop(config, settings.steps, "meta.learning_rate")
    # Baselines may change from run to run: one with other arguments is another head.
    args = "".join(f",{name}={value}" for name, value in sorted(spec.args.items()))
    state = folder / f"{spec.label}{args.replace('/', '-')}.state"
    before = copy.deepcopy(head)
    # The largest layer that no optimizer of a head moves: without its gradient a step is a third shorter.
    head.boxes.first.requires_grad_(False)
    with losses.of(spec.label, settings.steps) as log:
        train(fabric, FromBank(head), batches, optimizer, loop, state, log)
    head.boxes.first.requires_grad_(True)
    head.interpolate(before, settings.keep)
    return head


def end_to_end(
    fabric: Fabric,
    method: str,
    model: FewShotRCNN,
    problem: Problem,
    config: cfg.Config,
    folder: Path,
    losses: Losses,
) -> FewShotRCNN:
    """Episodes of images: the whole detector goes on learning through them."""
    settings, size = config.meta, config.detector.max_size
    steps = settings.end_to_end

    def batches(first: int):
        episodes = Episodes(
            problem.train,
            list(problem.labels(problem.split.base)),
            tuple(settings.ways),
            tuple(settings.shots),
            1,
            support(size, config.train.flip),
            augmentation(config),
            config.seed,
            (steps - first) * settings.batch,
            first * settings.batch,
        )
        dealt = Share(episodes, settings.batch, fabric.global_rank, fabric.world_size)
        for some in loader(dealt, dealt.mine, config.data.workers, list):
            yield [Episode(moved(one.support), moved(one.query)) for one in some]

    def moved(shots: Shots) -> Shots:
        images, targets = fabric.to_device(shots.images), fabric.to_device(shots.targets)
        return Shots(images, targets, shots.classes)

    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        settings.end_to_end_rate,
        weight_decay=settings.weight_decay,
    )
    loop = _loop(config, steps, "meta.end_to_end_rate")
    with losses.of(method, steps) as log:
        objective = FromImages(model)
        train(fabric, objective, batches, optimizer, loop, folder / f"{method}.state", log)
    return model


def _loop(config: cfg.Config, steps: int, rate_key: str) -> Loop:
    settings = config.meta
    schedule = Schedule(steps, settings.warmup)
    return Loop(schedule, config.seed, settings.clip, 0.0, settings.save_every, rate_key)
