"""timm's networks as bodies of a pyramid: networks with stages, and vision transformers of one stride."""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.errors import InputError
from fsdet.model.timm_networks import PROBE, inspect, network
from fsdet.model.weights import _freeze

if TYPE_CHECKING:
    from timm.models._features import FeatureInfo


class _Body(nn.Module):
    """A timm network that gives the levels of a pyramid.

    Args:
        body: the network.
    """

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body: Any = body

    def train(self, mode: bool = True):
        """As `nn.Module.train`, but modules that do not learn stay in eval: Swin drops blocks at random."""
        super().train(mode)
        for module in self.modules():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                for part in module.modules():
                    part.training = False
        return self


class Stages(_Body):
    """The ends of stages; images [B, 3, H, W] -> levels by name, fine to coarse, [B, C, H / s, W / s].

    Args:
        body: returns the maps of its stages.
        indices: places of the levels in what `body` returns, by name.
        channels_last: the maps of `body` are [B, H, W, C], as Swin's.
    """

    def __init__(self, body: nn.Module, indices: Mapping[str, int], channels_last: bool):
        super().__init__(body)
        self.indices, self.channels_last = indices, channels_last

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.body(images)
        if self.channels_last:
            maps = [values.permute(0, 3, 1, 2) for values in maps]
        return OrderedDict((name, maps[index]) for name, index in self.indices.items())


class Tokens(_Body):
    """The tokens of a vision transformer's last block after its final norm, as one level.

    Images [B, 3, H, W] -> one level "tokens", [B, C, H / s, W / s]. The stride s is the power of two from the
    patch's side on, because region pooling rounds strides to powers of two: for patches of 14 pixels images are
    resized to 7/8, so that s is 16.

    Args:
        body: the transformer.
        patch: side of its patches in pixels.
    """

    def __init__(self, body: nn.Module, patch: int):
        super().__init__(body)
        self.patch, self.stride = patch, 2 ** math.ceil(math.log2(patch))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if self.patch != self.stride:
            # Batches are padded to multiples of 32, so that nothing is rounded here.
            height, width = (side * self.patch // self.stride for side in images.shape[-2:])
            images = F.interpolate(images, (height, width), mode="bilinear", antialias=True)
        (tokens,) = self.body.forward_intermediates(
            images, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
        )
        return OrderedDict(tokens=tokens)


def stages(
    name: str, weights: str | None, levels: Sequence[int], frozen_stages: int, read: bool
) -> tuple[Stages, list[int]]:
    """The stages `levels` of timm's network, and the number of channels of each.

    Args:
        name: without `timm/`.
        weights, read: as of `fsdet.model.backbones.backbone`.

    Raises:
        InputError: no such network, one for images of one size, one without these strides, unusable weights, or
            frozen stages whose ends timm does not list.
    """
    kind = inspect(name)
    wanted = [4 * 2**level for level in levels]
    if not set(wanted) <= set(kind.strides):
        hint = "; expected pyramid: simple, which makes them" if kind.plain else ""
        raise InputError(
            f"backbone.levels: timm's '{name}' has strides {kind.strides}, not all of {wanted}{hint}"
        )
    body = network(name, weights, read, kind.sizes, features_only=True)
    info: FeatureInfo = vars(body)["feature_info"]
    if frozen_stages:
        _freeze(body, [_end_of_stage(body, info, name, frozen_stages)])
    places = [kind.strides.index(stride) for stride in wanted]
    named = dict(zip(map(str, levels), places, strict=True))
    return Stages(body, named, kind.channels_last), [info.channels()[place] for place in places]


def tokens(name: str, weights: str | None, frozen_stages: int, read: bool) -> tuple[Tokens, int]:
    """timm's vision transformer as a body of one level, and the number of its channels.

    Args:
        name: without `timm/`.
        weights, read: as of `stages`; a file may also have the keys of Meta's DINOv2, or others that timm knows.
        frozen_stages: thirds of the blocks that do not learn; 4: nothing learns.

    Raises:
        InputError: no such network, one for images of one size, one with several strides, or unusable weights.
    """
    kind = inspect(name)
    if not kind.plain:
        raise InputError(
            f"backbone.pyramid: simple is for transformers of one stride, and timm's '{name}' has strides"
            f" {kind.strides}; expected fpn"
        )
    transformer: Any = network(name, weights, read, kind.sizes)
    transformer.prune_intermediate_layers(1, prune_norm=False, prune_head=True)
    if frozen_stages == 4:
        transformer.requires_grad_(False)
    elif frozen_stages:
        last = math.ceil(len(transformer.blocks) * frozen_stages / 3) - 1
        _freeze(transformer, [f"blocks.{last}"])
    body = Tokens(transformer, kind.strides[-1])
    with torch.no_grad():
        (level,) = body.eval()(torch.zeros(1, 3, *PROBE)).values()
    body.train()
    return body, level.shape[1]


def _end_of_stage(body: nn.Module, info: "FeatureInfo", name: str, stage: int) -> str:
    """Name of the last module of a stage of a timm network, counted from 1."""
    ends = [
        end
        for end, stride in zip(info.module_name(), info.reduction(), strict=True)
        if stride <= 2 * 2**stage
    ]
    plain = {module_name.replace(".", "_"): module_name for module_name, _ in body.named_modules()}
    for prefix in ("", "model_", "body_"):  # timm may wrap the network, and flatten it
        if ends and (module := plain.get(prefix + ends[-1].replace(".", "_"))):
            return module
    raise InputError(
        f"backbone.frozen_stages: expected 0 or a stage whose end timm knows, got {stage};"
        f" '{name}' has strides {info.reduction()}"
    )
