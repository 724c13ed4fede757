"""Tensor file: tensors and JSON as one safetensors file with a checksum."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fsdet import checksum
from fsdet.files import write_whole

_KEY = "fsdet"  # the only one of the metadata: safetensors writes several in random order


def save(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and JSON, whole or not at all; equal values give equal bytes.

    Raises:
        OSError: the path cannot be written.
    """
    metadata = {_KEY: json.dumps({"checksum": checksum.BLANK, **about})}
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}

    def write(file: Path) -> None:
        save_file(contiguous, file, metadata)
        checksum.seal(file)

    write_whole(path, write)


def load(path: Path) -> tuple[dict[str, Tensor], Any]:
    """The tensors and the JSON of a safetensors file, whose checksum is compared if it has one.

    Files of other programs and of earlier versions have none. The JSON is None if there is none.

    Raises:
        ValueError: cut, damaged, or no safetensors file.
        OSError: the file cannot be read.
    """
    is_sealed = checksum.has_checksum(path)
    if is_sealed:
        checksum.verify(path)
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get(_KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not is_sealed and isinstance(about, dict) and "checksum" in about:
        raise ValueError("its checksum is damaged")
    return tensors, about
