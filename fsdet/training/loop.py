"""One flat training loop for every stage: supervised, episodic from images, episodic from the region bank."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fsdet.errors import InputError
from fsdet.training.checkpoint import load_state, save_state


@dataclass(frozen=True)
class Schedule:
    """Learning rate over steps, as a factor: linear warm-up, then cosine to a hundredth or ten-fold drops."""

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
    """What is the same in every stage."""

    schedule: Schedule
    seed: int = 0
    clip: float = 10.0
    ema: float = 0.0  # decay of the averaged weights; 0: none
    save_every: int = 200
    rate_key: str = "train.learning_rate"  # what sets the rate of the optimizer's first group


class _Sealed:
    """A batch that Fabric passes on as it is; it would take every value apart, and refuses frozen ones."""

    def __init__(self, batch: Any):
        self.batch = batch


class _Opened(nn.Module):
    def __init__(self, objective: nn.Module):
        super().__init__()
        self.objective = objective

    def forward(self, sealed: _Sealed) -> dict[str, Tensor]:
        return self.objective(sealed.batch)


def train(
    fabric: Fabric,
    objective: nn.Module,
    batches: Callable[[int], Iterable],
    optimizer: torch.optim.Optimizer,
    loop: Loop,
    checkpoint: Path | None = None,
    log: Callable[[int, dict[str, float]], None] = lambda step, values: None,
) -> nn.Module:
    """Train `objective` in place and return it.

    Args:
        fabric: carries device, precision and distribution.
        objective: `objective(batch) -> dict of losses`; its `forward` is what a distributed wrapper sees, so
            that an inner loop inside of it is synchronised once, at the outer gradient.
        batches: the batches from a step on; a pure function of that step, so that a run can go on where it
            stopped.
        checkpoint: written every `loop.save_every` steps and at the end, always whole; if it is there the
            run goes on from it, to the same bits on a CPU.
        log: called after every step with the losses.

    Raises:
        InputError: the checkpoint is of another model, or a loss is no longer finite.
    """
    wrapped, optimizer = fabric.setup(_Opened(objective), optimizer)
    average = (
        AveragedModel(objective, multi_avg_fn=get_ema_multi_avg_fn(loop.ema)) if loop.ema else None
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    first = 0
    if checkpoint and checkpoint.exists():
        first = load_state(checkpoint, objective, optimizer, average)
    objective.train()
    source = iter(batches(first))
    for step in range(first, loop.schedule.steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * loop.schedule(step)
        batch = next(source)
        # Sampling inside the model draws from the global generator: seeded by step, it resumes by itself;
        # by process too, which draw for images of their own. A loader draws from it, once, when it starts.
        moment = loop.seed * 1_000_003 + step
        torch.manual_seed(moment * fabric.world_size + fabric.global_rank)
        losses: dict[str, Tensor] = wrapped(_Sealed(batch))
        total = sum(losses.values())
        if not torch.isfinite(total):
            named = ", ".join(f"{name} {value.item():.3g}" for name, value in losses.items())
            raise InputError(
                f"training diverged at step {step}: {named}; try a lower {loop.rate_key} than"
                f" {rates[0]:g}"
            )
        optimizer.zero_grad()
        fabric.backward(total)
        if loop.clip:
            fabric.clip_gradients(wrapped, optimizer, max_norm=loop.clip, error_if_nonfinite=False)
        optimizer.step()
        if average is not None:
            average.update_parameters(objective)
        log(step, {name: value.item() for name, value in losses.items()} | {"loss": total.item()})
        last = step + 1 == loop.schedule.steps
        if checkpoint and (last or (step + 1) % loop.save_every == 0) and fabric.is_global_zero:
            save_state(checkpoint, step + 1, objective, optimizer, average)
    if average is not None:
        objective.load_state_dict(average.module.state_dict())
    return objective.eval()
