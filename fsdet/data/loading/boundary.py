"""Validation of images and boxes before and after a transform."""

import numpy as np
from torch import Tensor

from fsdet.errors import InputError


def check_image(image: np.ndarray, name: str) -> np.ndarray:
    """Return the image; an `InputError` if it is not uint8 `[H, W, 3]`."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"{name} must be uint8 [height, width, 3], got {image.dtype} {list(image.shape)}"
        )
    return image


def clip_boxes(boxes: Tensor | np.ndarray | list, height: int, width: int) -> np.ndarray:
    """Clip boxes to the image: [G, 4] float64.

    Raises:
        InputError: a box that is not finite or has no area in the image; albumentations would drop it silently.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    clipped = np.clip(boxes, 0, (width, height, width, height))
    valid = (clipped[:, 2:] > clipped[:, :2]).all(1)  # False for NaN as well
    if not valid.all():
        row = int(np.flatnonzero(~valid)[0])
        raise InputError(
            f"box {row} of an image {width} x {height} must be finite and have area inside it, "
            f"got {boxes[row].tolist()}"
        )
    return clipped
