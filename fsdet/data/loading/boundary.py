"""Checks of images and boxes before and after a transform."""

import numpy as np
from torch import Tensor

from fsdet.errors import InputError


def checked(image: np.ndarray, name: str) -> np.ndarray:
    """The image, if it is uint8 `[H, W, 3]`, else `InputError`."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"{name} must be uint8 [height, width, 3], got {image.dtype} {list(image.shape)}"
        )
    return image


def inside(boxes: Tensor | np.ndarray | list, height: int, width: int) -> np.ndarray:
    """Boxes [G, 4] clipped to the image, float64; albumentations would drop bad ones in silence."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    clipped = np.clip(boxes, 0, (width, height, width, height))
    good = (clipped[:, 2:] > clipped[:, :2]).all(1)  # False for NaN as well
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise InputError(
            f"box {row} of an image {width} x {height} must be finite and have area inside it, "
            f"got {boxes[row].tolist()}"
        )
    return clipped
