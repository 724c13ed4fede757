"""Messages of the canvas: the labels of the photograph on it, and what is to be done next."""

from typing import Any, NamedTuple

from fsdet.apps.studio.boxes import corners_of
from fsdet.apps.studio.project import Box, Labels
from fsdet.errors import InputError

SIDE = 1600  # pixels of the longer side of the picture on the canvas
MOST_BOXES = 1000  # of a message
ACTIONS = ("keep", "done", "next", "previous", "doubtful", "teach", "undo")


class Message(NamedTuple):
    """The labels of the photograph on the canvas, and what is to be done next."""

    key: str  # of the photograph
    labels: Labels
    action: str  # one of `ACTIONS`


def message_of(value: Any) -> Message | None:
    """The message in a value of the canvas; None if nothing was done on it since the server sent it.

    Raises:
        InputError: anything else.
    """
    if value is None or (isinstance(value, dict) and "action" not in value):
        return None
    try:
        boxes = tuple(
            Box(str(box["category"]), corners_of(box["corners"]))
            for box in value["boxes"][:MOST_BOXES]
        )
        rejected = tuple(corners_of(corners) for corners in value["rejected"][:MOST_BOXES])
        labels = Labels(boxes, rejected, bool(value["complete"]))
        message = Message(str(value["key"]), labels, str(value["action"]))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            "canvas: expected key, boxes with category and corners, rejected, complete and action"
        ) from error
    if message.action not in ACTIONS:
        raise InputError(f"expected one of the actions {', '.join(ACTIONS)}")
    return message
