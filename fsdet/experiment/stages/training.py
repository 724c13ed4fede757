"""Trainings of an experiment: base training, meta-training, end-to-end; each resumes from its checkpoint."""

import copy
from collections.abc import Iterator
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from fsdet import build
from fsdet import config as cfg
from fsdet.data.loading.episodes import Episodes
from fsdet.data.loading.stream import Relabelled, Share, Source, Stream, loader
from fsdet.data.loading.transforms import Transform, custom, training
from fsdet.data.loading.transforms import support as support_transform
from fsdet.experiment.context import Context
from fsdet.experiment.image_cost import log_image_cost
from fsdet.heads.base import Head
from fsdet.heads.finetuning.cosine import Cosine
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.training.episodes import EpisodeSampler
from fsdet.training.loop import Loop, Schedule, train
from fsdet.training.objectives import FromBank, FromImages, Supervised
from fsdet.types import Episode, Regions, Shots, Target, Task

ImageBatch = tuple[list[Tensor], list[Target]]


def augmentation(config: cfg.Config) -> Transform:
    """The transform of training images: `train.transforms`, or the default."""
    settings = config.train
    if settings.transforms:
        return custom(settings.transforms)
    return training(config.detector.max_size, settings.strength, settings.flip)


def image_batches(fabric: Fabric, stream: Stream, batch: int, workers: int) -> Iterator[ImageBatch]:
    """This process's share of the batches of a stream, on its device."""
    share = Share(stream, batch, fabric.global_rank, fabric.world_size)
    pinned = fabric.device.type == "cuda"
    for images, targets in loader(share, share.share, workers, pinned=pinned):
        yield fabric.to_device(images), fabric.to_device(targets)


def base_training(context: Context) -> FewShotRCNN:
    """Train Faster R-CNN with a cosine classifier on base categories; novel objects are ignored."""
    problem, base = context.problem, context.problem.split.base
    source = Relabelled(problem.train, problem.labels(base))
    state = context.losses.folder / "base.state"
    model, body = new_model(context, len(base)), context.config.detector.backbone
    fabric = context.fabric
    if body.pyramid == "simple" and fabric.is_global_zero and not state.exists():
        fabric.to_device(model)
        log_image_cost(model, body.name, problem.train, fabric.device)
    return supervised(context, model, source, base, state)


def new_model(context: Context, n_base: int) -> FewShotRCNN:
    """A detector with a cosine classifier, before training; the seed fixes its random weights."""
    context.fabric.seed_everything(context.config.seed, verbose=False)
    settings = context.config.detector
    return build.detector(settings, cfg.Head("cosine"), n_base, pretrained=True)


def supervised(
    context: Context, model: FewShotRCNN, source: Source, classes: tuple[str, ...], state: Path
) -> FewShotRCNN:
    """Train an untrained detector, in place, with the settings of `config.train`.

    Args:
        source: images whose label n is `classes[n - 1]`.
        state: the checkpoint; its stem names the losses.
    """
    config, fabric = context.config, context.fabric
    settings = config.train
    transform = augmentation(config)

    def batches(first: int) -> Iterator[ImageBatch]:
        length, start = (settings.steps - first) * settings.batch, first * settings.batch
        stream = Stream(source, transform, config.seed, length, start)
        return image_batches(fabric, stream, settings.batch, config.data.workers)

    schedule = Schedule(settings.steps, settings.warmup, tuple(settings.drops))
    loop = Loop(schedule, config.seed, settings.clip, settings.ema, settings.save_every)
    with context.losses.record(state.stem, settings.steps) as log:
        objective, optimizer = Supervised(model, classes), base_optimizer(model, settings)
        train(fabric, objective, batches, optimizer, loop, state, log)
    return model


def base_optimizer(model: FewShotRCNN, settings: cfg.Train) -> torch.optim.Optimizer:
    """AdamW with a learning rate of its own for the backbone."""
    body = list(model.backbone.body.parameters())
    body_ids = {id(parameter) for parameter in body}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in body_ids]
    groups = [{"params": others, "lr": settings.learning_rate}]
    if trainable := [p for p in body if p.requires_grad]:
        groups.append({"params": trainable, "lr": settings.learning_rate * settings.backbone_rate})
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)


def base_task(model: FewShotRCNN) -> Task:
    """The task of the cosine classifier of base training."""
    assert isinstance(model.head, Cosine)
    return {name: value.detach() for name, value in model.head.base_task().items()}


def meta_training(context: Context, spec: cfg.Head, head: Head, sampler: EpisodeSampler) -> Head:
    """Meta-train a head on episodes from the region bank."""
    fabric, settings = context.fabric, context.config.meta
    batch = settings.batch // fabric.world_size  # episodes of this process

    def batches(first: int) -> Iterator[list[tuple[Regions, Regions]]]:
        for step in range(first, settings.steps):
            start = settings.batch * step + batch * fabric.global_rank
            episodes = map(sampler, range(start, start + batch))
            yield [
                (support.to(fabric.device), query.to(fabric.device)) for support, query in episodes
            ]

    optimizer = head.optimizer(
        settings.learning_rate, settings.own_rate, settings.scalar_rate, settings.weight_decay
    )
    loop = _loop(context.config, settings.steps, "meta.learning_rate")
    before = copy.deepcopy(head)
    # No head's optimizer trains this largest layer: without its gradient a step takes a third less time.
    head.boxes.first.requires_grad_(False)
    with context.losses.record(spec.label, settings.steps) as log:
        state = context.losses.folder / _state_name(spec)
        train(fabric, FromBank(head), batches, optimizer, loop, state, log)
    head.boxes.first.requires_grad_(True)
    head.interpolate(before, settings.keep)
    return head


def _state_name(spec: cfg.Head) -> str:
    """Name of a head's checkpoint. It contains the arguments: baselines may change between runs."""
    args = "".join(f",{name}={value}" for name, value in sorted(spec.args.items()))
    return f"{spec.label}{args.replace('/', '-')}.state"


def end_to_end(context: Context, method: str, model: FewShotRCNN) -> FewShotRCNN:
    """Meta-train the whole detector on episodes of images.

    Args:
        method: names the checkpoint and the losses.
    """
    config, problem, fabric = context.config, context.problem, context.fabric
    settings, size = config.meta, config.detector.max_size
    steps = settings.end_to_end

    def batches(first: int) -> Iterator[list[Episode]]:
        episodes = Episodes(
            problem.train,
            list(problem.labels(problem.split.base)),
            (settings.ways[0], settings.ways[1]),
            (settings.shots[0], settings.shots[1]),
            1,
            support_transform(size, config.train.flip),
            augmentation(config),
            config.seed,
            (steps - first) * settings.batch,
            first * settings.batch,
        )
        share = Share(episodes, settings.batch, fabric.global_rank, fabric.world_size)
        for batch in loader(share, share.share, config.data.workers, list):
            yield [Episode(on_device(e.support), on_device(e.query)) for e in batch]

    def on_device(shots: Shots) -> Shots:
        images, targets = fabric.to_device(shots.images), fabric.to_device(shots.targets)
        return Shots(images, targets, shots.classes)

    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        settings.end_to_end_rate,
        weight_decay=settings.weight_decay,
    )
    loop = _loop(config, steps, "meta.end_to_end_rate")
    with context.losses.record(method, steps) as log:
        state = context.losses.folder / f"{method}.state"
        train(fabric, FromImages(model), batches, optimizer, loop, state, log)
    return model


def _loop(config: cfg.Config, steps: int, rate_key: str) -> Loop:
    settings = config.meta
    schedule = Schedule(steps, settings.warmup)
    return Loop(schedule, config.seed, settings.clip, 0.0, settings.save_every, rate_key)
