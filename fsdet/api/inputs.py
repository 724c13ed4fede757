"""Inputs of a detector: images and boxes of many types, converted to tensors and validated."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fsdet import config as cfg
from fsdet.data.images import read_image
from fsdet.errors import InputError
from fsdet.types import IGNORE, Shots, Target

WHITE = {"uint8": 255.0, "uint16": 65535.0}
KINDS = "a path, an RGB array [H, W, 3], a PIL image or a tensor [3, H, W]"


def is_image(value: object) -> bool:
    """Whether a value is one image, not several."""
    if isinstance(value, np.ndarray | Tensor):
        return 2 <= value.ndim <= 3
    return isinstance(value, str | os.PathLike | bytes | Image.Image)


def as_tensor(image: object) -> Tensor:
    """One image -> float32 [3, H, W] in 0..1.

    Args:
        image: a path or the bytes of a file (any usual format, turned upright by `fsdet.data.read_image`); a
            PIL image (not turned); an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] in RGB order; a tensor
            with channels first. Values are uint8, uint16, or floats in 0..1; alpha is dropped.

    Raises:
        InputError: another type, shape or range, or a file that cannot be read.
    """
    if isinstance(image, str | os.PathLike | bytes):
        image = read_image(Path(image) if isinstance(image, os.PathLike) else image)
    elif isinstance(image, Image.Image):
        image = _of_pil(image)
    if isinstance(image, np.ndarray):
        channels_first = _channels_first(image)
    elif isinstance(image, Tensor):
        channels_first = image.detach()[None] if image.ndim == 2 else image.detach()
    else:
        raise InputError(f"expected {KINDS}, got {type(image).__name__}")
    shape = list(channels_first.shape)
    if len(shape) != 3 or shape[0] not in (1, 3, 4) or channels_first.numel() == 0:
        raise InputError(f"expected an image tensor [3, H, W], got shape {list(image.shape)}")
    return _in_unit_range(channels_first)[:3].expand(3, -1, -1)


def check_sides(height: int, width: int, settings: cfg.Detector) -> None:
    """An InputError for an image whose shorter side would be less than a pixel at the detector's size."""
    short, long = sorted((height, width))
    if short * min(settings.min_size / short, settings.max_size / long) < 1:
        raise InputError(
            f"an image of {width} x {height} pixels is too narrow: expected at least a pixel a side"
            " after resizing for the detector"
        )


def as_boxes(boxes: object, image: Tensor, least: int = 1) -> Tensor:
    """The boxes of one image -> float32 [G, 4], clipped to it.

    Args:
        boxes: [G, 4] (x1, y1, x2, y2) in pixels, or one box of four numbers; up to a pixel may lie outside.
        image: [3, H, W].
        least: minimum number of boxes, 0 or 1.

    Raises:
        InputError: too few boxes, another shape, a number that is not finite, or a box without area in the image.
    """
    try:
        array = np.asarray(boxes.detach().cpu() if isinstance(boxes, Tensor) else boxes, np.float32)
    except (ValueError, TypeError) as error:
        raise InputError("boxes must be numbers, [G, 4] (x1, y1, x2, y2)") from error
    if array.size == 0:
        if least == 0:
            return torch.zeros(0, 4)
        raise InputError("expected at least one box, got none")
    if array.shape[-1:] != (4,) or array.ndim > 2:
        raise InputError(f"boxes must be [G, 4] (x1, y1, x2, y2), got shape {list(array.shape)}")
    corners, (height, width) = torch.from_numpy(array.reshape(-1, 4)), image.shape[-2:]
    limits = torch.tensor([width, height, width, height], dtype=torch.float32)
    clipped = torch.minimum(corners.clamp(min=0), limits)
    inside = ((corners - clipped).abs() <= 1).all(1)  # False for NaN as well
    for box in corners[~(inside & (clipped[:, 2:] > clipped[:, :2]).all(1))].tolist():
        raise InputError(
            f"box {_rounded(box)} is not (x1, y1, x2, y2) with area inside the image of"
            f" {width} x {height} pixels"
        )
    for box in corners[(corners[:, 2:] <= 1).all(1)].tolist():
        if max(width, height) > 1:
            raise InputError(
                f"box {_rounded(box)} is within the first pixel of {width} x {height}; expected"
                " (x1, y1, x2, y2) in pixels, not shares of the image's sides"
            )
    return clipped


def as_shots(name: Any, images: Any, boxes: Any, others: Any = None) -> Shots:
    """Validate the arguments of `fsdet.Detector.register`.

    Raises:
        InputError: any of them is wrong; the message contains the index of the image.
    """
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"register: expected a category name, got {name!r}")
    image_list, box_lists = _lists(name, images, boxes)
    other_lists = [None] * len(image_list) if others is None else _lists(name, images, others)[1]
    tensors, targets = [], []
    triples = zip(image_list, box_lists, other_lists, strict=True)
    for i, (image, own_boxes, other_boxes) in enumerate(triples):
        try:
            tensors.append(as_tensor(image))
            targets.append(as_target(own_boxes, other_boxes, tensors[-1]))
        except InputError as error:
            raise InputError(f"register '{name}', image {i}: {error}") from error
    return Shots(tensors, targets, (name,))


def as_target(boxes: Any, others: Any, image: Tensor) -> Target:
    """The boxes of one category in an image, label 1, and of other objects, IGNORE; see `as_boxes`."""
    objects = as_boxes(boxes, image)
    ignored = as_boxes(() if others is None else others, image, least=0)
    labels = torch.tensor([1] * len(objects) + [IGNORE] * len(ignored))
    return Target(boxes=torch.cat([objects, ignored]), labels=labels)


def _lists(name: str, images: Any, boxes: Any) -> tuple[list, list]:
    """Images and their boxes as lists of equal length.

    Raises:
        InputError: no list, no image, or another number of boxes; the message contains `name`.
    """
    where = f"register '{name}'"
    if is_image(images):
        raise InputError(f"{where}: expected a list of images, got one; write [image], [boxes]")
    for value, kind in ((images, "images"), (boxes, "boxes")):
        if not isinstance(value, Sequence | np.ndarray | Tensor) or isinstance(value, str | bytes):
            raise InputError(f"{where}: expected a list of {kind}, got {type(value).__name__}")
    images, boxes = list(images), list(boxes)
    if not images:
        raise InputError(f"{where}: expected at least one image with a box, got none")
    if len(images) != len(boxes):
        hint = "; the boxes of one image go into a list of their own" if len(images) == 1 else ""
        raise InputError(
            f"{where}: expected boxes for each image, got {len(images)} images and"
            f" {len(boxes)} sets of boxes{hint}"
        )
    return images, boxes


def _of_pil(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        raise InputError(f"expected a PIL image of 8 or 16 bits a channel, got mode {image.mode}")
    try:
        return np.asarray(image.convert("RGB"))
    except Exception as error:  # PIL decodes here, and raises all kinds of errors for broken files
        raise InputError(f"a PIL image that cannot be decoded ({error})") from None


def _channels_first(image: np.ndarray) -> Tensor:
    image = image[:, :, None] if image.ndim == 2 else image
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise InputError(f"expected an RGB array [H, W, 3], got shape {list(image.shape)}")
    if image.dtype.name not in WHITE and image.dtype.kind != "f":
        raise InputError(f"expected an array of uint8, or floats in 0..1; got {image.dtype}")
    kind = np.float32 if image.dtype.kind == "f" else image.dtype.newbyteorder("=")
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), kind, order="C"))


def _in_unit_range(image: Tensor) -> Tensor:
    kind = str(image.dtype).removeprefix("torch.")
    if kind in WHITE:
        return image.float() / WHITE[kind]
    if not image.is_floating_point():
        raise InputError(f"expected a tensor of uint8, or floats in 0..1; got {kind}")
    image = image.float()
    low, high = (value.item() for value in image.aminmax())
    if not (low >= -0.01 and high <= 1.01):  # a resampled image may overshoot a little
        raise InputError(
            f"expected floats in 0..1, got values from {low:.3g} to {high:.3g}; divide by 255, or give uint8"
        )
    return image


def _rounded(box: list[float]) -> list[float]:
    return [round(value, 2) for value in box]
