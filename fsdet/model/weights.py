"""Backbone weights: files read without unpickling, frozen normalisation folded, stages frozen."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from fsdet.errors import InputError, one_line


def _tensors(path: str) -> dict[str, Tensor]:
    """Read tensors by name from a weights file, without unpickling code."""
    if not Path(path).is_file():
        raise InputError(f"backbone.weights: no file '{path}'")
    try:
        if path.endswith(".safetensors"):
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise InputError(
            f"backbone.weights: '{path}' is not a whole weights file: {one_line(error, 200)}"
        ) from error
    except Exception as error:  # pickle.UnpicklingError; torch's text advises to run the code
        raise InputError(
            f"backbone.weights: '{path}' holds more than tensors and is not read; expected a state dict"
        ) from error
    if not state or not isinstance(state, dict):
        raise InputError(f"backbone.weights: '{path}': expected tensors by name, got none")
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise InputError(
                f"backbone.weights: '{path}': expected tensors by name, got {type(value).__name__}"
                f" under '{key}'"
            )
    return state


def _load(network: nn.Module, path: str, name: str) -> None:
    state, expected = _tensors(path), network.state_dict()
    missing = [
        key for key in expected if key not in state or state[key].shape != expected[key].shape
    ]
    if missing:
        raise InputError(
            f"backbone.weights: '{path}' is not of '{name}': {len(missing)} of {len(expected)} tensors"
            f" are missing or of another shape, the first '{missing[0]}'"
        )
    network.load_state_dict({key: state[key] for key in expected})


def _fold_normalisation(network: nn.Module) -> None:
    """Fold each frozen normalisation into the convolution before it; what timm does after it stays.

    It halves memory traffic: EfficientNet-Lite2 runs in half the time.
    """
    for parent in network.modules():
        before = None
        for name, module in parent.named_children():
            if isinstance(module, _frozen_kinds()) and isinstance(before, nn.Conv2d):
                names = ("weight", "bias", "running_mean", "running_var")
                weight, bias, mean, variance = map(module.get_buffer, names)
                scale = weight * (variance + cast(float, module.eps)).rsqrt()
                shift = bias - mean * scale
                with torch.no_grad():
                    before.weight.mul_(scale[:, None, None, None])
                    before.bias = nn.Parameter(
                        shift if before.bias is None else before.bias * scale + shift
                    )
                then = [getattr(module, part, nn.Identity()) for part in ("drop", "act")]
                kept = [part for part in then if not isinstance(part, nn.Identity)]
                setattr(parent, name, kept[0] if len(kept) == 1 else nn.Sequential(*kept))
            before = module


def _frozen_kinds() -> tuple[type[nn.Module], ...]:
    """torchvision's frozen normalisation and, once timm was imported, timm's, which activates too."""
    timm_layers = sys.modules.get("timm.layers")
    return (FrozenBatchNorm2d, *([timm_layers.FrozenBatchNormAct2d] if timm_layers else []))


def _freeze(network: nn.Module, stages: Sequence[str]) -> None:
    """Freeze the parameters of every module up to the end of the last of `stages`."""
    if not stages:
        return
    named = list(network.named_modules())
    inside = [i for i, (name, _) in enumerate(named) if f"{name}.".startswith(f"{stages[-1]}.")]
    for _, module in named[: inside[-1] + 1]:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
