"""The tensors of a detector file of another project, by name, and what it says of itself."""

import pickle
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fsdet.errors import InputError, one_line
from fsdet.importers.pickles import read_pickle
from fsdet.importers.stand_ins import PickledArray
from fsdet.importers.torch_zip import read_torch_zip

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


@dataclass(frozen=True)
class State:
    """Content of a detector file."""

    tensors: dict[str, Tensor]
    names: tuple[str, ...] = ()  # of the categories, where the file has them (mmdetection's do)
    style: str | None = None  # of mmdetection's ResNets: pytorch or caffe
    left_out: tuple[str, ...] = ()  # classes that the file names, not loaded


def read_state(path: Path) -> State:
    """Read `.safetensors`, files of `torch.save` and detectron2's `.pkl`; nothing in them is run.

    Raises:
        InputError: no such file, cut, foreign, without tensors, or with numbers that are not finite.
    """
    if not path.is_file():
        raise InputError(f"import: no file '{path}'")
    try:
        content, left_out = _content(path)
    except (
        pickle.UnpicklingError, zipfile.BadZipFile, SafetensorError, OSError, EOFError, ValueError,
        RuntimeError, MemoryError, KeyError, NotImplementedError,
    ) as error:  # fmt: skip
        reason = one_line(error, 200) or type(error).__name__
        raise InputError(f"import: '{path}' is not a whole weights file: {reason}") from error
    meta = content.get("meta") if isinstance(content, dict) else None
    meta = meta if isinstance(meta, dict) else {}
    tensors = _tensors(content, path)
    return State(tensors, _category_names(meta), _style(meta), tuple(sorted(left_out)))


def _content(path: Path) -> tuple[Any, set[str]]:
    if path.suffix == ".safetensors":
        return load_file(path), set()
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(_ZIP):
        return read_torch_zip(path)
    if not start.startswith(_PICKLE):
        raise ValueError("neither a pickle, nor a file of torch.save, nor a .safetensors file")
    if path.suffix == ".pkl":
        return read_pickle(path.read_bytes())
    try:  # torch.save wrote several pickles in a row before PyTorch 1.6
        return torch.load(path, map_location="cpu", weights_only=True), set()
    except Exception as error:  # its reader of damaged files raises many kinds
        raise ValueError(one_line(error, 200) or type(error).__name__) from error


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise InputError(f"import: '{path}': expected tensors by name, got {_kind(content)}")
    if "blobs" in content:
        raise InputError(
            f"import: '{path}' is a file of Caffe2 (Detectron): its layers have other names and an"
            " other order of categories; use detectron2's own file of the model"
        )
    state = next((content[key] for key in ("model", "state_dict") if key in content), content)
    if not isinstance(state, dict):
        raise InputError(f"import: '{path}': expected tensors by name, got {_kind(state)}")
    tensors = {}
    for name, value in state.items():
        if isinstance(value, PickledArray) and value.value is not None:
            kind = value.value.dtype.newbyteorder("=")
            value = torch.from_numpy(np.array(value.value, kind, order="C"))
        if isinstance(name, str) and isinstance(value, Tensor):
            tensors[name.removeprefix("module.")] = value
    if not tensors:
        raise InputError(f"import: '{path}': expected tensors by name, got none")
    for name, value in tensors.items():
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise InputError(f"import: '{path}': tensor '{name}' declares more numbers than it has")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(f"import: '{path}': tensor '{name}' has numbers that are not finite")
    return tensors


def _category_names(meta: dict) -> tuple[str, ...]:
    """Names of the categories in mmdetection's `meta`: `CLASSES` of version 2, `dataset_meta` of version 3."""
    described = meta.get("dataset_meta")
    described = described if isinstance(described, dict) else {}
    for names in (meta.get("CLASSES"), described.get("classes"), described.get("CLASSES")):
        if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
            return tuple(names)
    return ()


def _style(meta: dict) -> str | None:
    """The style of the ResNet in the text of mmdetection's configuration."""
    for text in (meta.get("config"), meta.get("cfg")):
        if isinstance(text, str):
            styles = set(re.findall(r"style\s*=\s*['\"](pytorch|caffe)['\"]", text))
            if len(styles) == 1:
                return styles.pop()
    return None


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
