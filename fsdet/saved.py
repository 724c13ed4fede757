"""A detector as one safetensors file: tensors, and what they were built from as JSON in its header."""

import json
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fsdet import build
from fsdet import config as cfg
from fsdet.detector import FewShotRCNN
from fsdet.errors import InputError
from fsdet.files import write_whole
from fsdet.memory import Memory
from fsdet.types import Features

FORMAT = 1
FILE = "detector.safetensors"


class Parts(NamedTuple):
    """What a detector is made of; see `fsdet.Detector`."""

    model: FewShotRCNN
    settings: cfg.Detector
    head: cfg.Head
    memory: dict[str, Memory]
    n_base: int


def write(path: str | Path, parts: Parts) -> Path:
    """Write a file, whole or not at all; a path without the suffix .safetensors is a folder for it.

    Returns:
        The file.

    Raises:
        InputError: it cannot be written there.
    """
    path = Path(path)
    path = path if path.suffix == ".safetensors" else path / FILE
    tensors = {f"model.{name}": value for name, value in parts.model.state_dict().items()}
    for n, memory in enumerate(parts.memory.values()):
        tensors |= {
            f"memory.{n}.maps": memory.features.maps,
            f"memory.{n}.means": memory.features.means,
            f"memory.{n}.deltas": memory.deltas,
        }
    about = {
        "format": FORMAT,
        "detector": cfg.as_dict(parts.settings),
        "head": cfg.as_dict(parts.head),
        "memory": list(parts.memory),
        "n_base": parts.n_base,
    }
    whole = {name: value.contiguous() for name, value in tensors.items()}
    try:
        write_whole(path, lambda to: save_file(whole, to, {"fsdet": json.dumps(about)}))
    except (OSError, SafetensorError) as error:
        raise InputError(f"'{path}' cannot be written: {error}") from error
    return path


def read(path: str | Path) -> Parts:
    """Read what `write` wrote, from the file or from the folder that holds it.

    Raises:
        InputError: there is none, it is cut, or it is not a detector.
    """
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"no detector at '{path}'; expected a run folder or a .safetensors file")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("fsdet", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"'{path}' is not a whole safetensors file: {error}") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise InputError(f"'{path}' holds tensors but no detector of format {FORMAT}")
    try:
        settings = cfg.part(cfg.Detector, about["detector"])
        head = cfg.part(cfg.Head, about["head"])
        model = build.detector(settings, head, about["n_base"], pretrained=False)
        state = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
        model.load_state_dict(state)
        memory = {
            name: Memory(
                Features(tensors[f"memory.{n}.maps"], tensors[f"memory.{n}.means"]),
                tensors[f"memory.{n}.deltas"],
            )
            for n, name in enumerate(about["memory"])
        }
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"'{path}' is a detector of another version or is incomplete: {reason}"
        ) from error
    return Parts(model, settings, head, memory, about["n_base"])
