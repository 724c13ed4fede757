"""A published Faster R-CNN as a `FewShotRCNN`: settings from the shapes of its tensors, weights under our names."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
import torchvision
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from fsdet import build
from fsdet import config as cfg
from fsdet.errors import InputError
from fsdet.importers.presets import Preset
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.model.weights import _fold_normalisation

_RESNETS = {  # blocks of the third stage, channels of the first 3x3 and of its groups, bottlenecks
    (2, 64, 64, False): "resnet18",
    (6, 64, 64, False): "resnet34",
    (6, 64, 64, True): "resnet50",
    (23, 64, 64, True): "resnet101",
    (6, 128, 4, True): "resnext50_32x4d",
    (23, 256, 8, True): "resnext101_32x8d",
}
_LEVELS: list[Literal[0, 1, 2, 3]] = [0, 1, 2, 3]
_MOBILENETS = {17: "mobilenet_v3_large", 19: "mobilenet_v2"}  # by their number of features


def number_of_categories(tensors: Mapping[str, Tensor]) -> int:
    """Rows of the classifier without background; 0 where there is no classifier."""
    weight = tensors.get("cls_score.weight")
    return 0 if weight is None or weight.ndim != 2 else len(weight) - 1


def network(
    tensors: Mapping[str, Tensor], preset: Preset, names: Sequence[str | None], origin: str
) -> tuple[FewShotRCNN, cfg.Detector, cfg.Head]:
    """Build the network of a preset with these tensors, named as in `layouts`.

    Args:
        names: of the classifier's rows without background; None: the row means no category.
        origin: where the weights are from, for messages.

    Returns:
        The network, and the configuration that builds it.

    Raises:
        InputError: a tensor is missing, or of a shape that the preset does not have.
    """
    body = body_name(tensors, origin)
    rows = _classifier(tensors, preset, origin)
    settings = _settings(tensors, preset, body)
    head = cfg.Head("beside", {"cosine": rows.cosine, "class_boxes": len(rows.box_weight) != 4})
    with torch.device("meta"):  # random weights would take a second
        model = build.detector(settings, head, len(names), pretrained=False)
    state = {
        **_body_state(tensors, body, preset, model.backbone.body, origin),
        **_other_state(tensors, preset),
        **rows.state(),
        "head.kept.folded": torch.tensor([name is None for name in names], dtype=torch.bool),
    }
    expected = model.state_dict()
    for name, value in expected.items():
        if name not in state:
            raise InputError(f"import: '{origin}': the tensor for '{name}' is missing")
        if state[name].shape != value.shape:
            raise InputError(
                f"import: '{origin}': '{name}': the preset expects {list(value.shape)},"
                f" the file has {list(state[name].shape)}"
            )
    weights = {name: state[name].to(value.dtype).clone() for name, value in expected.items()}
    model.load_state_dict(weights, assign=True)
    return model.to(memory_format=torch.channels_last).eval(), settings, head


def body_name(tensors: Mapping[str, Tensor], origin: str) -> str:
    """torchvision's name of the backbone with these tensors.

    Raises:
        InputError: it is none of those that can be imported.
    """
    features = {name.split(".")[2] for name in tensors if name.startswith("body.features.")}
    if name := _MOBILENETS.get(len(features)):
        return name
    first = tensors.get("body.layer1.0.conv2.weight")
    blocks = {match[1] for name in tensors if (match := re.match(r"body\.layer3\.(\d+)\.", name))}
    shape = first.shape[:2] if first is not None and first.ndim == 4 else (0, 0)
    key = (len(blocks), *shape, "body.layer1.0.conv3.weight" in tensors)
    if key not in _RESNETS:
        known = ", ".join([*_RESNETS.values(), *_MOBILENETS.values()])
        raise InputError(
            f"import: '{origin}': expected a backbone of {known}; got one with {len(blocks)} blocks"
            " in its third stage"
        )
    return _RESNETS[key]


def _settings(tensors: Mapping[str, Tensor], preset: Preset, body: str) -> cfg.Detector:
    convolutions = {name.split(".")[2] for name in tensors if name.startswith("rpn.conv.")}
    return cfg.Detector(
        backbone=cfg.Backbone(
            name=body,
            weights="imported",
            levels=_LEVELS[: len(preset.nodes) or 4],
            nodes=list(preset.nodes),
            channels=_shape(tensors, "fpn.inner_blocks.0.0.weight")[0],
            frozen_stages=0 if preset.nodes else 1,
            stride_in_1x1=preset.stride_in_1x1,
            extra=preset.extra,
        ),
        anchors=[list(map(float, level)) for level in preset.anchors],
        exact_anchors=preset.exact,
        min_size=preset.min_size,
        max_size=preset.max_size,
        resize=preset.resize,
        voting=1.0,  # as published
        mean=list(preset.mean),
        std=list(preset.std),
        proposals=[2 * preset.proposals, preset.proposals],
        rpn=cfg.Rpn(
            convolutions=max(len(convolutions), 1),
            before=[2 * preset.before, preset.before],
            score=preset.objectness,
        ),
        per_image=512,
        pool=preset.pool,
        aligned=preset.aligned,
        layers="4conv1fc" if "trunk.conv.0.weight" in tensors else "2fc",
        width=_shape(tensors, "trunk.fc7.weight")[0],
    )


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    if name not in tensors:
        raise InputError(f"import: the tensor for '{name}' is missing")
    return tuple(tensors[name].shape)


class _Rows(NamedTuple):
    """The last two layers, background first."""

    weight: Tensor  # [1 + B, D]
    bias: Tensor  # [1 + B]
    box_weight: Tensor  # [4 B, D] or [4, D]
    box_bias: Tensor
    cosine: float

    def state(self) -> dict[str, Tensor]:
        return {
            f"head.kept.{name}": getattr(self, name)
            for name in ("weight", "bias", "box_weight", "box_bias")
        }


def _classifier(tensors: Mapping[str, Tensor], preset: Preset, origin: str) -> _Rows:
    """The classifier and the box regressor; without any, background alone."""
    width = _shape(tensors, "trunk.fc7.weight")[0]
    if "cls_score.weight" not in tensors:
        empty = torch.zeros(0, width)
        return _Rows(torch.zeros(1, width), torch.zeros(1), empty, torch.zeros(0), 0.0)
    weight, box_weight = tensors["cls_score.weight"], tensors.get("bbox_pred.weight")
    if box_weight is None or "bbox_pred.bias" not in tensors:
        raise InputError(f"import: '{origin}' has a classifier but no box regressor")
    box_bias, count = tensors["bbox_pred.bias"], len(weight) - 1
    bias = tensors.get("cls_score.bias")
    cosine = 0.0 if bias is not None else float(tensors.get("scale", torch.tensor(preset.cosine)))
    bias = torch.zeros(1 + count) if bias is None else bias
    if preset.project == "torchvision":
        if len(box_weight) == 4 * (1 + count):
            box_weight, box_bias = box_weight[4:], box_bias[4:]  # background's are not used
    else:
        weight, bias = weight.roll(1, 0), bias.roll(1, 0)  # background is last there
    if len(box_weight) not in (4, 4 * count) or len(box_weight) != len(box_bias):
        raise InputError(
            f"import: '{origin}': {1 + count} rows of the classifier need a box regressor of 4 or"
            f" {4 * count} rows, got {len(box_weight)}"
        )
    return _Rows(weight, bias, box_weight, box_bias, cosine)


def _body_state(
    tensors: Mapping[str, Tensor], name: str, preset: Preset, body: nn.Module, origin: str
) -> dict[str, Tensor]:
    """The body with its normalisation folded into the convolutions."""
    norm = partial(FrozenBatchNorm2d, eps=preset.eps)
    with torch.device("meta"):
        whole = torchvision.models.get_model(name, weights=None, norm_layer=norm)
    own = {
        key.removeprefix("body."): value.detach().clone()  # folding changes them
        for key, value in tensors.items()
        if key.startswith("body.")
    }
    if preset.bgr and "conv1.weight" in own:
        own["conv1.weight"] = own["conv1.weight"].flip(1)
    for key, value in whole.state_dict().items():
        if key.startswith(("fc.", "classifier.")):
            own[key] = value
        elif key not in own or own[key].shape != value.shape:
            got = list(own[key].shape) if key in own else "none"
            raise InputError(
                f"import: '{origin}': tensor '{key}' of a {name}: expected {list(value.shape)},"
                f" got {got}"
            )
    whole.load_state_dict({key: own[key] for key in whole.state_dict()}, assign=True)
    _fold_normalisation(whole)
    state = whole.state_dict()
    return {f"backbone.body.{key}": state[key] for key in body.state_dict()}


def _other_state(tensors: Mapping[str, Tensor], preset: Preset) -> dict[str, Tensor]:
    """Pyramid, RPN and trunk, with their normalisation folded."""
    state = {}
    for name, value in tensors.items():
        if match := re.fullmatch(r"fpn\.(inner|layer)_blocks\.(\d)\.0\.(weight|bias)", name):
            state[f"backbone.{name}"] = value
            norm = f"fpn.{match[1]}_blocks.{match[2]}.1."
            if f"{norm}running_mean" in tensors:
                state |= _folded(tensors, name, norm, f"backbone.{name.removesuffix('weight')}")
        elif match := re.fullmatch(r"rpn\.conv\.(\d)\.(weight|bias)", name):
            state[f"rpn.head.conv.{match[1]}.0.{match[2]}"] = value
        elif name.startswith(("rpn.cls_logits.", "rpn.bbox_pred.")):
            state[f"rpn.head.{name.removeprefix('rpn.')}"] = value
        elif match := re.fullmatch(r"trunk\.conv\.(\d)\.(weight|bias)", name):
            norm, first = f"trunk.norm.{match[1]}.", f"head.trunk.first.{match[1]}."
            state[f"{first}{match[2]}"] = value
            if f"{norm}running_mean" in tensors:
                state |= _folded(tensors, name, norm, first)
        elif match := re.fullmatch(r"trunk\.fc([67])\.(weight|bias)", name):
            state[f"head.trunk.{'first' if match[1] == '6' else 'last'}.{match[2]}"] = value
    return state


def _folded(tensors: Mapping[str, Tensor], name: str, norm: str, to: str) -> dict[str, Tensor]:
    """A convolution and the batch normalisation after it, as one convolution (eps 1e-5)."""
    scale = tensors[f"{norm}weight"] * (tensors[f"{norm}running_var"] + 1e-5).rsqrt()
    weight = tensors[name] * scale[:, None, None, None]
    bias = tensors[f"{norm}bias"] - tensors[f"{norm}running_mean"] * scale
    return {f"{to}weight": weight, f"{to}bias": bias}
