"""Answers of the review grid, which shows boxes of all photographs as crops."""

from typing import Any, NamedTuple

from fsdet.apps.studio.boxes import Corners, corners_of
from fsdet.errors import InputError

ALL_CATEGORIES = "all categories"
MOST_CROPS = 200  # of a grid


class Answer(NamedTuple):
    """A box of the grid, and whether it was marked as wrong."""

    key: str  # of its photograph
    corners: Corners
    category: str
    score: float | None  # None: drawn or accepted
    wrong: bool


def answers_of(value: Any) -> list[Answer]:
    """The answers in a value of the review grid.

    Raises:
        InputError: anything else.
    """
    try:
        return [
            Answer(
                str(row["key"]),
                corners_of(row["corners"]),
                str(row["category"]),
                None if row["score"] is None else float(row["score"]),
                bool(row["wrong"]),
            )
            for row in value["answers"][:MOST_CROPS]
        ]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            "review: expected answers with key, corners, category, score and wrong"
        ) from error
