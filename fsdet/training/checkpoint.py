"""Checkpoints: whole or absent, and never unpickled into code."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from fsdet.errors import InputError, one_line
from fsdet.files import write_whole


def save_state(path: Path, step: int, model: nn.Module, optimizer, average) -> None:
    """Everything a stage needs to go on: only tensors and numbers."""
    state = {
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.state_dict() if average is not None else None,
    }
    write_whole(path, lambda whole: torch.save(state, whole))


def load_state(path: Path, model: nn.Module, optimizer, average) -> int:
    """Restore a stage and say how many steps it has done.

    Raises:
        InputError: the file is cut, holds code, or is of another model.
    """
    state = _read(path)
    try:
        if not isinstance(state, dict):
            raise TypeError(f"it holds a {type(state).__name__}")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        if average is not None:
            average.load_state_dict(state["average"])
        return int(state["step"])
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        reason = one_line(error, 200)
        raise InputError(
            f"checkpoint '{path}' is of another model or configuration ({reason}); use another run folder"
        ) from error


def steps_done(path: Path) -> int:
    """How many steps a stage has done; none if there is no checkpoint.

    Raises:
        InputError: the file is cut, holds code, or is no checkpoint.
    """
    if not path.exists():
        return 0
    state = _read(path)
    if not isinstance(state, dict) or not isinstance(state.get("step"), int):
        raise InputError(f"checkpoint '{path}' is not of a stage; use another run folder")
    return state["step"]


def _read(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's refusals share no class below this one
        raise InputError(
            f"checkpoint '{path}' is not whole or holds more than tensors: {error}"
        ) from error
