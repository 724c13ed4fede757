"""Where an experiment runs: Lightning Fabric carries device, precision and distribution."""

import os
from collections.abc import Mapping

import torch
from lightning_fabric import Fabric

from fsdet import config as cfg
from fsdet.errors import InputError


def precision_of(config: cfg.Config) -> str:
    """The precision that is computed in; `auto` is bf16 where the hardware multiplies it."""
    if config.precision != "auto":
        return config.precision
    return "bf16-mixed" if _on_gpu(config) or _fast_bf16() else "32-true"


def batches_of(config: cfg.Config) -> dict[str, int]:
    """The batches of all trainings of an experiment, by their keys."""
    batches = {"train.batch": config.train.batch, "meta.batch": config.meta.batch}
    if config.proposals.name == "attention":
        batches["proposals.batch"] = config.proposals.batch
    return batches | stage_batches_of(config)


def stage_batches_of(config: cfg.Config) -> dict[str, int]:
    """Those of novel stages alone."""
    return {f"stages, '{stage.name}': batch": stage.batch for stage in config.stages}


def fabric_of(config: cfg.Config, batches: Mapping[str, int]) -> Fabric:
    """The Fabric of a configuration, launched; under torchrun it takes the processes that are there.

    Args:
        batches: that devices will share, by what a message calls them.

    Raises:
        InputError: a GPU is asked for and there is none; a batch that the devices cannot share.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: 'cuda' asked for and there is none; expected device=cpu or auto")
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", config.devices))
    nodes = int(os.environ.get("GROUP_WORLD_SIZE", 1))
    everywhere = devices * nodes
    for key, batch in batches.items():
        if batch % everywhere:
            raise InputError(f"{key}: {batch} cannot be dealt out evenly to {everywhere} devices")
    fabric = Fabric(
        accelerator="cuda" if _on_gpu(config) else "cpu",
        devices=devices,
        num_nodes=nodes,
        # A backbone may have stages after the last level that is looked at.
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
        precision=precision_of(config),
    )
    fabric.launch()
    return fabric


def _on_gpu(config: cfg.Config) -> bool:
    return config.device != "cpu" and torch.cuda.is_available()


def _fast_bf16() -> bool:
    """Whether this processor multiplies bf16 matrices in hardware; elsewhere fp32 is faster."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())
