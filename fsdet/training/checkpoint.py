"""Checkpoints of a training: written whole or not at all, and loaded as tensors and numbers only."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from fsdet import checksum
from fsdet.errors import InputError, one_line
from fsdet.files import write_whole


def save_state(path: Path, step: int, parts: Mapping[str, nn.Module | Optimizer]) -> None:
    """Write the parts of a training by name, and the number of completed steps.

    Raises:
        OSError: the path cannot be written.
    """
    state = {"step": step} | {name: part.state_dict() for name, part in parts.items()}

    def write(file: Path) -> None:
        torch.save(state, file)
        _append_checksum(file)

    write_whole(path, write)


def load_state(path: Path, parts: Mapping[str, nn.Module | Optimizer]) -> int:
    """Restore the parts of a training in place; returns the number of completed steps.

    Raises:
        InputError: the file is cut or damaged, holds code, or is of another model.
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
    advice = "delete it, and the same command trains this part again from the start"
    try:
        _verify(Path(path))
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"checkpoint '{path}' is damaged: {one_line(error, 200)}; {advice}"
        ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's share no narrower class, and its texts advise to run code
        raise InputError(
            f"checkpoint '{path}' is damaged or holds more than tensors and numbers; {advice}"
        ) from error


def _append_checksum(file: Path) -> None:
    """Give a file of `torch.save`, which is a zip, its checksum as the zip's comment."""
    comment = checksum.BLANK.encode()
    with open(file, "r+b") as end:
        end.seek(-2, 2)  # the length of the comment ends a zip without one
        end.write(len(comment).to_bytes(2, "little") + comment)
    checksum.seal(file)


def _verify(path: Path) -> None:
    """Compare a checkpoint with its checksum; one of an earlier version, with those of the zip's members.

    Raises:
        ValueError, OSError, zipfile.BadZipFile, zlib.error: the file is cut or damaged.
    """
    with zipfile.ZipFile(path) as archive:
        if not archive.comment and (member := archive.testzip()):
            raise ValueError(f"'{member}' differs from its checksum")
        is_sealed = bool(archive.comment)
    if is_sealed:
        checksum.verify(path)
