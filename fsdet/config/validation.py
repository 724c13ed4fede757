"""Validation of a configuration: ranges, choices, and values that must go together."""

from collections.abc import Iterable, Sequence
from typing import Any

from fsdet.config.schema import ATTENTION_SUFFIX, PARTS, Config, Detector, Head, Stage
from fsdet.errors import InputError, nearest


def check(config: Config) -> None:
    """Validate what types cannot express.

    Raises:
        InputError: a value out of range, or values that contradict each other.
    """
    for least, keys in _AT_LEAST.items():
        for key in keys.split():
            if not (value := _value(config, key)) >= least:
                raise InputError(f"{key}: expected at least {least}, got {value}")
    for most, keys in _AT_MOST.items():
        for key in keys.split():
            if (value := _value(config, key)) > most:
                raise InputError(f"{key}: expected at most {most}, got {value}")
    for key, value, choices in (
        ("precision", config.precision, ("auto", "32-true", "bf16-mixed")),
        ("device", config.device, ("auto", "cpu", "cuda")),
        ("proposals.name", config.proposals.name, ("rpn", "attention")),
    ):
        if value not in choices:
            raise InputError(f"{key}: expected one of {', '.join(choices)}; got '{value}'")
    for key, pair in (("meta.ways", config.meta.ways), ("meta.shots", config.meta.shots)):
        if len(pair) != 2 or not 1 <= pair[0] <= pair[1]:
            raise InputError(f"{key}: expected [least, most] with 1 <= least <= most, got {pair}")
    if not config.evaluate.shots or min(config.evaluate.shots) < 1:
        raise InputError(f"evaluate.shots: expected numbers from 1 on, got {config.evaluate.shots}")
    _check_detector(config.detector)
    by_label = {config.head.label: config.head}
    for head in (config.head, *config.baselines):
        check_head(head)
        if by_label.setdefault(head.label, head) != head:
            raise InputError(
                f"baselines: '{head.label}' is there with other args; give it a run of its own"
            )
    taken = [*by_label, "joint"]
    if config.proposals.name == "attention":
        taken.append(config.head.label + ATTENTION_SUFFIX)
    for stage in config.stages:
        _check_stage(stage, bool(config.detector.gradients), taken)
        taken.append(stage.name)


def _check_detector(body: Detector) -> None:
    """Raise an InputError for values of the detector that contradict each other."""
    levels = body.backbone.levels
    if not levels or levels != sorted(set(levels) & {0, 1, 2, 3}):
        raise InputError(f"detector.backbone.levels: expected some of 0, 1, 2, 3, got {levels}")
    count = len(levels) + body.backbone.extra
    if len(body.anchors) != count:
        raise InputError(
            f"detector.anchors: expected a list of sizes for each of the {count} pyramid levels,"
            f" got {len(body.anchors)}"
        )
    if min(body.other_sizes, default=32) < 32:
        raise InputError(
            f"detector.other_sizes: expected short sides from 32 on, got {body.other_sizes}"
        )
    sizes = [size for level in body.anchors for size in level]
    if not sizes or min(sizes) <= 0 or len(set(map(len, body.anchors))) > 1:
        raise InputError(
            f"detector.anchors: expected as many sizes for every level, got {body.anchors}"
        )
    if len(body.proposals) != 2 or min(body.proposals) < 1:
        raise InputError(
            f"detector.proposals: expected [in training, at test] from 1 on, got {body.proposals}"
        )
    if len(body.mean) != 3 or len(body.std) != 3 or min(body.std) <= 0:
        raise InputError(
            "detector.mean, detector.std: expected three numbers, those of std above 0"
        )
    if body.gradients and not _are_shares(body.gradients):
        raise InputError(
            f"detector.gradients: expected two numbers from 0 to 1, or none, got {body.gradients}"
        )


def _check_stage(stage: Stage, decoupled: bool, taken: Iterable[str]) -> None:
    where = f"stages, '{stage.name}'"
    if stage.name in ("", ".", "..") or "/" in stage.name:  # it names a folder
        raise InputError(f"{where}: name: expected a name without '/' and other than '..'")
    check_head(stage.head)
    if unknown := [part for part in stage.learns if part not in PARTS]:
        raise InputError(
            f"{where}: learns: expected some of {', '.join(PARTS)}, got '{unknown[0]}'{nearest(unknown[0], PARTS)}"
        )
    for key, value, choices in (
        ("start", stage.start, ("means", "random", "novel")),
        ("categories", stage.categories, ("all", "novel")),
    ):
        if value not in choices:
            raise InputError(f"{where}: {key}: expected one of {', '.join(choices)}; got '{value}'")
    if stage.start == "novel" and stage.categories == "novel":
        raise InputError(f"{where}: start: 'novel' is for a stage of all categories")
    if stage.gradients and not decoupled:
        raise InputError(f"{where}: gradients: needs detector.gradients in base training too")
    if stage.gradients and not _are_shares(stage.gradients):
        raise InputError(
            f"{where}: gradients: expected two numbers from 0 to 1, got {stage.gradients}"
        )
    counts = [("steps", stage.steps + stage.steps_a_shot), ("batch", stage.batch)]
    if stage.start == "novel":
        counts.append(("alone", stage.alone))
    for key, count in counts:
        if count < 1:
            raise InputError(f"{where}: {key}: expected at least 1, got {count}")
    for key in (
        "steps",
        "steps_a_shot",
        "alone",
        "learning_rate",
        "layer_rate",
        "weight_decay",
        "reference",
    ):
        if not getattr(stage, key) >= 0:
            raise InputError(f"{where}: {key}: expected at least 0, got {getattr(stage, key)}")
    if stage.name in taken:
        raise InputError(
            f"stages: another method's rows are called '{stage.name}'; give it a name of its own"
        )


def _are_shares(values: Sequence[float]) -> bool:
    return len(values) == 2 and all(0 <= value <= 1 for value in values)


def check_head(head: Head) -> None:
    """Validate what types cannot express of a head.

    Raises:
        InputError: a value out of range.
    """
    if not 0 <= head.calibration <= 1:
        raise InputError(f"head.calibration: expected 0 to 1, got {head.calibration}")


def _value(config: Config, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


_AT_LEAST = {
    0: "seed train.reference data.workers detector.backbone.frozen_stages"
    " train.steps train.learning_rate train.backbone_rate train.weight_decay train.warmup train.clip"
    " train.ema train.strength"
    " meta.steps meta.learning_rate meta.own_rate meta.scalar_rate meta.weight_decay meta.known meta.background"
    " meta.chimeras meta.keep meta.warmup meta.clip meta.end_to_end meta.end_to_end_rate"
    " proposals.learning_rate proposals.layer_rate"
    " evaluate.background evaluate.score evaluate.overlays",
    1: "devices detector.backbone.channels detector.per_image detector.pool detector.width"
    " train.batch train.save_every meta.batch meta.query meta.images meta.save_every"
    " proposals.steps proposals.batch proposals.regions"
    " evaluate.seeds evaluate.base_shots",
    32: "detector.min_size detector.max_size",
}
_AT_MOST = {
    1: "train.ema meta.chimeras meta.keep evaluate.score",
    2: "train.strength",
    4: "detector.backbone.frozen_stages",
}
