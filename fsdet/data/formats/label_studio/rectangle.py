"""Label Studio's rectangles as boxes in pixels.

A rectangle is stored in percent of the image and is rotated about its upper left corner.
"""

import math
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from fsdet.errors import InputError

Box = tuple[float, float, float, float]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class TurnedImage(InputError):
    """An image that was rotated in Label Studio, whose boxes do not fit its file."""


class _Value(BaseModel):
    x: Finite
    y: Finite
    width: Finite
    height: Finite
    rotation: Finite | None = 0
    rectanglelabels: list[str] = []


class Rectangle(BaseModel):
    """A result of the type `rectanglelabels`; coordinates in percent."""

    original_width: int = Field(gt=0, lt=10**6)
    original_height: int = Field(gt=0, lt=10**6)
    image_rotation: Finite | None = 0
    value: _Value

    @staticmethod
    def parse(result: dict[str, Any]) -> "Rectangle":
        """Validate a result of an annotation.

        Raises:
            InputError: a value is missing or out of range, or the image was rotated.
        """
        try:
            rectangle = Rectangle.model_validate(result)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            path = ".".join(map(str, first["loc"]))
            raise InputError(
                f"rectangle: {path}: {first['msg']}, got {str(first['input'])[:80]}"
            ) from None
        if rectangle.image_rotation:
            raise TurnedImage(
                f"the image was rotated by {rectangle.image_rotation:g} degrees in Label Studio, "
                "expected it upright: rotate the file itself and label it again"
            )
        return rectangle

    def label(self) -> str:
        """The label, or "" without one; several are an `InputError`."""
        labels = self.value.rectanglelabels
        if len(labels) > 1:
            raise InputError(f"rectangle: expected one label, got {', '.join(labels)}")
        return labels[0] if labels else ""

    def box(self) -> Box:
        """The upright box around the rectangle in xyxy pixels, clipped to the image.

        Width and height are negative where it was drawn to the left or upwards.

        Raises:
            InputError: width or height is 0, or nothing lies in the image.
        """
        width, height, value = self.original_width, self.original_height, self.value
        angle = math.radians(value.rotation or 0)
        cos, sin = math.cos(angle), math.sin(angle)
        w, h = value.width * width / 100, value.height * height / 100
        xs = [value.x * width / 100 + dx for dx in (0, w * cos, -h * sin, w * cos - h * sin)]
        ys = [value.y * height / 100 + dy for dy in (0, w * sin, h * cos, w * sin + h * cos)]
        x1, x2 = (min(max(x, 0.0), float(width)) for x in (min(xs), max(xs)))
        y1, y2 = (min(max(y, 0.0), float(height)) for y in (min(ys), max(ys)))
        if not (x1 < x2 and y1 < y2 and w and h):
            raise InputError(f"rectangle without area in the image: {value.model_dump()}")
        return x1, y1, x2, y2
