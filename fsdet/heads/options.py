"""Options of heads: hyper-parameters with types and ranges, the `head.args` of a configuration."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(strict=True, allow_inf_nan=False)
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
CountOrZero = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Options:
    """Options of a head that has none; every family inherits from it and adds its own.

    A whole number passes for a float, nothing else is converted.

    Raises:
        pydantic.ValidationError: an unknown option, another type, or a value out of range.
    """


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ShareOptions(Options):
    """Options of heads whose embedding is the plain averages of backbone and pyramid beside fc7."""

    share: Positive = 1.2  # weight of fc7 beside the averages; learned from this start
