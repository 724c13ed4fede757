"""Objects cut out of their images: squares of one size, to be shown in rows."""

import cv2
import numpy as np

from fsdet.report.overlays import Colour, draw

_AROUND = 1.5  # sides of the square over the longer side of the box
_OUTSIDE = (128, 128, 128)


def crop(image: np.ndarray, box: np.ndarray, colour: Colour, side: int = 144) -> np.ndarray:
    """The square around a box, with the box drawn in; grey where the image ends.

    Args:
        image: uint8 [H, W, 3] RGB.
        box: [4] xyxy in pixels.
        side: of the result, in pixels.

    Returns:
        uint8 [side, side, 3] RGB.
    """
    low, high = np.asarray(box, float).reshape(2, 2)
    length = int(np.ceil(_AROUND * max(*(high - low), 1.0)))
    corner = np.floor((low + high - length) / 2).astype(int)
    square = np.full((length, length, 3), _OUTSIDE, np.uint8)
    x, y = np.clip([corner, corner + length], 0, np.array(image.shape[1::-1])).T
    left, top = corner
    square[y[0] - top : y[1] - top, x[0] - left : x[1] - left] = image[slice(*y), slice(*x)]
    how = cv2.INTER_AREA if side < length else cv2.INTER_CUBIC
    small = cv2.resize(square, (side, side), interpolation=how)
    inside = (np.concatenate([low, high]) - np.tile(corner, 2)) * side / length
    return draw(small, inside[None], [""], [colour], line=2)
