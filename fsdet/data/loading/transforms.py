"""Augmentation of images with their boxes, by albumentations.

A `Transform` is a pure function of (image, target, seed): it has no generator whose state forked workers would
share. Row numbers pass through albumentations instead of labels, because it rounds labels to float32.
"""

import inspect
import os
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from fsdet.data.loading.boundary import check_image, clip_boxes
from fsdet.errors import InputError, nearest, one_line
from fsdet.types import IGNORE, Target

# Without this variable, albumentations queries the package registry for its newest version on import.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A
from albumentations.augmentations.crops.transforms import CropSizeError

REDRAWS = 5
GREY = (114, 114, 114)


class Transform:
    """A sequence of albumentations steps as a callable `(image, target, seed) -> (image, target)`.

    The image is uint8 `[H, W, 3]` RGB (an array, or anything that numpy converts to one). All entries of the
    target other than `boxes` are selected by row and unchanged; IGNORE boxes are treated like others. A box is
    dropped if less than 2 pixels of a side or a tenth of its area remains. If the last box of a category is
    dropped, the image is transformed again with another seed derived from the given one; after `REDRAWS`
    attempts it is returned untransformed.

    Raises:
        InputError: an image that is not uint8 `[H, W, 3]`, before or after; a box that is not finite or has no
            area inside the image; a step that needs a larger image.
    """

    def __init__(self, steps: Sequence[A.BasicTransform]):
        boxes = A.BboxParams(
            format="pascal_voc",
            label_fields=["idx"],
            clip=True,
            filter_invalid_bboxes=True,
            min_width=2,
            min_height=2,
            min_area=4,
            min_visibility=0.1,
        )
        with warnings.catch_warnings():
            # Compose warns about boxes if no step moves them.
            warnings.filterwarnings("ignore", message="Got processor for bboxes")
            self._compose = A.Compose(list(steps), bbox_params=boxes)

    def __call__(self, image: np.ndarray, target: Target, seed: int) -> tuple[np.ndarray, Target]:
        image = check_image(np.asarray(image), "an image to transform")
        boxes = clip_boxes(target["boxes"], *image.shape[:2])
        labels = torch.as_tensor(target["labels"])
        for attempt in range(REDRAWS):
            # `Compose.set_random_seed` would give all steps the same seed, so that steps of equal
            # probability would always be applied together; one shared generator keeps them independent.
            bits = np.random.PCG64(np.random.SeedSequence((seed, attempt)))
            generator = np.random.Generator(bits)
            python = random.Random(int(generator.integers(1 << 62)))
            self._compose.set_random_state(generator, python)
            try:
                out = self._compose(image=image, bboxes=boxes, idx=np.arange(len(boxes)))
            except (ValueError, CropSizeError) as error:
                height, width = image.shape[:2]
                raise InputError(f"transforming an image {width} x {height}: {error}") from error
            rows = np.asarray(out["idx"], np.int64).reshape(-1)
            if _categories(labels[rows]) == _categories(labels):
                image = check_image(np.ascontiguousarray(out["image"]), "the transformed image")
                boxes = clip_boxes(out["bboxes"], *image.shape[:2])
                break
        else:
            rows = np.arange(len(boxes))
        entries = {name: value[rows] for name, value in cast(dict[str, Tensor], target).items()}
        return image, cast(Target, entries | {"boxes": torch.from_numpy(boxes).float()})


def training(size: int, strength: float = 1.0, flip: bool = True) -> Transform:
    """Augmentation of training images: flip, zoom in or out, colours; a few become grey or blurred.

    No step removes or cuts a box.

    Args:
        size: longest side of the result in pixels; smaller images are not enlarged.
        strength: 0 to 2; 0: only flip and resize, 1: the usual amount.
        flip: mirror half of the images (not for text or traffic signs).
    """
    if not 0 <= strength <= 2:
        raise InputError(f"augmentation strength must be between 0 and 2, got {strength}")
    often, rare = min(0.8 * strength, 0.8), min(0.05 * strength, 1.0)
    crop = _SafeCrop(smallest=1 / (1 + strength), p=0.7)
    pad = A.CropAndPad(percent=(0.0, 0.25 * strength), keep_size=False, fill=GREY, p=0.3)
    zoom = A.OneOf([crop, pad], p=often)
    light, hue = (1 - 0.3 * strength, 1 + 0.3 * strength), 0.05 * strength
    colour = A.ColorJitter(light, light, light, (-hue, hue), p=often)
    steps = [zoom, _Shrink(max_size=size), colour, A.ToGray(p=rare), A.GaussianBlur(p=rare)]
    return Transform([A.HorizontalFlip(p=0.5 if flip else 0.0), *steps])


def support(size: int, flip: bool = True) -> Transform:
    """Augmentation of the shots of a category: scale and surroundings remain."""
    light = (0.8, 1.2)
    colour = A.ColorJitter(light, light, light, hue=(-0.02, 0.02), p=0.5)
    return Transform([A.HorizontalFlip(p=0.5 if flip else 0.0), _Shrink(max_size=size), colour])


def custom(steps: Sequence[Mapping]) -> Transform:
    """A transform from a configuration: a list of `{name, args}` with albumentations' names.

    Raises:
        InputError: a name, argument or value that albumentations does not accept (by itself it would only
            warn), or a step that moves pixels but not boxes.
    """
    return Transform([_step(step, f"transform {n}") for n, step in enumerate(steps, 1)])


def _step(step: Mapping, where: str) -> A.BasicTransform:
    if not isinstance(step, Mapping) or "name" not in step or set(step) - {"name", "args"}:
        raise InputError(f"{where}: expected {{name, args}}, got {step!r}")
    name, args = step["name"], dict(step.get("args") or {})
    transforms = {
        key: value
        for key, value in vars(A).items()
        if inspect.isclass(value) and issubclass(value, (A.DualTransform, A.ImageOnlyTransform))
    }
    if name not in transforms:
        raise InputError(f"{where}: albumentations has no '{name}'{nearest(name, transforms)}")
    accepted = set(inspect.signature(transforms[name].__init__).parameters) - {"self"}
    for argument in args:
        if argument not in accepted:
            hint = nearest(argument, accepted)
            raise InputError(f"{where} ({name}): no argument '{argument}'{hint}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            built = transforms[name](**args)
    except (ValueError, TypeError, Warning) as error:
        reason = one_line(error)
        if isinstance(error.__cause__, ValidationError):
            first = error.__cause__.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}"
        raise InputError(f"{where} ({name}): {reason}") from None
    if isinstance(built, A.DualTransform) and "bboxes" not in built.available_keys:
        raise InputError(f"{where} ({name}): it moves pixels but not boxes")
    return built


class _SafeCrop(A.BBoxSafeRandomCrop):
    """A random crop of at least `smallest` of each side that contains all boxes completely.

    The crop of the parent class has no minimum size, and its right and lower edges may cut a box by a pixel.
    """

    def __init__(self, smallest: float, p: float = 1.0):
        super().__init__(p=p)
        self.smallest = smallest

    def get_params_dependent_on_data(self, params, data):
        height, width = params["shape"][:2]
        boxes = np.asarray(data["bboxes"], np.float64)  # [G, 5] in 0..1, with the row number
        scale = self.py_random.uniform(self.smallest, 1)
        spans = []
        for axis, side in ((0, width), (1, height)):
            low = np.floor(boxes[:, axis].min() * side + 1e-3) if len(boxes) else side
            high = np.ceil(boxes[:, axis + 2].max() * side - 1e-3) if len(boxes) else 0
            stretch = scale * self.py_random.uniform(0.85, 1.15)
            span = int(max(min(stretch, 1.0) * side, high - low, 1))
            start = self.py_random.randint(int(max(high - span, 0)), int(min(low, side - span)))
            spans.append((start, start + span))
        (left, right), (top, bottom) = spans
        return {"crop_coords": (left, top, right, bottom)}


class _Shrink(A.LongestMaxSize):
    """Shrinks larger images, to bound memory; the detector sets the scale."""

    def __init__(self, max_size: int):
        super().__init__(max_size=max_size, area_for_downscale="image", p=1)

    def get_params_dependent_on_data(self, params, data):
        return {"scale": min(1.0, super().get_params_dependent_on_data(params, data)["scale"])}


def _categories(labels: Tensor) -> set[int]:
    return set(labels.tolist()) - {IGNORE}
