"""Messages of the studio's page: what the canvas and the review grid send, and texts that are shown."""

import pytest

from fsdet import InputError
from fsdet.apps.studio.canvas import ACTIONS, message_of
from fsdet.apps.studio.estimates import Estimate
from fsdet.apps.studio.lesson import Lesson
from fsdet.apps.studio.project import Box, Labels, Photo, Project
from fsdet.apps.studio.review import Answer, answers_of
from fsdet.apps.studio.texts import markdown, progress, table
from fsdet.apps.studio.view import View

NAME = "<b>&*x*"
BOX = Box("red", (1.0, 2.5, 30.0, 40.0))


def message(**changes) -> dict:
    box = {"category": "red", "corners": [1, 2.5, 30, 40]}
    whole = {"key": "k", "boxes": [box], "rejected": [[1, 1, 5, 5]], "complete": True}
    return whole | {"action": "done"} | changes


def test_a_message_of_the_canvas_is_read_and_the_servers_own_value_is_none():
    read = message_of(message())
    assert read == ("k", Labels((BOX,), ((1.0, 1.0, 5.0, 5.0),), True), "done")
    own = message()
    del own["action"]
    assert message_of(own) is None and message_of(None) is None


@pytest.mark.parametrize(
    "value",
    [
        "x",
        7,
        message(boxes=3),
        message(boxes=[{"category": "x"}]),
        message(boxes=[{"category": "x", "corners": [1, 2, 3]}]),
        message(boxes=[{"category": "x", "corners": ["a", 2, 3, 4]}]),
        message(rejected=[None]),
        {"action": "keep"},
        message(action="delete"),
    ],
)
def test_other_values_of_the_canvas_are_refused(value):
    with pytest.raises(InputError, match=r"expected .*(key, boxes|actions " + ACTIONS[0] + ")"):
        message_of(value)


def test_answers_of_the_review_grid_are_read_and_others_refused():
    row = {"key": "k", "corners": [1, 2.5, 30, 40], "category": "red", "score": None, "wrong": True}
    assert answers_of({"answers": [row]}) == [Answer("k", BOX.corners, "red", None, True)]
    for value in (None, {"answers": 3}, {"answers": [{}]}, {"answers": [row | {"score": "x"}]}):
        with pytest.raises(InputError, match="expected answers"):
            answers_of(value)


def test_names_are_escaped_and_progress_counts_boxes_and_photographs():
    photos = tuple(Photo(key, f"{key}.png", 100, 80) for key in "ab")
    box = Box(NAME, BOX.corners)
    project = Project(photos).labelled("a", Labels((box,), complete=True))
    estimate = {NAME: Estimate(0.4, 5, 4, 1)}
    view = View(project, Lesson(None, {}, estimate), 0.1)
    assert "&lt;b&gt;&amp;*x*" in table(view) and "<b>" not in table(view)
    assert "0.40" in table(view) and "4 of 5" in table(view)
    assert "1 of 1 boxes" in progress(view) and "1 of 2 photographs left" in progress(view)
    assert "4 of 5 boxes are found, 1 wrong" in progress(view)
    assert markdown(NAME) == r"&lt;b&gt;&amp;\*x\*"
