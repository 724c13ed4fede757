"""A plain forward pass of detectron2's and mmdetection's Faster R-CNN, to check an import against.

Written from the projects' papers and documentation with torchvision's operations alone; it shares no code with
`fsdet.model`, so that the same mistake is not made twice.
"""

import math
import re
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import batched_nms, clip_boxes_to_image, roi_align

from fsdet.importers.presets import Preset
from fsdet.types import Detections

Tensors = Mapping[str, Tensor]


@torch.no_grad()
def reference_detections(
    tensors: Tensors, preset: Preset, pixels: np.ndarray, short: int | None = None
) -> Detections:
    """Detections in an image as the original project computes them: score above 0.05, NMS at 0.5, 100 at most.

    Args:
        tensors: of the file, under the names of `layouts`: colours and rows in the file's order.
        preset: of detectron2 or mmdetection.
        pixels: uint8 [H, W, 3] RGB.
        short: short side to resize to, in place of the preset's.
    """
    height, width = pixels.shape[:2]
    scale = (short or preset.min_size) / min(height, width)
    scale = min(scale, preset.max_size / max(height, width))
    size = int(height * scale + 0.5), int(width * scale + 0.5)
    levels = _levels(tensors, _normalised(pixels, size, preset), preset.stride_in_1x1)
    pyramid = _pyramid(tensors, levels)
    boxes = _proposals(tensors, pyramid, size)
    x = _pooled(pyramid, boxes).flatten(1)
    for layer in ("trunk.fc6", "trunk.fc7"):
        x = F.relu(F.linear(x, tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]))
    scores = _logits(tensors, x, preset).softmax(1)[:, :-1]  # background is last
    deltas = F.linear(x, tensors["bbox_pred.weight"], tensors["bbox_pred.bias"])
    deltas = deltas.unflatten(1, (-1, 4)).expand(-1, scores.shape[1], 4)
    region, label = torch.nonzero(scores > 0.05, as_tuple=True)
    decoded = _decode(boxes[region], deltas[region, label] / torch.tensor([10.0, 10, 5, 5]))
    decoded, score = clip_boxes_to_image(decoded, size), scores[region, label]
    keep = batched_nms(decoded, score, label, 0.5)[:100]
    back = torch.tensor([width / size[1], height / size[0]]).repeat(2)
    return Detections(boxes=decoded[keep] * back, scores=score[keep], labels=label[keep] + 1)


def _normalised(pixels: np.ndarray, size: tuple[int, int], preset: Preset) -> Tensor:
    """[1, 3, H, W] in the file's colour order, padded to multiples of 32."""
    if preset.resize == "opencv":
        resized = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)
    else:
        image = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR)
        resized = np.array(image)
    x = torch.from_numpy(resized).permute(2, 0, 1).float()
    mean, std = (255 * torch.tensor(values)[:, None, None] for values in (preset.mean, preset.std))
    x = (x - mean) / std
    x = x.flip(0) if preset.bgr else x
    return F.pad(x, (0, -size[1] % 32, 0, -size[0] % 32))[None]


def _levels(tensors: Tensors, x: Tensor, stride_in_1x1: bool) -> list[Tensor]:
    """The four stages of a ResNet or ResNeXt of bottlenecks."""

    def layer(x: Tensor, conv: str, norm: str, stride: int = 1, padding: int = 0) -> Tensor:
        weight = tensors[f"body.{conv}.weight"]
        groups = x.shape[1] // weight.shape[1]
        x = F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)
        mean, var, gain, bias = (
            tensors[f"body.{norm}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * gain + bias

    x = F.max_pool2d(F.relu(layer(x, "conv1", "bn1", 2, 3)), 3, 2, 1)
    levels = []
    for stage in range(1, 5):
        found = [re.match(rf"body\.layer{stage}\.(\d+)\.", name) for name in tensors]
        for i in sorted({int(match[1]) for match in found if match}):
            prefix = f"layer{stage}.{i}"
            stride = 2 if stage > 1 and i == 0 else 1
            first, second = (stride, 1) if stride_in_1x1 else (1, stride)
            y = F.relu(layer(x, f"{prefix}.conv1", f"{prefix}.bn1", first))
            y = F.relu(layer(y, f"{prefix}.conv2", f"{prefix}.bn2", second, 1))
            y = layer(y, f"{prefix}.conv3", f"{prefix}.bn3")
            if i == 0:
                x = layer(x, f"{prefix}.downsample.0", f"{prefix}.downsample.1", stride)
            x = F.relu(x + y)
        levels.append(x)
    return levels


def _conv(tensors: Tensors, x: Tensor, name: str, padding: int) -> Tensor:
    return F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=padding)


def _pyramid(tensors: Tensors, levels: Sequence[Tensor]) -> list[Tensor]:
    inner: Tensor | None = None
    pyramid: list[Tensor] = []
    for level in (3, 2, 1, 0):
        lateral = _conv(tensors, levels[level], f"fpn.inner_blocks.{level}.0", 0)
        inner = lateral if inner is None else lateral + F.interpolate(inner, lateral.shape[-2:])
        pyramid.insert(0, _conv(tensors, inner, f"fpn.layer_blocks.{level}.0", 1))
    return [*pyramid, pyramid[-1][:, :, ::2, ::2]]


def _proposals(tensors: Tensors, pyramid: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    all_boxes, all_logits, all_levels = [], [], []
    for level, features in enumerate(pyramid):
        hidden = F.relu(_conv(tensors, features, "rpn.conv.0", 1))
        logits = _conv(tensors, hidden, "rpn.cls_logits", 0)[0].permute(1, 2, 0).flatten()
        deltas = _conv(tensors, hidden, "rpn.bbox_pred", 0)[0]
        deltas = deltas.unflatten(0, (3, 4)).permute(2, 3, 0, 1).reshape(-1, 4)
        anchors = _anchors(features, 4 * 2**level, 32.0 * 2**level)
        best = logits.topk(min(1000, len(logits))).indices
        boxes = clip_boxes_to_image(_decode(anchors[best], deltas[best]), size)
        whole = (boxes[:, 2:] > boxes[:, :2]).all(1)
        all_boxes.append(boxes[whole])
        all_logits.append(logits[best][whole])
        all_levels.append(torch.full((int(whole.sum()),), level))
    boxes, logits = torch.cat(all_boxes), torch.cat(all_logits)
    return boxes[batched_nms(boxes, logits, torch.cat(all_levels), 0.7)[:1000]]


def _anchors(features: Tensor, stride: int, side: float) -> Tensor:
    corners = []
    for ratio in (0.5, 1.0, 2.0):
        width = math.sqrt(side**2 / ratio)
        corners.append([-width / 2, -ratio * width / 2, width / 2, ratio * width / 2])
    rows, columns = features.shape[-2:]
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    shifts = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4) * stride
    return (shifts + torch.tensor(corners)).reshape(-1, 4)


def _decode(boxes: Tensor, deltas: Tensor) -> Tensor:
    size = boxes[:, 2:] - boxes[:, :2]
    center = boxes[:, :2] + 0.5 * size + deltas[:, :2] * size
    size = size * deltas[:, 2:].clamp(max=math.log(1000 / 16)).exp()
    return torch.cat([center - size / 2, center + size / 2], 1)


def _pooled(pyramid: Sequence[Tensor], boxes: Tensor) -> Tensor:
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    levels = (4 + torch.log2(areas.sqrt() / 224 + 1e-8)).floor().clamp(2, 5).long() - 2
    pooled = torch.zeros(len(boxes), pyramid[0].shape[1], 7, 7)
    for level in range(4):
        rows = levels == level
        scale = 1 / (4 * 2**level)
        pooled[rows] = roi_align(pyramid[level], [boxes[rows]], 7, scale, 0, aligned=True)
    return pooled


def _logits(tensors: Tensors, fc7: Tensor, preset: Preset) -> Tensor:
    weight, bias = tensors["cls_score.weight"], tensors.get("cls_score.bias")
    if bias is not None:
        return F.linear(fc7, weight, bias)
    scale = float(tensors.get("scale", torch.tensor(preset.cosine)))
    unit = fc7 / (fc7.norm(dim=1, keepdim=True) + 1e-5)
    return scale * unit @ (weight / (weight.norm(dim=1, keepdim=True) + 1e-5)).T
