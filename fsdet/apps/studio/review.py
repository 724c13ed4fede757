"""Review grid: the component that shows boxes of all photographs as crops, and the answers that it sends."""

from typing import Any, NamedTuple

import gradio as gr

from fsdet.apps.studio.boxes import Corners, corners_of
from fsdet.apps.studio.widget import Widget

ALL_CATEGORIES = "all categories"
MOST_CROPS = 200  # of a grid


class Answer(NamedTuple):
    """A box of the grid, and whether it was marked as wrong."""

    key: str  # of its photograph
    corners: Corners
    category: str
    score: float | None  # None: drawn or accepted
    wrong: bool


class Review(Widget):
    """A grid of crops. Its value is a dict with `crops`: image (a file), key, corners, category and score.

    It triggers `answer` with a list of `Answer`.
    """

    def __init__(self, value: Any = None, **options: Any):
        super().__init__("review", value, **options)

    def preprocess(self, payload: Any) -> Any:
        """The answers of a page; raises a gr.Error for anything else."""
        try:
            return [
                Answer(
                    str(row["key"]),
                    corners_of(row["corners"]),
                    str(row["category"]),
                    None if row["score"] is None else float(row["score"]),
                    bool(row["wrong"]),
                )
                for row in payload["answers"][:MOST_CROPS]
            ]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise gr.Error(
                "expected answers with key, corners, category, score and wrong"
            ) from error
