"""Lightning Fabric of a configuration: device, precision and distribution."""

import os
import secrets
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from fsdet import config as cfg
from fsdet.config.schema import Precision
from fsdet.errors import InputError

# The other processes wait while the first extracts features and scores; NCCL would give up after 10 minutes.
WAIT = timedelta(days=7)


def precision_of(config: cfg.Config) -> Precision:
    """The precision of a configuration; `auto` is bf16 on a GPU, and 32 bits on every CPU.

    Some CPUs multiply bf16 faster, but then accuracy would depend on the kind of CPU.
    """
    if config.precision != "auto":
        return config.precision
    return "bf16-mixed" if _on_gpu(config) else "32-true"


def batches_of(config: cfg.Config) -> dict[str, int]:
    """The batch sizes of all trainings of an experiment, by configuration key."""
    batches = {"train.batch": config.train.batch, "meta.batch": config.meta.batch}
    if config.proposals.name == "attention":
        batches["proposals.batch"] = config.proposals.batch
    return batches | stage_batches_of(config)


def stage_batches_of(config: cfg.Config) -> dict[str, int]:
    """The batch sizes of novel stages."""
    return {f"stages, '{stage.name}': batch": stage.batch for stage in config.stages}


def fabric_of(config: cfg.Config, batches: Mapping[str, int]) -> Fabric:
    """Launch the Fabric of a configuration; under torchrun it joins the processes.

    Args:
        batches: batch sizes that the devices share, by configuration key.

    Raises:
        InputError: no GPU for device=cuda, or a batch that cannot be divided among the devices.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: 'cuda' is not available; expected device=cpu or auto")
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", config.devices))
    nodes = int(os.environ.get("GROUP_WORLD_SIZE", 1))
    world_size = devices * nodes
    for key, batch in batches.items():
        if batch % world_size:
            raise InputError(f"{key}: {batch} cannot be divided evenly among {world_size} devices")
    fabric = Fabric(
        accelerator="cuda" if _on_gpu(config) else "cpu",
        devices=devices,
        num_nodes=nodes,
        # A backbone may have stages after the last level in use.
        strategy=DDPStrategy(find_unused_parameters=True, timeout=WAIT)
        if world_size > 1
        else "auto",
        precision=cast(Any, precision_of(config)),
    )
    fabric.launch()
    allow_tf32(precision_of(config) == "bf16-mixed")
    return fabric


def check_shared(fabric: Fabric, folder: Path) -> None:
    """Check that all processes see the files that the first one writes into the run folder.

    Raises:
        InputError: a process of another node does not.
    """
    if fabric.world_size == 1:
        return
    probe = folder / f".{fabric.broadcast(secrets.token_hex(6))}"
    if fabric.is_global_zero:
        probe.touch()
    fabric.barrier()
    is_shared = probe.is_file()
    fabric.barrier()
    if fabric.is_global_zero:
        probe.unlink()
    if not is_shared:
        raise InputError(
            f"run: expected a folder that all nodes share, such as one on NFS; process"
            f" {fabric.global_rank} does not find in '{folder}' what process 0 wrote there"
        )


def allow_tf32(allowed: bool) -> None:
    """Whether a GPU may round the factors of fp32 products to 11 bits, for several times the speed.

    bf16 keeps 8 bits of them, so with bf16 it may. Of its own accord PyTorch rounds in convolutions, and in no
    other products: `32-true` would then not be what a CPU computes.
    """
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def _on_gpu(config: cfg.Config) -> bool:
    return config.device != "cpu" and torch.cuda.is_available()
