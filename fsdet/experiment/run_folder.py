"""Run folder: bound to one configuration and to fingerprints of its data and detector."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric.utilities import rank_zero_only

from fsdet import config as cfg
from fsdet.config import typed_yaml
from fsdet.data import DetectionData
from fsdet.errors import InputError
from fsdet.files import sole_writer, write_whole

DETECTOR = "<detector>"  # the name of a detector's fingerprint, beside those of subsets
MUTABLE_KEYS = (  # may differ between runs in one folder: stored files depend on them by rounding at most
    "run",
    "device",
    "devices",
    "baselines",
    "stages",
    "joint",
    "data.workers",
    "evaluate.shots",
    "evaluate.seeds",
    "evaluate.background",
    "evaluate.score",
    "evaluate.overlays",
    *(f"proposals.{field.name}" for field in fields(cfg.Proposals)),
)


def hold(folder: Path) -> AbstractContextManager[None]:
    """Hold the run folder for this run: the first of its processes does, for all of them.

    Raises:
        InputError: another run holds it (`sole_writer`).
    """
    return sole_writer(folder) if _is_first_process() else nullcontext()


def claim(folder: Path, config: cfg.Config, fingerprints: Mapping[str, str]) -> None:
    """Bind the run folder to a configuration, and to the data and the detector that the run starts from.

    Args:
        fingerprints: of data sets (`data_fingerprints`) and of a detector, by name.

    Raises:
        InputError: the folder holds a run with another configuration (`MUTABLE_KEYS` may differ), or on data
            that have changed since: stored files refer to images and boxes by index.
    """
    config_file, fingerprint_file = folder / "config.yaml", folder / "data.json"
    # A run that ended before it stored anything does not bind the folder.
    if any(folder.glob("*.state")) or any(folder.glob("*.safetensors")):
        if fingerprint_file.is_file():
            _check_fingerprints(folder, _load_fingerprints(fingerprint_file), fingerprints)
        if config_file.is_file():
            _check_config(folder, cfg.load(config_file), config)
    if not _is_first_process():
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(config_file, lambda file: typed_yaml.save(config, file))
    write_whole(fingerprint_file, lambda file: file.write_text(json.dumps(dict(fingerprints))))


def _is_first_process() -> bool:
    # Before the Fabric is launched; torchrun and Lightning's launcher say it in the environment.
    return getattr(rank_zero_only, "rank", 0) == 0


def data_fingerprints(subsets: Mapping[str, DetectionData]) -> dict[str, str]:
    """Fingerprints of data sets by the name of their subset; they change with images and boxes."""
    return {name: _fingerprint(data) for name, data in subsets.items()}


def _check_fingerprints(
    folder: Path, stored: Mapping[str, str], current: Mapping[str, str]
) -> None:
    for name, fingerprint in stored.items():
        if current.get(name, fingerprint) != fingerprint:
            changed = (
                "the detector has" if name == DETECTOR else f"images or boxes of '{name}' have"
            )
            raise InputError(
                f"'{folder}' holds a run with other inputs: {changed} changed since; give this run"
                " another folder with run=..."
            )


def _check_config(folder: Path, stored: cfg.Config, config: cfg.Config) -> None:
    values = _flat(stored)
    for key, value in _flat(config).items():
        if key not in MUTABLE_KEYS and values.get(key) != value:
            raise InputError(
                f"'{folder}' holds a run with {key}={values.get(key)}, not {value};"
                " give this run another folder with run=..."
            )


def _load_fingerprints(file: Path) -> dict[str, str]:
    try:
        fingerprints = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"'{file}' cannot be read: {error}; give this run another folder with run=..."
        ) from error
    if not isinstance(fingerprints, dict):
        raise InputError(
            f"'{file}': expected fingerprints of the data by name, got {fingerprints!r:.80}"
        )
    return fingerprints


def _fingerprint(data: DetectionData) -> str:
    """SHA-256 of the names and sizes of images, of every box, and of boxes of another detector."""
    digest = hashlib.sha256("\n".join(data.classes).encode())
    images = (data.paths.text, data.paths.ends, data.sizes, data.starts)
    for array in (*images, data.boxes, data.labels, data.ids, data.ignore):
        digest.update(np.ascontiguousarray(array).tobytes())
    for array in (data.proposals.starts, data.proposals.boxes) if data.proposals else ():
        digest.update(array.tobytes())
    return digest.hexdigest()


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Values of a tree of dataclasses by their dotted keys."""
    if not is_dataclass(node):
        return {prefix: node}
    values: dict[str, Any] = {}
    for field in fields(node):
        values |= _flat(getattr(node, field.name), f"{prefix}.{field.name}".lstrip("."))
    return values
