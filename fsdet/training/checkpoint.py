"""Checkpoints of a training: written whole or not at all, and loaded as tensors and numbers only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from fsdet.errors import InputError, one_line
from fsdet.files import write_whole


def save_state(path: Path, step: int, parts: Mapping[str, nn.Module | Optimizer]) -> None:
    """Write the parts of a training by name, and the number of completed steps."""
    state = {"step": step} | {name: part.state_dict() for name, part in parts.items()}
    write_whole(path, lambda temporary: torch.save(state, temporary))


def load_state(path: Path, parts: Mapping[str, nn.Module | Optimizer]) -> int:
    """Restore the parts of a training in place; returns the number of completed steps.

    Raises:
        InputError: the file is cut, holds code, or is of another model.
    """
    state = _read(path)
    try:
        state = dict(state)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return int(state["step"])
    except (LookupError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"checkpoint '{path}' is of another model or configuration ({one_line(error, 200)});"
            " use another run folder"
        ) from error


def _read(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's errors share no narrower class
        raise InputError(
            f"checkpoint '{path}' is not whole or holds more than tensors: {one_line(error, 200)}"
        ) from error
