"""One training loop for all stages: supervised, on episodes of images, and on episodes of cached regions."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fsdet.errors import InputError
from fsdet.training.checkpoint import load_state, save_state
from fsdet.training.stop import StopRequest, stop_requests


@dataclass(frozen=True)
class Schedule:
    """Factor of the learning rate at a step: linear warm-up, then cosine to a hundredth or ten-fold drops."""

    steps: int
    warmup: int = 0
    drops: tuple[int, ...] = ()  # empty: cosine

    def __call__(self, step: int) -> float:
        warm = min(1.0, (step + 1) / (self.warmup + 1))
        if self.drops:
            return warm * 0.1 ** sum(step >= drop for drop in self.drops)
        progress = min(step / max(self.steps, 1), 1.0)
        return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


@dataclass(frozen=True)
class Loop:
    """Settings of a training."""

    schedule: Schedule
    seed: int = 0
    clip: float = 10.0  # maximum norm of the gradient; 0: none
    ema: float = 0.0  # decay of the averaged weights; 0: none
    save_every: int = 200  # steps between checkpoints, at most
    rate_key: str = "train.learning_rate"  # configuration key of the first group's learning rate
    save_seconds: float = 300.0  # between checkpoints, at most


class _Sealed:
    """A batch that Fabric does not take apart: its recursion refuses frozen dataclasses."""

    def __init__(self, batch: Any):
        self.batch = batch


class _Unsealing(nn.Module):
    """An objective that takes sealed batches."""

    def __init__(self, objective: nn.Module):
        super().__init__()
        self.objective = objective

    def forward(self, sealed: _Sealed) -> dict[str, Tensor]:
        return self.objective(sealed.batch)


def train(
    fabric: Fabric,
    objective: nn.Module,
    batches: Callable[[int], Iterable[Any]],
    optimizer: Optimizer,
    loop: Loop,
    checkpoint: Path | None = None,
    log: Callable[[int, dict[str, float]], None] = lambda step, losses: None,
) -> nn.Module:
    """Train `objective` in place and return it in evaluation mode.

    Args:
        fabric: device, precision and distribution.
        objective: `objective(batch)` returns named losses, scalars. A distributed wrapper sees this call alone and
            averages gradients over processes once, after any inner loop.
        batches: batches from a step on; a pure function of the step, so that a run can resume.
        checkpoint: file written every `loop.save_every` steps, every `loop.save_seconds`, at the end, and when a
            signal stops a training in one process. If it exists, the run resumes from it; on a CPU to the same
            bits.
        log: called after every step with the losses and their sum, `loss`.

    Raises:
        InputError: the checkpoint is of another model, or a loss is not finite.
    """
    wrapped, optimizer = fabric.setup(_Unsealing(objective), optimizer)
    parts: dict[str, nn.Module | Optimizer] = {"model": objective, "optimizer": optimizer}
    if loop.ema:
        average = AveragedModel(objective, multi_avg_fn=get_ema_multi_avg_fn(loop.ema))
        parts["average"] = average
    rates = [group["lr"] for group in optimizer.param_groups]
    first = 0
    if checkpoint and checkpoint.exists():
        first = load_state(checkpoint, parts)
    objective.train()
    steps, saved = loop.schedule.steps, time.monotonic()
    # Of several processes, the others would wait without end for one that stops.
    alone = checkpoint is not None and fabric.world_size == 1
    with stop_requests() if alone else nullcontext(StopRequest()) as stop:
        for step, batch in zip(range(first, steps), batches(first), strict=False):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * loop.schedule(step)
            # The model samples from the global generator: seeded by step and process, it draws in a resumed run as
            # in an uninterrupted one. A loader draws from it too, once, when it starts.
            seed = loop.seed * 1_000_003 + step
            torch.manual_seed(seed * fabric.world_size + fabric.global_rank)
            losses = _step(fabric, wrapped, optimizer, batch, loop.clip)
            _check_finite(losses, step, loop.rate_key, rates[0])
            if loop.ema:
                average.update_parameters(objective)
            log(step, losses)
            done = step + 1
            late = time.monotonic() - saved >= loop.save_seconds
            is_due = done % loop.save_every == 0 or done == steps or late or stop.signal
            if checkpoint and is_due and fabric.is_global_zero:
                save_state(checkpoint, done, parts)
                saved = time.monotonic()
            if stop.signal:
                break
    if loop.ema:
        objective.load_state_dict(average.module.state_dict())
    return objective.eval()


def _check_finite(losses: dict[str, float], step: int, rate_key: str, rate: float) -> None:
    if not math.isfinite(losses["loss"]):
        values = ", ".join(f"{name} {losses[name]:.3g}" for name in losses if name != "loss")
        raise InputError(
            f"training diverged at step {step}: {values}; try a lower {rate_key} than {rate:g}"
        )


def _step(
    fabric: Fabric, wrapped: nn.Module, optimizer: Optimizer, batch: Any, clip: float
) -> dict[str, float]:
    """Update the weights by one gradient step, unless a loss is not finite; the losses and their sum, `loss`."""
    losses: dict[str, Tensor] = wrapped(_Sealed(batch))
    total = reduce(torch.add, losses.values())
    # Read once: the step waits for a GPU here, and nowhere until the next step's losses.
    *values, loss = torch.stack([*losses.values(), total]).tolist()
    if math.isfinite(loss):
        optimizer.zero_grad()
        fabric.backward(total)
        if clip:
            fabric.clip_gradients(wrapped, optimizer, max_norm=clip, error_if_nonfinite=False)
        optimizer.step()
    return dict(zip(losses, values, strict=True)) | {"loss": loss}
