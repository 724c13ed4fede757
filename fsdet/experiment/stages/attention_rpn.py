"""A head whose novel categories have proposals of their own: the attention RPN's training, and its rows."""

from pathlib import Path

import torch

from fsdet import config as cfg
from fsdet.config import typed_yaml
from fsdet.data.loading.stream import Relabelled, Share, Stream, loader, scaled
from fsdet.experiment.features import EmbeddedSupport, shots_of
from fsdet.experiment.few_shot_data import novel_shots
from fsdet.experiment.result_cache import cache_key
from fsdet.experiment.scoring import Row
from fsdet.experiment.setup import TrainedBase
from fsdet.experiment.stages.novel_finetuning import FineTunedDetector
from fsdet.experiment.stages.per_shot_detectors import PerShotRuns, Progress
from fsdet.experiment.stages.training import augmentation
from fsdet.model.attention_rpn import AttentionBatch, AttentionRPN, ConditionedProposals
from fsdet.training.attention_pairs import Pairs
from fsdet.training.loop import Loop, Schedule, train


def attention_training(ready: TrainedBase) -> AttentionRPN:
    """An attention RPN from the base detector's, trained on base images; the image side stays as it is.

    Raises:
        InputError: what `Pairs` refuses, or a loss is no longer finite.
    """
    config, fabric, model = ready.config, ready.fabric, ready.model
    settings, base = config.proposals, ready.problem.split.base
    pairs = Pairs(ready.bank, (config.meta.shots[0], config.meta.shots[1]), config.seed)
    images = ready.problem.images_with(base[c - 1] for c in pairs.categories)
    source = Relabelled(ready.problem.train, ready.problem.labels(base), images)
    attention = AttentionRPN(model.rpn, settings.regions)

    def batches(first: int):
        length, start = (settings.steps - first) * settings.batch, first * settings.batch
        stream = Stream(source, augmentation(config), config.seed, length, start)
        dealt = Share(stream, settings.batch, fabric.global_rank, fabric.world_size)
        position = start + dealt.first
        for some, targets in loader(dealt, dealt.mine, config.data.workers):
            drawn = [
                pairs(t, int(source.indices[stream.index(t)]), target["labels"].tolist())
                for t, target in enumerate(targets, position)
            ]
            categories, supports = zip(*drawn, strict=True)
            kernels = torch.stack([attention.learn(support) for support in supports])
            shown = fabric.to_device(list(map(scaled, some))), fabric.to_device(targets)
            with torch.no_grad(), fabric.autocast():
                features, resized = model.extract(*shown)
            yield AttentionBatch(
                features.batch,
                features.proposing,
                resized,
                *fabric.to_device((torch.stack(categories), kernels)),
            )
            position += settings.batch

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
    with ready.losses.of("attention-rpn", settings.steps) as log:
        train(fabric, attention, batches, optimizer, loop, _state(ready), log)
    return attention


def _state(ready: TrainedBase) -> Path:
    """Its checkpoint: proposals may change from run to run, and one of other settings is another."""
    settings = typed_yaml.as_dict(ready.config.proposals)
    said = "".join(f",{key}={settings[key]}" for key in sorted({*settings} - {"name", "regions"}))
    return ready.folder / f"attention-rpn{said}.state"


def attention_rows(ready: TrainedBase, attention: AttentionRPN, progress: Progress) -> list[Row]:
    """Rows of the detector's own head under an attention RPN; finished ones are read from the run folder.

    What the head learns a novel category from is also what asks for it. So test images have to be looked at
    again for every shot count and seed.

    Args:
        ready: its detector has a head trained as `config.head` says, on the CPU.
    """
    config, problem, seen, model = ready.config, ready.problem, ready.seen, ready.model
    method, classes = (
        config.head.label + cfg.ATTENTION_SUFFIX,
        problem.split.base + problem.split.novel,
    )
    key = cache_key(config, config.head) | {"proposals": typed_yaml.as_dict(config.proposals)}
    supports, device = EmbeddedSupport.of(model.head, seen), ready.fabric.device

    def make(k: int, seed: int) -> FineTunedDetector:
        index = shots_of(seen, problem, novel_shots(problem, config.data, k, seed))
        task = model.head.learn(supports.with_shots(index))
        novel = seen.novel.take(index, seen.novel.labels[index], len(problem.split.novel))
        kernels = attention.learn(novel).to(device)
        return FineTunedDetector(
            model, task, classes, ConditionedProposals(model.rpn, attention, kernels, len(classes))
        )

    return PerShotRuns(ready, method, key).rows(make, True, progress)
