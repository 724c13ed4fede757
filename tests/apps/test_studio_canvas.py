"""The studio's canvas in a browser, on a page without a server: what it draws and what it sends."""

import base64
import json

import cv2
import numpy as np
import pytest
from helpers.browser import CHROMIUM, DRIVER, Person
from helpers.paths import ROOT
from selenium.webdriver.common.keys import Keys

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="NO BROWSER: chromium and chromedriver are not installed"
    ),
]

FILES = ROOT / "fsdet/apps/studio"
# What Gradio gives to the script of a component: its element, its value, and a way to send it.
PAGE = """<!doctype html><meta charset="utf-8"><style>#studio-canvas { %(css)s }</style>
<div id="studio-canvas">%(html)s</div><p id="studio-message"></p>
<script>
const sent = [], watching = [];
const props = { value: %(value)s };
function run(element, trigger, props, watch) { %(js)s }
const element = document.querySelector("#studio-canvas"), trigger = () => sent.push(props.value);
run(element, trigger, props, (name, call) => watching.push(call));
function give(value) { props.value = value; watching.forEach((call) => call()); }
</script>"""
FOUND = {"category": "red", "corners": [10, 10, 40, 40], "score": 0.9}
DOUBTFUL = {"category": "red", "corners": [60, 50, 90, 70], "score": 0.51}
DRAWN = {"category": "blue", "corners": [50, 5, 70, 30], "score": None}


def value(*boxes, width: int = 100, height: int = 80, **more) -> dict:
    image = cv2.imencode(".png", np.full((height, width, 3), 90, np.uint8))[1].tobytes()
    url = "data:image/png;base64," + base64.b64encode(image).decode()
    names = [{"name": name, "colour": "rgb(1, 2, 3)"} for name in ("red", "blue")]
    photo = {"key": "k", "name": "a.png", "place": "1 of 2", "width": width, "height": height}
    state = {"boxes": list(boxes), "rejected": [], "complete": False, "categories": names}
    return photo | {"image": {"url": url}} | state | more


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("canvas")
    parts = {kind: (FILES / f"canvas.{kind}").read_text() for kind in ("html", "css", "js")}
    (folder / "page.html").write_text(PAGE % (parts | {"value": "null"}))
    with Person((folder / "page.html").as_uri(), folder, (1000, 900)) as person:
        yield person


def shown(person: Person, *boxes, **more) -> Person:
    """The page anew, with a photograph on its canvas."""
    person.browser.refresh()
    person.browser.execute_script("give(arguments[0])", value(*boxes, **more))
    return person


def last(person: Person) -> dict:
    return json.loads(person.browser.execute_script("return JSON.stringify(sent.at(-1) ?? null)"))


def corners(message: dict) -> list[list[float]]:
    return [box["corners"] for box in message["boxes"]]


def test_found_boxes_are_dashed_and_enter_accepts_them_all(browser):
    person = shown(browser, DRAWN, DOUBTFUL, FOUND)
    assert len(person.boxes(".found")) == 2 and len(person.boxes()) == 3
    fill, dashes = person.browser.execute_script(
        "const style = getComputedStyle(document.querySelector('.box.found'));"
        "return [style.fill, style.strokeDasharray]"
    )
    assert fill in ("none", "rgba(0, 0, 0, 0)") and dashes != "none"
    assert person.status() == "a.png (1 of 2): 1 box, 2 found"
    person.keys(Keys.ENTER)
    message = last(person)
    assert message["action"] == "done" and message["complete"] is True and message["key"] == "k"
    assert corners(message) == [box["corners"] for box in (DRAWN, DOUBTFUL, FOUND)]


def test_one_box_is_accepted_another_rejected_and_the_rest_stays_found(browser):
    person = shown(browser, FOUND, DOUBTFUL)
    person.keys("a")
    message = last(person)
    assert message["action"] == "keep" and corners(message) == [FOUND["corners"]]
    assert message["rejected"] == [] and person.boxes(".found") == [DOUBTFUL["corners"]]
    person.keys("x")
    message = last(person)
    assert message["rejected"] == [DOUBTFUL["corners"]] and len(message["boxes"]) == 1
    person.keys(" ", Keys.DELETE)  # a box that is no detection is deleted, not rejected
    message = last(person)
    assert message["boxes"] == [] and message["rejected"] == [DOUBTFUL["corners"]]


def test_numbers_set_the_category_of_the_selected_box_or_of_new_ones(browser):
    person = shown(browser, FOUND)
    person.keys("2")
    assert last(person)["boxes"] == [{"category": "blue", "corners": FOUND["corners"]}]
    person.keys(Keys.ESCAPE, "1")
    person.drag((60, 50), (90, 70))
    assert [box["category"] for box in last(person)["boxes"]] == ["blue", "red"]
    np.testing.assert_allclose(corners(last(person))[1], [60, 50, 90, 70], atol=0.3)


def test_marks_and_moves_are_single_keys(browser):
    for key, action in (("t", "teach"), ("d", "doubtful"), ("u", "undo")):
        shown(browser, FOUND).keys(key)
        assert last(browser)["action"] == action and last(browser)["boxes"] == []
    for key, action in ((Keys.ARROW_RIGHT, "next"), (Keys.ARROW_LEFT, "previous")):
        shown(browser, FOUND).keys(key)
        assert last(browser)["action"] == action and last(browser)["complete"] is False
    shown(browser, FOUND).keys("c")
    assert last(browser)["complete"] is True and last(browser)["action"] == "keep"
    shown(browser, FOUND, DRAWN).keys("e")
    assert last(browser)["boxes"] == [] and last(browser)["rejected"] == [FOUND["corners"]]
    assert last(browser)["action"] == "done" and last(browser)["complete"] is True


def test_keys_wait_for_the_answer(browser):
    person = shown(browser, FOUND)
    person.keys(Keys.ARROW_RIGHT, "x")
    assert last(person)["action"] == "next"
    person.browser.execute_script("give(arguments[0])", value(DOUBTFUL, key="l"))
    message = last(person)
    assert message["key"] == "l" and message["rejected"] == [DOUBTFUL["corners"]]


def test_boxes_are_drawn_whatever_was_selected_before(browser):
    person = shown(browser, DRAWN)
    person.drag((20, 40), (45, 70))
    np.testing.assert_allclose(corners(last(person))[1], [20, 40, 45, 70], atol=0.3)
    person.browser.execute_script("give(arguments[0])", value(key="l", name="b.png"))
    person.drag((45, 70), (20, 40))  # also from the lower right corner
    assert last(person)["key"] == "l"
    np.testing.assert_allclose(corners(last(person)), [[20, 40, 45, 70]], atol=0.3)


def test_edges_move_a_box_and_corners_change_it(browser):
    person = shown(browser, FOUND, FOUND | {"corners": [13, 14, 38, 40], "score": 0.4})
    person.drag((25, 10), (30, 20))
    (box,) = corners(last(person))
    np.testing.assert_allclose(box, [15, 20, 45, 50], atol=0.3)
    person = shown(browser, DRAWN)
    person.drag((60, 20), (60, 20))  # a click selects
    person.drag((70, 30), (80, 60))
    np.testing.assert_allclose(corners(last(person)), [[50, 5, 80, 60]], atol=0.4)
    person.drag((60, 5), (110, -3))  # a box stays in the photograph
    np.testing.assert_allclose(corners(last(person)), [[70, 0, 100, 55]], atol=0.4)


def test_a_drawn_box_takes_the_place_of_detections_of_the_same_object(browser):
    person = shown(browser, FOUND, DOUBTFUL)
    person.drag((9, 9), (42, 42))
    assert len(person.boxes()) == 2 and person.boxes(".found") == [DOUBTFUL["corners"]]


def test_a_new_name_names_the_boxes_without_one(browser):
    person = shown(browser, categories=[])
    person.drag((20, 40), (45, 70))
    assert last(person)["boxes"][0]["category"] == ""
    person.keys("bolt", Keys.ENTER)  # the field has the focus
    assert last(person)["boxes"][0]["category"] == "bolt" and last(person)["action"] == "keep"
    person.keys(Keys.ENTER)
    assert last(person)["action"] == "done"


def test_names_are_text(browser):
    name = "<img src=x onerror=alert(1)>"
    boxes = [FOUND | {"category": name}]
    person = shown(browser, *boxes, categories=[{"name": name, "colour": "red"}], name=name)
    assert not person.find("#studio-canvas img") and name in person.status()


def test_zoom_shows_a_part_and_boxes_are_drawn_where_they_appear(browser):
    person = shown(browser)
    person.keys("+", "+")
    frame = [float(number) for number in person.frame().split()]
    np.testing.assert_allclose(frame, [25.5, 20.4, 49, 39.2])
    person.drag((40, 30), (60, 50))
    np.testing.assert_allclose(corners(last(person)), [[40, 30, 60, 50]], atol=0.3)
    person.keys("0")
    assert person.frame() == "0 0 100 80"


@pytest.mark.parametrize("size", [(30, 400), (400, 30)])
def test_any_photograph_fits_the_window(browser, size):
    person = shown(browser, width=size[0], height=size[1])
    inner = person.browser.execute_script("return [innerWidth, innerHeight]")
    drawn = person.one("svg").size
    assert drawn["height"] <= 0.6 * inner[1] + 1 and drawn["width"] <= inner[0]
