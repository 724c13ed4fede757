"""Resizing of images before the backbone, as the detectors' own projects do it."""

from typing import Literal

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes

Resize = Literal["torch", "pillow", "opencv"]


def image_transform(
    kind: Resize, min_sizes: tuple[int, ...], max_size: int, mean: list[float], std: list[float]
) -> GeneralizedRCNNTransform:
    """Resizes and normalises images and batches them, padded to multiples of 32.

    Args:
        kind: `torch` interpolates floats (torchvision); `pillow` and `opencv` resize 8-bit pixels (detectron2;
            mmdetection).
        min_sizes: short sides; training draws one of them, detection takes the last.
    """
    if kind == "torch":
        return GeneralizedRCNNTransform(min_sizes, max_size, mean, std)
    return _EightBitTransform(kind, min_sizes, max_size, mean, std)


class _EightBitTransform(GeneralizedRCNNTransform):
    """Resizes 8-bit pixels by Pillow or OpenCV; sides are rounded to the nearest pixel, not down."""

    def __init__(self, kind: Resize, *sizes_and_statistics):
        super().__init__(*sizes_and_statistics)
        self.kind = kind

    def normalize(self, image: Tensor) -> Tensor:
        return image  # pixels are resized first

    def resize(self, image: Tensor, target=None):
        height, width = image.shape[-2:]
        short = self.torch_choice(self.min_size) if self.training else self.min_size[-1]
        scale = short / min(height, width)
        if scale * max(height, width) > self.max_size:
            scale = self.max_size / max(height, width)
        size = int(height * scale + 0.5), int(width * scale + 0.5)
        pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        resized = _RESIZERS[self.kind](pixels, size)
        floats = torch.from_numpy(resized).permute(2, 0, 1).to(image) / 255
        if target is not None:
            target["boxes"] = resize_boxes(target["boxes"], [height, width], list(size))
        return super().normalize(floats), target


def _by_pillow(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.array(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))


def _by_opencv(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)


_RESIZERS = {"pillow": _by_pillow, "opencv": _by_opencv}
