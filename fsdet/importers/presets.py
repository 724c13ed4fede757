"""Presets: what the files of a project do not say about the detectors in them."""

from dataclasses import dataclass
from typing import Any, Literal

from fsdet.model.resize import Resize

RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)
MSRA_STD = (1 / 255,) * 3  # weights of MSRA expect pixels less the mean, undivided
X101_STD = (58.395 / 255, 57.12 / 255, 57.375 / 255)

Project = Literal["torchvision", "detectron2", "mmdetection"]


@dataclass(frozen=True)
class Preset:
    """Settings of a published detector that its tensors do not show.

    Names and layouts of the tensors are those of `project`.
    """

    project: Project
    summary: str
    bgr: bool = False  # colour order of the first convolution
    mean: tuple[float, ...] = RGB_MEAN
    std: tuple[float, ...] = RGB_STD  # RGB, of pixels in 0..1
    stride_in_1x1: bool = False  # of a ResNet's blocks: in the first convolution, not in the 3x3
    eps: float = 1e-5  # of the frozen batch normalisation
    exact: bool = True  # anchors neither rounded nor spaced by image side // grid side
    aligned: bool = True  # RoIAlign with half-pixel offset, samples by size
    resize: Resize = "pillow"
    min_size: int = 800
    max_size: int = 1333
    before: int = 1000  # boxes of a level before the RPN's suppression at test
    proposals: int = 1000  # after it
    objectness: float = 0.0  # least of a proposal
    anchors: tuple[tuple[float, ...], ...] = ((32,), (64,), (128,), (256,), (512,))
    pool: int = 7  # side of a pooled region
    nodes: tuple[str, ...] = ()  # modules of the backbone that end the levels; default: its stages
    extra: bool = True  # whether a coarser level is pooled from the last
    cosine: float = 20.0  # scale of the classifier where it has no bias


_TORCHVISION: dict[str, Any] = {"exact": False, "aligned": False, "resize": "torch"}
_MOBILE: dict[str, Any] = {
    **_TORCHVISION,
    "objectness": 0.05,
    "anchors": ((32, 64, 128, 256, 512),) * 3,
    "nodes": ("features.13", "features.16"),
}
_CAFFE: dict[str, Any] = {"bgr": True, "std": MSRA_STD, "stride_in_1x1": True}

PRESETS: dict[str, Preset] = {
    "torchvision/fasterrcnn_resnet50_fpn": Preset(
        "torchvision", "COCO weights, or fine-tuned from them", eps=0.0, **_TORCHVISION
    ),
    "torchvision/fasterrcnn_resnet50_fpn_v2": Preset(
        "torchvision", "batch normalisation, 4 convolutions before the last layer", **_TORCHVISION
    ),
    "torchvision/fasterrcnn_mobilenet_v3_large_fpn": Preset(
        "torchvision", "at 800 pixels", **_MOBILE
    ),
    "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn": Preset(
        "torchvision",
        "at 320 pixels",
        **_MOBILE,
        min_size=320,
        max_size=640,
        before=150,
        proposals=150,
    ),
    "detectron2": Preset(
        "detectron2", "Faster or Mask R-CNN, R50-FPN or R101-FPN; TFA, FSCE", **_CAFFE
    ),
    "detectron2-x101": Preset("detectron2", "X101-32x8d-FPN", bgr=True, std=X101_STD),
    "mmdetection": Preset("mmdetection", "style='pytorch', R50, R101, X101", resize="opencv"),
    "mmdetection-caffe": Preset(
        "mmdetection", "style='caffe'; mmfewshot", resize="opencv", **_CAFFE
    ),
}
