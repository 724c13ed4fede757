"""Detector file: tensors as safetensors, and their configuration as JSON in the header, with a checksum."""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from fsdet import build, tensor_file
from fsdet import config as cfg
from fsdet.api.memory import Memory
from fsdet.api.proposals import Proposer
from fsdet.config import typed_yaml
from fsdet.errors import InputError, one_line
from fsdet.files import is_file
from fsdet.heads.finetuning.beside import Beside
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.types import Features

FORMAT = 3  # 1 has no kept categories and no origin; 1 and 2 have no checksum
MOST_CATEGORIES = 100_000
FILE = "detector.safetensors"
OTHERS = (".pth", ".pt", ".pkl")  # suffixes of other projects' files


class Parts(NamedTuple):
    """Arguments of `fsdet.Detector`."""

    model: FewShotRCNN
    settings: cfg.Detector
    head: cfg.Head
    memory: dict[str, Memory]
    n_base: int
    kept: tuple[str, ...] = ()  # categories that the head keeps from a trained classifier
    origin: str = ""  # of an imported detector: file, preset and licence
    thresholds: dict[str, float] = {}  # noqa: RUF012  # minimum scores by category; not changed
    proposals: Proposer | None = None  # from outside; not in the file


def write(path: str | Path, parts: Parts, notes: Any = None) -> Path:
    """Write a detector file, whole or not at all.

    Args:
        path: the file; without the suffix .safetensors, the folder for `FILE`.
        notes: JSON stored beside the detector; `notes_of` reads it, `read` ignores it.

    Returns:
        The file.

    Raises:
        InputError: the path cannot be written.
    """
    path = save_path(path)
    tensors = _by_name(parts.model, parts.memory.values())
    about = {
        "format": FORMAT,
        "detector": asdict(parts.settings),
        "head": asdict(parts.head),
        "memory": list(parts.memory),
        "n_base": parts.n_base,
        "kept": list(parts.kept),
        "origin": parts.origin,
        "thresholds": parts.thresholds,
        "notes": notes,
    }
    try:
        tensor_file.save(path, tensors, about)
    except OSError as error:
        raise InputError(f"'{path}' cannot be written: {error.strerror}") from error
    return path


def save_path(path: str | Path) -> Path:
    """The file that `write` writes for a path."""
    path = Path(path)
    return path if path.suffix == ".safetensors" else path / FILE


def load_path(path: str | Path) -> Path:
    """The file that `read` reads for a path: `FILE` in a folder, or the path itself.

    Raises:
        InputError: no path, or a name that no file has.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"expected the path of a detector, got {type(path).__name__}")
    path = Path(path)
    try:
        return path / FILE if path.is_dir() else path
    except (OSError, ValueError) as error:  # too long, or with a NUL
        raise InputError(f"no detector at {str(path)!r:.80} ({error!s:.80})") from None


def notes_of(path: Path) -> Any:
    """The notes in a readable detector file; None without notes."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    # Formats 1 and 2 have a key of their own for the notes.
    notes = metadata.get("notes")
    return json.loads(metadata["fsdet"])["notes"] if notes is None else json.loads(notes)


def read(path: str | Path) -> Parts:
    """Read a detector file.

    Raises:
        InputError: no file, a cut or damaged file, no detector, or tensors that differ from the header.
    """
    path = load_path(path)
    if not is_file(path):
        raise InputError(f"no detector at '{path}'; expected a run folder or a .safetensors file")
    try:
        tensors, about = tensor_file.load(path)
    except (OSError, ValueError) as error:
        other = path.suffix in OTHERS
        hint = "`fsdet import` reads those of other projects" if other else "copy or train it again"
        raise InputError(
            f"'{path}' is not a whole safetensors file: {one_line(error, 200)}; {hint}"
        ) from error
    if not isinstance(about, dict) or about.get("format") not in range(1, FORMAT + 1):
        raise InputError(f"'{path}' holds tensors but no detector of format 1 to {FORMAT}")
    try:
        return _parts(about, tensors)
    except (LookupError, RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        reason = one_line(error, 200)
        raise InputError(
            f"'{path}' is a detector of another version or is incomplete: {reason}"
        ) from error


def _parts(about: dict[str, Any], tensors: dict[str, Tensor]) -> Parts:
    """The parts that a header describes; allocates no memory before shapes and types of all tensors agree."""
    settings, head, names, n_base = _described(about)
    kept, origin = _kept_names(about), str(about.get("origin", ""))
    with torch.device("meta"):
        blank = build.detector(settings, head, n_base, pretrained=False)
    counts = [_rows(tensors.get(f"memory.{n}.deltas")) for n in range(len(names))]
    _compare(_by_name(blank, [Memory.blank(count, blank.shape) for count in counts]), tensors)
    _check_finite(tensors)
    model = build.detector(settings, head, n_base, pretrained=False)
    model.load_state_dict({name: tensors[f"model.{name}"] for name in blank.state_dict()})
    memory = {
        name: Memory(
            Features(tensors[f"memory.{n}.maps"], tensors[f"memory.{n}.means"]),
            tensors[f"memory.{n}.deltas"],
        )
        for n, name in enumerate(names)
    }
    visible = model.head.n_kept if isinstance(model.head, Beside) else 0
    if len(kept) != visible:
        raise InputError(f"kept: expected {visible} names, got {len(kept)}")
    thresholds = _thresholds(about, {*kept, *names})
    return Parts(model, settings, head, memory, n_base, kept, origin, thresholds)


def _kept_names(about: dict[str, Any]) -> tuple[str, ...]:
    names = about.get("kept", [])
    valid = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    if not valid or len(set(names)) < len(names):
        raise InputError(f"kept: expected names, each once, got {names!r:.80}")
    return tuple(names)


def _thresholds(about: dict[str, Any], names: set[str]) -> dict[str, float]:
    """Minimum scores by category; files of before have none."""
    scores = about.get("thresholds", {})
    if not isinstance(scores, dict) or not all(
        name in names and type(score) in (int, float) and 0 <= score <= 1
        for name, score in scores.items()
    ):
        raise InputError(f"thresholds: expected scores in 0..1 by category, got {scores!r:.80}")
    return scores


def _described(about: dict[str, Any]) -> tuple[cfg.Detector, cfg.Head, list[str], int]:
    """Validated settings, head, names of the memory and number of base categories of a header."""
    content = about["detector"]
    if isinstance(content, dict):
        content = {"voting": 1.0} | content  # files of before have no votes
    settings = typed_yaml.part(cfg.Detector, content)
    head = typed_yaml.part(cfg.Head, about["head"])
    module = head.name.partition(":")[0]
    if module != head.name and module not in sys.modules:  # a file never makes us import code
        raise InputError(f"its head is '{head.name}'; import {module!r} before you load it")
    names, n_base = about["memory"], about["n_base"]
    if type(n_base) is not int or not 0 <= n_base <= MOST_CATEGORIES:
        raise InputError(
            f"n_base: expected a whole number 0..{MOST_CATEGORIES}, got {n_base!r:.80}"
        )
    valid = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not valid or len(set(names)) < len(names):
        raise InputError(f"memory: expected names, each once, got {names!r}")
    return settings, head, names, n_base


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors with their names and shapes."""
    hasher = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        hasher.update(f"{name}\0{list(value.shape)}\0".encode())
        hasher.update(value.detach().to("cpu", torch.float32).contiguous().reshape(-1).numpy().data)
    return hasher.hexdigest()


def identity(parts: Parts) -> str:
    """SHA-256 of a detector's weights and memory."""
    memory = {name: str(n) for n, name in enumerate(parts.memory)}
    weights = digest(_by_name(parts.model, parts.memory.values()))
    return hashlib.sha256(json.dumps([weights, memory]).encode()).hexdigest()


def _by_name(model: FewShotRCNN, memories: Iterable[Memory]) -> dict[str, Tensor]:
    """All tensors of a file."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for n, memory in enumerate(memories):
        tensors |= {
            f"memory.{n}.maps": memory.features.maps,
            f"memory.{n}.means": memory.features.means,
            f"memory.{n}.deltas": memory.deltas,
        }
    return tensors


def _rows(tensor: Tensor | None) -> int:
    return 0 if tensor is None or tensor.ndim == 0 else len(tensor)


def _compare(expected: dict[str, Tensor], actual: dict[str, Tensor]) -> None:
    """Raise an InputError for a missing or unknown tensor, or one of another shape or kind."""
    for name, value in expected.items():
        if name not in actual:
            raise InputError(f"tensor '{name}' is missing")
        expected_kind, actual_kind = _kind(value), _kind(actual[name])
        if expected_kind != actual_kind:
            raise InputError(f"tensor '{name}': expected {expected_kind}, got {actual_kind}")
    for name in sorted(actual.keys() - expected.keys()):
        raise InputError(f"tensor '{name}' is of no part of the detector")


def _check_finite(tensors: dict[str, Tensor]) -> None:
    """Raise an InputError for a tensor with NaN or an infinite number: the detector would find nothing."""
    for name, value in tensors.items():
        # The sum is finite only if all numbers are; overflow is left to the exact test.
        if not torch.isfinite(value.sum()) and not bool(torch.isfinite(value).all()):
            raise InputError(f"tensor '{name}': expected finite numbers")


def _kind(tensor: Tensor) -> str:
    kind = "floats" if tensor.is_floating_point() else "whole numbers"
    return f"{kind} {list(tensor.shape)}"
