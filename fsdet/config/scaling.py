"""Steps and learning rates converted from a reference batch size to another batch size."""

from dataclasses import replace

from fsdet.config.schema import Stage, Train


def scaled(train: Train) -> Train:
    """The same base training in steps of `batch`, where steps and rates are for batches of `reference`.

    The number of images stays: steps, warm-up, drops and the interval of checkpoints change with the inverse of the
    batch. The rate changes with the square root of the batch, as AdamW's noise does (Malladi et al. 2022, "On the
    SDEs and Scaling Rules for Adaptive Gradient Algorithms"). The average of the weights covers as many images.
    """
    if train.reference in (0, train.batch):
        return replace(train, reference=0)
    factor = train.reference / train.batch
    return replace(
        train,
        reference=0,
        steps=_scaled_steps(train.steps, factor),
        warmup=round(train.warmup * factor),
        drops=[round(step * factor) for step in train.drops],
        save_every=max(round(train.save_every * factor), 1),
        learning_rate=train.learning_rate / factor**0.5,
        ema=train.ema ** (1 / factor) if train.ema else 0.0,
    )


def scaled_stage(stage: Stage) -> Stage:
    """The same novel stage in steps of `batch`, as `scaled` for base training."""
    if stage.reference in (0, stage.batch):
        return replace(stage, reference=0)
    factor = stage.reference / stage.batch
    return replace(
        stage,
        reference=0,
        steps=_scaled_steps(stage.steps, factor),
        steps_a_shot=_scaled_steps(stage.steps_a_shot, factor),
        alone=_scaled_steps(stage.alone, factor),
        learning_rate=stage.learning_rate / factor**0.5,
        layer_rate=stage.layer_rate / factor**0.5,
    )


def _scaled_steps(steps: int, factor: float) -> int:
    """Steps times the factor, rounded; at least one step unless there are none."""
    return max(round(steps * factor), 1) if steps else 0
