"""Proposals from outside: boxes that another detector, or any function, finds in an image."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fsdet.errors import InputError, one_line
from fsdet.model.given_boxes import GivenBoxes

Proposer = Callable[[np.ndarray], Any]
"""An RGB image, uint8 [H, W, 3], -> boxes as `as_proposals` takes them."""


def given_boxes(proposer: Proposer, images: list[Tensor], most: int) -> GivenBoxes:
    """The boxes that a function finds in images, float32 [3, H, W] in 0..1.

    Raises:
        InputError: the function fails, or returns no boxes; the message contains the index of the image.
    """
    boxes = []
    for i, image in enumerate(images):
        pixels = (image * 255).round().clamp(0, 255).to(torch.uint8)
        array = np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy())
        try:
            boxes.append(as_proposals(proposer(array), (image.shape[-2], image.shape[-1])))
        except InputError as error:
            raise InputError(f"proposals, image {i}: {error}") from error
        except Exception as error:
            kind = type(error).__name__
            raise InputError(
                f"proposals, image {i}: the function failed: {kind}: {one_line(error, 200)}"
            ) from error
    return GivenBoxes(boxes, [(image.shape[-2], image.shape[-1]) for image in images], most)


def as_proposals(found: Any, size: tuple[int, int]) -> Tensor:
    """What a detector found in an image -> boxes float32 [R, 4], clipped to it, the highest score first.

    Args:
        found: [R, 4] (x1, y1, x2, y2) in pixels, best first; a tuple of such boxes and their scores [R]; a
            dictionary with `boxes` and perhaps `scores`, as torchvision's; `supervision.Detections`; or detections
            of `Detector.predict`.
        size: height and width of the image.

    Returns:
        The boxes with area inside the image.

    Raises:
        InputError: another shape, a number that is not finite, corners in the wrong order, shares in the place of
            pixels, or no box inside the image.
    """
    boxes, scores = _boxes_and_scores(found)
    array = _array(boxes, "boxes")
    array = array.reshape(-1, 4) if array.size == 0 else array
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"expected boxes [R, 4] (x1, y1, x2, y2), got shape {list(array.shape)}")
    if scores is not None:
        ranks = _array(scores, "scores")
        if ranks.shape != (len(array),):
            raise InputError(
                f"expected a score for each of {len(array)} boxes, got shape {list(ranks.shape)}"
            )
        array = array[np.argsort(-ranks, kind="stable")]
    height, width = size
    _check_corners(array, height, width)
    clipped = np.clip(array, 0, [width, height, width, height])
    whole = (clipped[:, 2:] > clipped[:, :2]).all(1)
    if len(array) and not whole.any():
        raise InputError(
            f"no box has area inside the image of {width} x {height} pixels; the first is"
            f" {array[0].round(2).tolist()}"
        )
    return torch.from_numpy(clipped[whole])


def _boxes_and_scores(found: Any) -> tuple[Any, Any]:
    if hasattr(found, "xyxy"):  # supervision.Detections
        return found.xyxy, getattr(found, "confidence", None)
    if isinstance(found, dict):
        if "boxes" not in found:
            raise InputError(
                f"expected the key 'boxes', got {', '.join(map(str, found)) or 'none'}"
            )
        return found["boxes"], found.get("scores")
    if hasattr(found, "boxes") and hasattr(found, "scores"):  # fsdet's own detections
        return found.boxes, found.scores
    if isinstance(found, tuple) and len(found) == 2:
        return found
    return found, None


def _array(values: Any, what: str) -> np.ndarray:
    """Finite numbers as float32."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    try:
        array = np.asarray(values, np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"expected {what} as numbers, got {type(values).__name__}") from error
    if not np.isfinite(array).all():
        raise InputError(f"expected finite {what}, got NaN or an infinity")
    return array


def _check_corners(boxes: np.ndarray, height: int, width: int) -> None:
    wrong = (boxes[:, 2:] < boxes[:, :2]).any(1)
    if wrong.any():
        raise InputError(
            f"box {boxes[wrong][0].round(2).tolist()}: expected (x1, y1, x2, y2) with x1 <= x2 and"
            " y1 <= y2, not x, y, width, height"
        )
    if len(boxes) and max(height, width) > 1 and boxes.max() <= 1:
        raise InputError(
            f"all boxes are within the first pixel of {width} x {height}; expected pixels, not shares"
            " of the image's sides"
        )
