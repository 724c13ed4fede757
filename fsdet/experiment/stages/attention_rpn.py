"""Attention RPN: its training on base images, and the rows of a head whose novel categories it proposes."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from fsdet import config as cfg
from fsdet.data.loading.stream import Relabelled, Share, Stream, loader
from fsdet.experiment.base_run import BaseRun, TrainedBase
from fsdet.experiment.few_shot_data import novel_shots
from fsdet.experiment.result_cache import cache_key
from fsdet.experiment.scoring import Row
from fsdet.experiment.stages.novel_finetuning import FineTunedDetector
from fsdet.experiment.stages.per_shot_detectors import PerShotRuns
from fsdet.experiment.stages.training import augmentation
from fsdet.experiment.support import EmbeddedSupport, select_shots
from fsdet.model.attention_rpn import AttentionBatch, AttentionRPN, ConditionedProposals
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.progress import Progress
from fsdet.training.attention_pairs import Pairs
from fsdet.training.loop import Loop, Schedule, train


def attention_training(base: TrainedBase) -> AttentionRPN:
    """Train an attention RPN on base images, starting from the base detector's RPN; the detector is frozen.

    Raises:
        InputError: too few base categories (`Pairs`), or the training diverged.
    """
    config, fabric = base.config, base.fabric
    settings = config.proposals
    pairs = Pairs(base.bank, (config.meta.shots[0], config.meta.shots[1]), config.seed)
    attention = AttentionRPN(base.model.rpn, settings.regions)
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [*attention.embed.parameters(), *attention.answer.parameters()],
                "lr": settings.learning_rate,
            },
            {"params": attention.rpn.parameters(), "lr": settings.layer_rate},
        ],
        weight_decay=config.meta.weight_decay,
    )
    loop = Loop(
        Schedule(settings.steps, config.meta.warmup),
        config.seed,
        config.meta.clip,
        save_every=config.meta.save_every,
        rate_key="proposals.learning_rate",
    )

    def batches(first: int) -> Iterator[AttentionBatch]:
        return _batches(base, attention, pairs, first)

    with base.losses.record("attention-rpn", settings.steps) as log:
        train(fabric, attention, batches, optimizer, loop, _state(base), log)
    return attention


def _batches(
    base: TrainedBase, attention: AttentionRPN, pairs: Pairs, first: int
) -> Iterator[AttentionBatch]:
    """Batches from step `first` on: base images, each with two categories and their kernels."""
    config, fabric, problem = base.config, base.fabric, base.problem
    settings, classes = config.proposals, problem.split.base
    images = problem.images_with(classes[label - 1] for label in pairs.categories)
    source = Relabelled(problem.train, problem.labels(classes), images)
    length, start = (settings.steps - first) * settings.batch, first * settings.batch
    stream = Stream(source, augmentation(config), config.seed, length, start)
    share = Share(stream, settings.batch, fabric.global_rank, fabric.world_size)
    position = start + share.first  # of the batch's first image in the stream
    pinned = fabric.device.type == "cuda"
    for pixels, targets in loader(share, share.share, config.data.workers, pinned=pinned):
        draws = [
            pairs(t, int(source.indices[stream.index(t)]), target["labels"].tolist())
            for t, target in enumerate(targets, position)
        ]
        categories, supports = zip(*draws, strict=True)
        kernels = torch.stack([attention.learn(support) for support in supports])
        batch = fabric.to_device(pixels), fabric.to_device(targets)
        with torch.no_grad(), fabric.autocast():
            features, resized = base.model.extract(*batch)
        yield AttentionBatch(
            features.batch,
            features.proposing,
            resized,
            *fabric.to_device((torch.stack(categories), kernels)),
        )
        position += settings.batch


def _state(base: BaseRun) -> Path:
    """The checkpoint. Its name contains the settings, which may change between runs in one folder."""
    settings = asdict(base.config.proposals)
    keys = sorted({*settings} - {"name", "regions"})
    text = "".join(f",{key}={settings[key]}" for key in keys)
    return base.folder / f"attention-rpn{text}.state"


def attention_rows(
    base: BaseRun, model: FewShotRCNN, attention: AttentionRPN, progress: Progress
) -> list[Row]:
    """Rows of a detector under an attention RPN; finished ones are read from the run folder.

    Proposals are conditioned on the shots, so features of test images are extracted for every shot count and
    seed.

    Args:
        model: the base detector with a trained head of `config.head` on the CPU.
    """
    config, problem, features = base.config, base.problem, base.features
    classes = problem.split.base + problem.split.novel
    supports, device = EmbeddedSupport.embed(model.head, features), base.fabric.device

    def create(k: int, seed: int) -> FineTunedDetector:
        index = select_shots(features, problem, novel_shots(problem, config.data, k, seed))
        task = model.head.learn(supports.with_shots(index))
        labels = features.novel.labels[index]
        shots = features.novel.take(index, labels, len(problem.split.novel))
        kernels = attention.learn(shots).to(device)
        proposals = ConditionedProposals(model.rpn, attention, kernels, len(classes))
        return FineTunedDetector(model, task, classes, proposals)

    key = cache_key(config, config.head) | {"proposals": asdict(config.proposals)}
    method = config.head.label + cfg.ATTENTION_SUFFIX
    return PerShotRuns(base, method, key).rows(create, True, progress)
