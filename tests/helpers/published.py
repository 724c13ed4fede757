"""Published detectors for tests: random networks under each project's names."""

import math
import re

import torch
import torchvision
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign


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
        image = next(pictures(1))
        batch, _ = model.transform([torch.from_numpy(image).permute(2, 0, 1).float() / 255])
        pyramid = model.backbone(batch.tensors)
        size = max(level.std().item() for level in pyramid.values())
        channels = next(iter(pyramid.values())).shape[1]
        for name in state:
            if name.startswith("rpn.head.conv") and name.endswith("weight"):
                normal(name, 1 / (3 * math.sqrt(channels)))
        normal("rpn.head.cls_logits.weight", 2 / (size * math.sqrt(channels)))
        normal("rpn.head.bbox_pred.weight", 0.2 / (size * math.sqrt(channels)))
        proposals = [model.rpn(batch, pyramid)[0][0][:100]]
        pooled = model.roi_heads.box_roi_pool(pyramid, proposals, batch.image_sizes)
        fc7 = model.roi_heads.box_head(pooled)
        # Regions of a random network are much alike: the layers answer to what differs between them.
        mean = fc7.mean(0)
        size = (fc7 - mean).norm(dim=1).mean().item()
        for layer, std in (("cls_score", 3.0), ("bbox_pred", 0.4)):
            prefix = f"roi_heads.box_predictor.{layer}"
            normal(f"{prefix}.weight", std / size)
            state[f"{prefix}.bias"].copy_(-(state[f"{prefix}.weight"] @ mean))
    return model.eval()


def torchvision_detector(name, num_classes=6, short=None):
    """A random detector of torchvision that resizes images to `short` on the short side."""
    torch.manual_seed(0)
    make = getattr(torchvision.models.detection, name)
    model = make(weights=None, weights_backbone=None, num_classes=num_classes).eval()
    model.transform.min_size = (short,) if short else model.transform.min_size
    return spread_out(model)


def small_detector(num_classes, short):
    """A random Faster R-CNN of torchvision over MobileNetV2, with a narrow pyramid and narrow layers."""
    torch.manual_seed(0)
    levels = {"6": "0", "13": "1", "18": "2"}
    features = torchvision.models.mobilenet_v2(norm_layer=FrozenBatchNorm2d).features
    backbone = BackboneWithFPN(features, levels, [32, 96, 1280], 16)
    backbone.fpn.extra_blocks = None
    ratios = ((0.5, 1.0, 2.0),) * 3
    return spread_out(
        FasterRCNN(
            backbone,
            min_size=short,
            max_size=short,
            rpn_anchor_generator=AnchorGenerator(((12,), (24,), (48,)), ratios),
            box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], 7, 2),
            box_head=TwoMLPHead(16 * 7**2, 32),
            box_predictor=FastRCNNPredictor(32, num_classes),
            rpn_pre_nms_top_n_test=100,
            rpn_post_nms_top_n_train=20,
            rpn_post_nms_top_n_test=20,
            box_batch_size_per_image=16,
        ).eval()
    )


def pictures(number):
    """Smooth random images of different shapes, uint8 [H, W, 3]."""
    generator = torch.Generator().manual_seed(3)
    for height, width in [(230, 310), (310, 230), (256, 256)][:number]:
        coarse = torch.rand(1, 3, 9, 9, generator=generator)
        image = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
        yield (image[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


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
    for level in range(4):
        result[f"proposal_generator.anchor_generator.cell_anchors.{level}"] = torch.zeros(3, 4)
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


def unmatched(expected, got, box=5e-2, score=1e-3):
    """How many of two sets of detections (boxes, scores, labels) have no like in the other."""
    boxes, scores, labels = zip(expected, got, strict=True)
    if not len(scores[0]) or not len(scores[1]):
        return len(scores[0]) + len(scores[1])
    like = (boxes[0][:, None] - boxes[1]).abs().amax(2) <= box
    like &= (scores[0][:, None] - scores[1]).abs() <= score
    like &= labels[0][:, None] == labels[1]
    return int((~like.any(1)).sum() + (~like.any(0)).sum())
