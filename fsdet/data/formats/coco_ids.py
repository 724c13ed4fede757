"""Ids and flags of a COCO JSON as tools write them: 7, 7.0, "7", "a3f9", or missing."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

MAX_ID = 2**63 - 1
Key = int | str
WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
FLAGS = {"0": False, "false": False, "": False, "1": True, "true": True}


def id_key(value: object) -> Key | None:
    """An id for comparison: 7 for 7, 7.0 and "7", the text of other text; None for what is no id."""
    if type(value) is int:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    return int(text) if WHOLE_NUMBER.fullmatch(text) else text or None


def numbers_of(keys: Iterable[Key]) -> dict[Key, int]:
    """Key -> number: the ids themselves if all are whole numbers of 64 bits, else 1, 2, ... as they come."""
    unique = list(dict.fromkeys(keys))
    if all(type(key) is int and -MAX_ID - 1 <= key <= MAX_ID for key in unique):
        return {key: int(key) for key in unique}
    return {key: number for number, key in enumerate(unique, 1)}


def column(entries: Sequence[Mapping[str, Any]], key: str) -> list[Key | None]:
    """The ids under a key, as `id_key` reads them."""
    return [id_key(entry.get(key)) for entry in entries]


def annotation_ids(keys: Sequence[Key | None]) -> tuple[np.ndarray, bool]:
    """[A] int64 ids of annotations, and whether they are the file's own.

    If ids are missing or repeated, all annotations are numbered from 1; nothing refers to the old ids.
    """
    known = [key for key in keys if key is not None]
    numbers = numbers_of(known)
    own = len(numbers) == len(keys) and all(number == key for key, number in numbers.items())
    values = [numbers[key] for key in known] if own else range(1, len(keys) + 1)
    return np.array(values, np.int64), own


def number(value: object) -> float | None:
    """A number, or the number that a text shows; None for others."""
    if type(value) in (int, float):
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError:
            return math.inf
    if not isinstance(value, str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def flag(value: object) -> bool | None:
    """True or False of 1, 0, 1.0, "1", "true", true or nothing at all; None for others."""
    if value is None:
        return False
    if isinstance(value, str):
        return FLAGS.get(value.strip().lower())
    return bool(value) if isinstance(value, bool | int | float) and value in (0, 1) else None
