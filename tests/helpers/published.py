"""Published detectors for tests: random networks under each project's names, and a plain forward pass of them.

The forward pass is written from the projects' papers and documentation with torchvision's operations alone; it
shares no code with `fsdet.importers` or `fsdet.model`.
"""

import math
import re
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torchvision
from PIL import Image
from torch.nn import functional as F
from torchvision.ops import batched_nms, clip_boxes_to_image, roi_align


def spread_out(model):
    """Scale the last layers of a random detector so that its scores differ by more than rounding errors."""
    generator = torch.Generator().manual_seed(1)
    state = model.state_dict()

    def normal(name, std):
        state[name].copy_(torch.randn(state[name].shape, generator=generator) * std)

    for name in state:
        if name.endswith("running_var"):
            state[name].copy_(1 + torch.rand(state[name].shape, generator=generator))
        elif name.endswith("running_mean"):
            normal(name, 0.1)
    with torch.no_grad():
        images = [torch.rand(3, 200, 260, generator=generator)]
        batch, _ = model.transform(images)
        pyramid = model.backbone(batch.tensors)
        size = max(level.std().item() for level in pyramid.values())
        channels = next(iter(pyramid.values())).shape[1]
        for name in state:
            if name.startswith("rpn.head.conv") and name.endswith("weight"):
                normal(name, 1 / (3 * math.sqrt(channels)))
        normal("rpn.head.cls_logits.weight", 2 / (size * math.sqrt(channels)))
        normal("rpn.head.bbox_pred.weight", 0.2 / (size * math.sqrt(channels)))
        proposals, _ = model.rpn(batch, pyramid)
        pooled = model.roi_heads.box_roi_pool(pyramid, proposals, batch.image_sizes)
        fc7 = model.roi_heads.box_head(pooled)
        size = fc7.norm(dim=1).mean().item()
        normal("roi_heads.box_predictor.cls_score.weight", 4 / size)
        normal("roi_heads.box_predictor.bbox_pred.weight", 0.5 / size)
        normal("roi_heads.box_predictor.cls_score.bias", 0.3)
        normal("roi_heads.box_predictor.bbox_pred.bias", 0.1)
    return model.eval()


def torchvision_detector(name, num_classes=6):
    torch.manual_seed(0)
    make = getattr(torchvision.models.detection, name)
    return spread_out(make(weights=None, weights_backbone=None, num_classes=num_classes).eval())


def for_msra_pixels(state):
    """The same weights for pixels that are not divided by their standard deviation: 57 times larger ones."""
    return {**state, "backbone.body.conv1.weight": state["backbone.body.conv1.weight"] / 57}


def as_detectron2(state, cosine=False, class_agnostic=False):
    """torchvision's tensors under detectron2's names: BGR, background last, no background box."""
    result = {}
    for name, value in state.items():
        if match := re.fullmatch(r"backbone\.body\.(conv1|bn1)\.(.+)", name):
            norm = ".norm" if match[1] == "bn1" else ""
            value = value.flip(1) if match[1] == "conv1" else value
            result[f"backbone.bottom_up.stem.conv1{norm}.{match[2]}"] = value
        elif match := re.fullmatch(r"backbone\.body\.layer(\d)\.(\d+)\.(.+)", name):
            rest = (
                match[3]
                .replace("downsample.0", "shortcut")
                .replace("downsample.1", "shortcut.norm")
            )
            rest = re.sub(r"bn(\d)", r"conv\1.norm", rest)
            result[f"backbone.bottom_up.res{int(match[1]) + 1}.{match[2]}.{rest}"] = value
        elif match := re.fullmatch(r"backbone\.fpn\.(inner|layer)_blocks\.(\d)\.0\.(.+)", name):
            kind = "lateral" if match[1] == "inner" else "output"
            result[f"backbone.fpn_{kind}{int(match[2]) + 2}.{match[3]}"] = value
        elif name.startswith("rpn.head.conv.0.0."):
            result[name.replace("rpn.head.conv.0.0", "proposal_generator.rpn_head.conv")] = value
        elif name.startswith("rpn.head."):
            new = name.replace("rpn.head.cls_logits", "objectness_logits")
            new = new.replace("rpn.head.bbox_pred", "anchor_deltas")
            result[f"proposal_generator.rpn_head.{new}"] = value
        elif name.startswith("roi_heads.box_head.fc"):
            result[name.replace("fc6", "fc1").replace("fc7", "fc2")] = value
        elif "cls_score" in name and not (cosine and name.endswith("bias")):
            result[name] = torch.cat([value[1:], value[:1]])
        elif "bbox_pred" in name:
            result[name] = value[4:8] if class_agnostic else value[4:]
    for level in range(2, 6):
        result["proposal_generator.anchor_generator.cell_anchors.%d" % (level - 2)] = torch.zeros(
            3, 4
        )
    return result


def as_mmdetection(state, caffe):
    """torchvision's tensors under mmdetection's names."""
    result = {}
    for name, value in state.items():
        if name.startswith("backbone.body."):
            new = name.replace("backbone.body.", "backbone.")
            value = value.flip(1) if caffe and new == "backbone.conv1.weight" else value
        elif match := re.fullmatch(r"backbone\.fpn\.(inner|layer)_blocks\.(\d)\.0\.(.+)", name):
            kind = "lateral_convs" if match[1] == "inner" else "fpn_convs"
            new = f"neck.{kind}.{match[2]}.conv.{match[3]}"
        elif name.startswith("rpn.head."):
            new = name.replace("rpn.head.conv.0.0", "rpn_head.rpn_conv")
            new = new.replace("rpn.head.cls_logits", "rpn_head.rpn_cls")
            new = new.replace("rpn.head.bbox_pred", "rpn_head.rpn_reg")
        elif "fc6" in name or "fc7" in name:
            new = "roi_head.bbox_head.shared_fcs." + ("0." if "fc6" in name else "1.")
            new += name.rpartition(".")[2]
        elif "cls_score" in name:
            new, value = f"roi_head.bbox_head.fc_cls.{name.rpartition('.')[2]}", value.roll(-1, 0)
        else:
            new, value = f"roi_head.bbox_head.fc_reg.{name.rpartition('.')[2]}", value[4:]
        result[new] = value
    return result


@dataclass
class Style:
    """The differences between the projects."""

    caffe: bool = True  # BGR, pixels less the mean, stride in the 1x1
    opencv: bool = False
    cosine: float = 0.0
    class_agnostic: bool = False
    short: int = 800
    long: int = 1333


def detect(state, pixels, style):
    """Detections (boxes, scores, labels from 1) of a ResNet-50 detector as detectron2 and mmdetection compute them.

    Args:
        state: tensors under torchvision's names, colours in RGB order, background first.
        pixels: uint8 [H, W, 3] RGB.
    """
    height, width = pixels.shape[:2]
    scale = min(style.short / min(height, width), style.long / max(height, width))
    size = int(height * scale + 0.5), int(width * scale + 0.5)
    if style.opencv:
        resized = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)
    else:
        resized = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
    x = torch.from_numpy(resized.copy()).permute(2, 0, 1).float()
    x = x - 255 * torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    if not style.caffe:
        x = x / (255 * torch.tensor([0.229, 0.224, 0.225])[:, None, None])
    x = F.pad(x, (0, -size[1] % 32, 0, -size[0] % 32))[None]

    def block(x, prefix, conv, norm, stride=1, padding=0):
        weight = state[f"{prefix}{conv}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=padding)
        mean, var, gain, bias = (
            state[f"{prefix}{norm}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * gain + bias

    x = F.relu(block(x, "backbone.body.", "conv1", "bn1", 2, 3))
    x = F.max_pool2d(x, 3, 2, 1)
    levels = []
    for layer, count in enumerate((3, 4, 6, 3), 1):
        for i in range(count):
            prefix, stride = f"backbone.body.layer{layer}.{i}.", 2 if layer > 1 and i == 0 else 1
            first, second = (stride, 1) if style.caffe else (1, stride)
            y = F.relu(block(x, prefix, "conv1", "bn1", first))
            y = F.relu(block(y, prefix, "conv2", "bn2", second, 1))
            y = block(y, prefix, "conv3", "bn3")
            if i == 0:
                x = block(x, prefix, "downsample.0", "downsample.1", stride)
            x = F.relu(x + y)
        levels.append(x)

    def conv(x, name, padding):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    inner, pyramid = None, []
    for level in (3, 2, 1, 0):
        lateral = conv(levels[level], f"backbone.fpn.inner_blocks.{level}.0", 0)
        inner = lateral if inner is None else lateral + F.interpolate(inner, lateral.shape[-2:])
        pyramid.insert(0, conv(inner, f"backbone.fpn.layer_blocks.{level}.0", 1))
    pyramid.append(pyramid[-1][:, :, ::2, ::2])
    boxes = _proposals(pyramid, conv, size)
    pooled = _pooled(pyramid, boxes)
    fc6, fc7, cls, reg = (
        f"roi_heads.{name}"
        for name in (
            "box_head.fc6",
            "box_head.fc7",
            "box_predictor.cls_score",
            "box_predictor.bbox_pred",
        )
    )
    x = F.relu(F.linear(pooled.flatten(1), state[f"{fc6}.weight"], state[f"{fc6}.bias"]))
    x = F.relu(F.linear(x, state[f"{fc7}.weight"], state[f"{fc7}.bias"]))
    if style.cosine:
        rows = state[f"{cls}.weight"]
        unit = x / (x.norm(dim=1, keepdim=True) + 1e-5)
        logits = style.cosine * unit @ (rows / (rows.norm(dim=1, keepdim=True) + 1e-5)).T
    else:
        logits = F.linear(x, state[f"{cls}.weight"], state[f"{cls}.bias"])
    scores = logits.softmax(1)[:, 1:]
    deltas = F.linear(x, state[f"{reg}.weight"], state[f"{reg}.bias"])[:, 4:].unflatten(1, (-1, 4))
    if style.class_agnostic:
        deltas = deltas[:, :1].expand(-1, scores.shape[1], 4)
    region, label = torch.nonzero(scores > 0.05, as_tuple=True)
    decoded = _decode(boxes[region], deltas[region, label] / torch.tensor([10.0, 10, 5, 5]))
    decoded, score = clip_boxes_to_image(decoded, size), scores[region, label]
    keep = batched_nms(decoded, score, label, 0.5)[:100]
    back = torch.tensor([width / size[1], height / size[0]]).repeat(2)
    return decoded[keep] * back, score[keep], label[keep] + 1


def _decode(boxes, deltas):
    size = boxes[:, 2:] - boxes[:, :2]
    center = boxes[:, :2] + 0.5 * size + deltas[:, :2] * size
    size = size * deltas[:, 2:].clamp(max=math.log(1000 / 16)).exp()
    return torch.cat([center - size / 2, center + size / 2], 1)


def _proposals(pyramid, conv, size):
    all_boxes, all_logits, all_levels = [], [], []
    for level, features in enumerate(pyramid):
        stride = 4 * 2**level
        hidden = F.relu(conv(features, "rpn.head.conv.0.0", 1))
        logits = conv(hidden, "rpn.head.cls_logits", 0)[0].permute(1, 2, 0).flatten()
        deltas = conv(hidden, "rpn.head.bbox_pred", 0)[0]
        deltas = deltas.unflatten(0, (3, 4)).permute(2, 3, 0, 1).reshape(-1, 4)
        sides = []
        for ratio in (0.5, 1.0, 2.0):
            area = (32.0 * 2**level) ** 2
            w = math.sqrt(area / ratio)
            sides.append([-w / 2, -ratio * w / 2, w / 2, ratio * w / 2])
        rows, columns = features.shape[-2:]
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        shifts = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4) * stride
        anchors = (shifts + torch.tensor(sides)).reshape(-1, 4)
        best = logits.topk(min(1000, len(logits))).indices
        boxes = clip_boxes_to_image(_decode(anchors[best], deltas[best]), size)
        whole = (boxes[:, 2:] > boxes[:, :2]).all(1)
        all_boxes.append(boxes[whole])
        all_logits.append(logits[best][whole])
        all_levels.append(torch.full((int(whole.sum()),), level))
    boxes, logits = torch.cat(all_boxes), torch.cat(all_logits)
    return boxes[batched_nms(boxes, logits, torch.cat(all_levels), 0.7)[:1000]]


def _pooled(pyramid, boxes):
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    levels = (4 + torch.log2(areas.sqrt() / 224 + 1e-8)).floor().clamp(2, 5).long() - 2
    pooled = torch.zeros(len(boxes), pyramid[0].shape[1], 7, 7)
    for level in range(4):
        rows = levels == level
        scale = 1 / (4 * 2**level)
        pooled[rows] = roi_align(pyramid[level], [boxes[rows]], 7, scale, 0, aligned=True)
    return pooled


def unmatched(expected, got, box=1e-2, score=1e-4):
    """How many of two sets of detections (boxes, scores, labels) have no like in the other."""
    boxes, scores, labels = zip(expected, got, strict=True)
    if not len(scores[0]) or not len(scores[1]):
        return len(scores[0]) + len(scores[1])
    like = (boxes[0][:, None] - boxes[1]).abs().amax(2) <= box
    like &= (scores[0][:, None] - scores[1]).abs() <= score
    like &= labels[0][:, None] == labels[1]
    return int((~like.any(1)).sum() + (~like.any(0)).sum())
