"""Canvas: the component that shows a photograph with its boxes, and the messages that it sends."""

from typing import Any, NamedTuple

import gradio as gr

from fsdet.apps.studio.boxes import corners_of
from fsdet.apps.studio.project import Box, Labels
from fsdet.apps.studio.widget import Widget

SIDE = 1600  # pixels of the longer side of the picture on the canvas
MOST_BOXES = 1000  # of a message
ACTIONS = ("keep", "done", "next", "previous", "doubtful", "teach", "undo")


class Message(NamedTuple):
    """The labels of the photograph on the canvas, and what is to be done next."""

    key: str  # of the photograph
    labels: Labels
    action: str  # one of `ACTIONS`

from gradio.events import Dependency

class Canvas(Widget):
    """A photograph whose boxes are drawn, changed and answered by mouse, touch and keys.

    Its value is None or a dict: `key`, `name`, `place` ("3 of 40"), `width`, `height` and `image` (a file) of the
    photograph; `boxes` with category, corners in pixels of the photograph and score (None: drawn or accepted);
    `rejected`, corners; `complete`; `categories` with name and colour. It triggers `act` with a `Message`.
    """

    def __init__(self) -> None:
        super().__init__("canvas", None)

    def preprocess(self, payload: Any) -> Any:
        """The `Message` of a page, or None if nothing was done; raises a gr.Error for anything else."""
        if payload is None or (isinstance(payload, dict) and "action" not in payload):
            return None  # nothing was done on the canvas since its value came from here
        try:
            boxes = tuple(
                Box(str(box["category"]), corners_of(box["corners"]))
                for box in payload["boxes"][:MOST_BOXES]
            )
            rejected = tuple(corners_of(corners) for corners in payload["rejected"][:MOST_BOXES])
            labels = Labels(boxes, rejected, bool(payload["complete"]))
            message = Message(str(payload["key"]), labels, str(payload["action"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise gr.Error(
                "expected key, boxes with category and corners, rejected, complete and action"
            ) from error
        if message.action not in ACTIONS:
            raise gr.Error(f"expected one of the actions {', '.join(ACTIONS)}")
        return message
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component