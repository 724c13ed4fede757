"""Augmentation: albumentations pipelines that say what they did to every box.

A `Transform` is a pure function of (image, target, seed): it holds no generator that forked workers
could repeat, and only row numbers travel through albumentations beside the boxes, because it rounds
labels to float32.
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

from fsdet.data.loading.boundary import checked, inside
from fsdet.errors import InputError, nearest, one_line
from fsdet.types import IGNORE, Target

# albumentations asks the package registry for its newest version when imported, unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A
from albumentations.augmentations.crops.transforms import CropSizeError

REDRAWS = 5
GREY = (114, 114, 114)


class Transform:
    """A sequence of albumentations steps as a callable `(image, target, seed) -> (image, target)`.

    The image is uint8 `[H, W, 3]` RGB (an array, or anything numpy reads as one). Of the target,
    every entry beside `boxes` is carried along by row, exactly, whatever its type; IGNORE boxes are
    carried like others. A box is dropped when less than 2 pixels a side or a tenth of its area is
    left. If this takes the last box of a category out of the image, the draw is repeated with
    another seed derived from the given one, and after `REDRAWS` of them the image is returned as it
    came.

    Raises:
        InputError: an image that is not uint8 `[H, W, 3]`, before or after; a box that is not
            finite or has no area inside the image; a step that the image is too small for.
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
            # Steps that leave boxes where they are make Compose doubt that it needs boxes at all.
            warnings.filterwarnings("ignore", message="Got processor for bboxes")
            self._compose = A.Compose(list(steps), bbox_params=boxes)

    def __call__(self, image: np.ndarray, target: Target, seed: int) -> tuple[np.ndarray, Target]:
        image = checked(np.asarray(image), "an image to transform")
        boxes = inside(target["boxes"], *image.shape[:2])
        kinds = torch.as_tensor(target["labels"])
        for attempt in range(REDRAWS):
            # `Compose.set_random_seed` would give every step the same seed, so that steps of equal
            # probability all happen together; one generator shared by all keeps them independent.
            bits = np.random.PCG64(np.random.SeedSequence((seed, attempt)))
            generator = np.random.Generator(bits)
            python = random.Random(int(generator.integers(1 << 62)))
            self._compose.set_random_state(generator, python)
            try:
                out = self._compose(image=image, bboxes=boxes, idx=np.arange(len(boxes)))
            except (ValueError, CropSizeError) as error:
                height, width = image.shape[:2]
                raise InputError(f"transforming an image {width} x {height}: {error}") from error
            kept = np.asarray(out["idx"], np.int64).reshape(-1)
            if _kinds(kinds[kept]) == _kinds(kinds):
                image = checked(np.ascontiguousarray(out["image"]), "the transformed image")
                boxes = inside(out["bboxes"], *image.shape[:2])
                break
        else:
            kept = np.arange(len(boxes))
        rows = {name: value[kept] for name, value in cast(dict[str, Tensor], target).items()}
        return image, cast(Target, rows | {"boxes": torch.from_numpy(boxes).float()})


def training(size: int, strength: float = 1.0, flip: bool = True) -> Transform:
    """What a training image goes through: flip, zoom in or out, colours; a few turn grey or blur.

    No step takes a box out of the image or cuts one.

    Args:
        size: longest side in pixels of what comes out; smaller images are not enlarged.
        strength: 0 leaves only the flip and the size, 1 is the usual amount.
        flip: whether left and right may be exchanged (not so for text or traffic signs).
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
    """What the few annotated images of a category go through: scale and surroundings are kept."""
    light = (0.8, 1.2)
    colour = A.ColorJitter(light, light, light, hue=(-0.02, 0.02), p=0.5)
    return Transform([A.HorizontalFlip(p=0.5 if flip else 0.0), _Shrink(max_size=size), colour])


def custom(steps: Sequence[Mapping]) -> Transform:
    """A transform from configuration: a list of `{name, args}`, names being albumentations' own.

    Raises:
        InputError: a name, an argument or a value that albumentations does not know (it would only
            warn), or a step that moves pixels without moving boxes.
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
    for word in args:
        if word not in accepted:
            hint = nearest(word, accepted)
            raise InputError(f"{where} ({name}): no argument '{word}'{hint}")
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
    """A random window of at least `smallest` of each side, grown to hold every box whole.

    The parent's window has no lower limit, and its right and lower edges may cut a box by a pixel.
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
    """Resizes only what is larger: the detector sets the scale, this bounds memory."""

    def __init__(self, max_size: int):
        super().__init__(max_size=max_size, area_for_downscale="image", p=1)

    def get_params_dependent_on_data(self, params, data):
        return {"scale": min(1.0, super().get_params_dependent_on_data(params, data)["scale"])}


def _kinds(labels: Tensor) -> set[int]:
    return set(labels.tolist()) - {IGNORE}
