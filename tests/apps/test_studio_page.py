"""The studio's page: in a browser, with several clients at once, with malformed requests."""

import json
import random
import sys
import tempfile
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests
from gradio_client import Client, handle_file
from helpers.browser import CHROMIUM, DRIVER, Person, Server, unzipped
from helpers.detectors import square, trained
from PIL import Image
from pycocotools.coco import COCO
from selenium.webdriver.common.keys import Keys

from fsdet.apps.studio.boxes import iou
from fsdet.apps.studio.view import EVERY

pytestmark = pytest.mark.slow

COUNT = 4


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path, monkeypatch):
    """Gradio's client leaves a folder in the temporary one for every answer."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a detector and photographs of squares."""
    folder = tmp_path_factory.mktemp("studio")
    trained("prototype").save(folder / "detector.safetensors")
    for ink in ("red", "blue"):
        for n in range(COUNT):
            image, _ = square(ink, n)
            Image.fromarray(image).save(folder / f"{ink}{n}.png")
    return folder


@pytest.fixture(scope="module")
def server(place):
    words = ("--detector", str(place / "detector.safetensors"), "--folder", str(place / "sessions"))
    with Server(place / "log.txt", *words, "--megabytes", "1", "--megapixels", "1") as running:
        yield running


def files(place, ink="red"):
    return [place / f"{ink}{n}.png" for n in range(COUNT)]


needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="NO BROWSER: chromium and chromedriver are not installed"
)


def begun(person: Person, place) -> list[list[int]]:
    """Drop the photographs, and box the first two under a name; then the third is open. All true boxes."""
    person.upload(files(place))
    person.wait(lambda: len(person.photos()) == COUNT)
    boxes = [square("red", n)[1] for n in range(COUNT)]
    person.wait(lambda: "(1 of 4)" in person.status())
    person.draw(boxes[0])
    person.name("red square")
    person.keys(Keys.ENTER)
    person.wait(lambda: "(2 of 4)" in person.status())
    person.draw(boxes[1])
    person.keys(Keys.ENTER)
    person.wait(lambda: "(3 of 4)" in person.status())
    return boxes


@needs_browser
def test_a_person_labels_by_keys_and_exports(place, server, tmp_path):
    with Person(server.address, tmp_path) as person:
        assert "Drop photographs" in person.one("#studio-guide").text
        boxes = begun(person, place)
        assert person.captions()[:2] == ["✓ 1 box", "✓ 1 box"]
        assert iou(tuple(person.boxes(".found")[0]), tuple(boxes[2])) >= 0.5

        # Rejected, undone, accepted: with keys only.
        count = len(person.boxes(".found"))
        person.keys("x")
        person.wait(lambda: len(person.boxes(".found")) == count - 1)
        person.keys("u")
        person.wait(lambda: "Undone" in person.said())
        assert len(person.boxes(".found")) == count
        person.keys("a")
        person.wait(lambda: len(person.boxes(":not(.found)")) == 1)
        for _ in range(count - 1):
            person.keys("x")
        person.wait(lambda: not person.boxes(".found"))

        # Away and back: all is stored. The fourth photograph is right at once.
        person.keys(Keys.ARROW_RIGHT)
        person.wait(lambda: "(4 of 4)" in person.status())
        person.keys(Keys.ARROW_LEFT)
        person.wait(lambda: "(3 of 4)" in person.status())
        assert len(person.boxes(":not(.found)")) == 1 and not person.boxes(".found")
        person.keys(Keys.ENTER)
        person.wait(lambda: "(4 of 4)" in person.status())
        for _ in range(len(person.boxes(".found")) - 1):  # the best one is the first
            person.keys(" ", "x")
        person.wait(lambda: len(person.boxes()) == 1)
        person.keys(Keys.ENTER)
        person.wait(lambda: "0 of 4 photographs left" in person.one("#studio-progress").text)
        assert "4 of 4 boxes" in person.one("#studio-progress").text

        person.press("#studio-trade .label-wrap")
        out = unzipped(person.download("#studio-pack"), tmp_path / "out")
        coco = COCO(str(out / "annotations/instances_train.json"))
        assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["red square"]
        assert len(coco.getImgIds()) == COUNT
        for image in coco.loadImgs(coco.getImgIds()):
            n = int(image["file_name"][3])
            (annotation,) = coco.loadAnns(coco.getAnnIds(image["id"]))
            x, y, w, h = annotation["bbox"]
            if n < 2:  # drawn by hand: to two pixels of the screen
                assert np.abs(np.array([x, y, x + w, y + h]) - boxes[n]).max() <= 2 * 96 / 400
            else:  # found
                assert iou((x, y, x + w, y + h), tuple(boxes[n])) >= 0.5
        assert person.outside() == []


@needs_browser
def test_boxes_can_be_drawn_after_a_reload_and_nothing_is_asked_where_all_is_complete(
    place, server, tmp_path
):
    with Person(server.address, tmp_path) as person:
        boxes = begun(person, place)
        found = person.boxes(".found")
        assert found
        person.browser.refresh()
        person.wait(lambda: "(1 of 4)" in person.status())
        assert len(person.boxes()) == 1 and not person.boxes(".found")  # complete
        person.open(3)
        before = person.boxes(":not(.found)")
        x1, y1, x2, y2 = boxes[3]
        person.draw(np.array([2, 2, 2 + x2 - x1, 2 + y2 - y1]) if x1 > 40 else boxes[3])
        assert len(person.boxes(":not(.found)")) == len(before) + 1

        # A found box that is dragged becomes a drawn one; another category is one key.
        person.open(2)
        person.name("other")
        person.keys("1")
        person.wait(lambda: len(person.boxes(":not(.found)")) >= 1)
        (box, *_) = person.boxes(":not(.found)")
        person.drag((box[0] + 10, box[1]), (box[0] + 13, box[1] + 4))
        person.wait(lambda: person.boxes(":not(.found)")[0] != box)
        moved = np.array(person.boxes(":not(.found)")[0])
        np.testing.assert_allclose(moved - box, [3, 4, 3, 4], atol=0.6)

        # The keys of zoom: the same part of the photograph is larger, and 0 shows all of it.
        whole = person.frame()
        person.keys("+", "+")
        assert float(person.frame().split()[2]) < 60
        person.keys("0")
        assert person.frame() == whole


@needs_browser
def test_a_tall_photograph_and_all_buttons_fit_a_window_and_a_phone(server, tmp_path):
    file = tmp_path / "tall.png"
    Image.fromarray(np.full((900, 300, 3), 90, np.uint8)).save(file)
    for width, height in ((1300, 900), (500, 900)):
        with Person(server.address, tmp_path / str(width), (width, height)) as person:
            person.upload([file])
            person.wait(lambda person=person: "(1 of 1)" in person.status())
            inner = person.browser.execute_script("return [innerWidth, innerHeight]")
            svg = person.one("#studio-canvas svg")
            assert 100 < svg.size["height"] <= 0.6 * inner[1] + 1
            overflow = person.browser.execute_script(
                "return document.documentElement.scrollWidth - innerWidth"
            )
            assert overflow <= 0 and svg.size["width"] <= inner[0]
            person.draw(np.array([50, 100, 250, 500]))
            np.testing.assert_allclose(person.boxes()[0], [50, 100, 250, 500], atol=3)


def test_pages_of_other_sites_are_refused_uploads_included(server):
    base = server.address.rstrip("/")
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        for reply in (
            requests.get(f"{base}/config", headers=headers, timeout=30),
            requests.post(
                f"{base}/gradio_api/upload",
                files={"files": ("x.jpg", b"x")},
                headers=headers,
                timeout=30,
            ),
        ):
            assert reply.status_code == 403 and "evil.example" in reply.json()["error"]
    assert requests.get(f"{base}/config", headers={"Origin": base}, timeout=30).status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_another_loopback_address_is_served_and_uploads_are_private(place, tmp_path, monkeypatch):
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    words = ("--detector", str(place / "detector.safetensors"), "--folder", str(tmp_path / "s"))
    with Server(tmp_path / "log.txt", *words, "--host", "127.0.0.2") as running:
        assert running.address.startswith("http://127.0.0.2:")
        upload = requests.post(
            f"{running.address}gradio_api/upload", files={"files": ("x.jpg", b"x")}, timeout=30
        )
        file = Path(upload.json()[0])
        folder = tmp_path / file.relative_to(tmp_path).parts[0]
        assert file.is_file() and folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def session_of(client: Client) -> str:
    return client.predict("", api_name="/begin")[0]


def canvas_of(shown: tuple) -> dict:
    return next(value for value in shown if isinstance(value, dict) and "rejected" in value)


def said(shown: tuple) -> str:
    return next(value for value in shown if isinstance(value, str) and "**" in value)


def test_eight_clients_at_once_see_only_their_own_session(place, server):
    """Each of eight takes fourteen actions over HTTP, in photographs of its own, under a name of its own."""
    errors: list[BaseException] = []
    sessions: list[str] = []

    def person(number: int) -> None:
        try:
            ink, name = ("red", "blue")[number % 2], f"thing{number}"
            client = Client(server.address, verbose=False)
            session = session_of(client)
            sessions.append(session)
            given = [handle_file(str(file)) for file in files(place, ink)]
            shown = client.predict(session, EVERY, given, api_name="/add")
            assert shown[0] == session
            key = canvas_of(shown)["key"]
            for turn in range(3):
                x = number + 1
                box = {"category": name, "corners": [x, 10, x + 30, 40 + turn]}
                labels = {"key": key, "boxes": [box], "rejected": [], "complete": False}
                for action in ("keep", "teach"):
                    value = labels | {"action": action}
                    shown = client.predict(session, EVERY, value, api_name="/act")
                assert f"**{name}** from 1 box" in said(shown)
                for action in ("doubtful", "undo"):
                    value = labels | {"action": action}
                    shown = client.predict(session, EVERY, value, api_name="/act")
                    text = json.dumps(shown)
                    assert session in text
                    others = [f"thing{other}" for other in range(8) if other != number]
                    assert not any(other in text + json.dumps(shown) for other in others)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=person, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    assert len(set(sessions)) == 8


def nonsense(rng: random.Random) -> object:
    """Something that no page sends."""
    kind = rng.randrange(9)
    if kind == 0:
        return rng.choice([None, True, -1, 1e308, "", "\x00", "../../etc/passwd", "x" * 10_000, []])
    if kind == 1:
        return [nonsense(rng) for _ in range(rng.randrange(3))]
    if kind == 2:
        return {
            "path": rng.choice(["/etc/passwd", "../x", "", "/dev/zero"]),
            "meta": {"_type": "gradio.FileData"},
        }
    if kind == 3:
        rows = [
            {"key": rng.choice(["", "a" * 32, None]), "corners": rng.choice([None, [1e400] * 4])}
        ]
        return {"answers": rng.choice([rows, 3, None, [None]])}
    if kind == 4:
        corners = [rng.choice([0, -1e9, 1e9, "7", None]) for _ in range(rng.choice([3, 4, 4]))]
        box = {"category": rng.choice(["x", "", None, "x" * 100, "<b>"]), "corners": corners}
        action = rng.choice(["keep", "done", "undo", "x", None])
        return {"key": "0" * 32, "boxes": [box], "rejected": [], "complete": 1, "action": action}
    if kind == 5:
        return {"boxes": rng.choice([3, "x", None, [[]], [None]]), "action": "keep"}
    if kind == 6:
        return rng.random()
    if kind == 7:
        return {rng.choice("abc"): nonsense(rng)}
    return rng.choice(["0" * 32, "f" * 32, "../" * 5])


def test_page_survives_two_hundred_malformed_requests_and_files(place, server, tmp_path):
    """Each is answered with a message, in time, without a traceback; the page works on afterwards."""
    rng, base = random.Random(0), f"{server.address.rstrip('/')}/gradio_api"
    client = Client(server.address, verbose=False)
    names = [
        d["api_name"] for d in client.config["dependencies"] if d["api_visibility"] == "public"
    ]
    arity = {d["api_name"]: len(d["inputs"]) for d in client.config["dependencies"]}
    session = session_of(client)
    outside = tmp_path / "secret.txt"
    outside.write_text("top secret")

    def answered(reply: requests.Response) -> None:
        assert (
            reply.text.strip() and "Traceback" not in reply.text and "top secret" not in reply.text
        )
        assert "root:" not in reply.text

    for _ in range(120):
        name = rng.choice(names)
        data = [nonsense(rng) for _ in range(max(arity[name] + rng.choice([0, 0, 0, -1, 1]), 0))]
        if data and rng.random() < 0.7:
            data[0] = session
        started = requests.post(f"{base}/call/{name}", json={"data": _finite(data)}, timeout=30)
        answered(started)
        if started.status_code == 200:
            event = started.json()["event_id"]
            answered(requests.get(f"{base}/call/{name}/{event}", timeout=60))
    for _ in range(40):
        body = rng.choice([b"", b"{", b"[]", b"garbage", rng.randbytes(100), b'{"data": 1}'])
        way = rng.choice(["queue/join", "call/act", "upload", "call/nothing", "reset", "run/x"])
        kind = rng.choice(["application/json", "text/plain", "multipart/form-data; boundary=x"])
        answered(requests.post(f"{base}/{way}", body, headers={"content-type": kind}, timeout=30))
    for path in (
        str(outside),
        "/etc/passwd",
        str(place / "sessions" / "secret"),
        "../../etc/passwd",
        "%2e%2e%2fx",
    ):
        reply = requests.get(f"{base}/file={path}", timeout=30)
        answered(reply)
        assert reply.status_code in (403, 404)
    good = (place / "red0.png").read_bytes()
    bad = {
        "empty.png": b"",
        "text.jpg": b"hello",
        "cut.png": good[: len(good) // 2],
        "noise.jpg": rng.randbytes(5000),
        "script.svg": b"<svg onload=alert(1)/>",
        "page.html": b"<script>alert(1)</script>",
        "large.png": bytes(1_100_000),
        "wide.png": cv2.imencode(".png", np.zeros((1010, 1000, 3), np.uint8))[1].tobytes(),
        "bomb.png": good[:16] + (60000).to_bytes(4, "big") * 2 + good[24:],
    }
    for n in range(30):  # as they come: some bytes of a photograph are others
        broken = bytearray(good)
        for _ in range(rng.randrange(1, 20)):
            broken[rng.randrange(8, 60)] = rng.randrange(256)
        bad[f"broken{n}.png"] = bytes(broken)
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        shown = client.predict(session, EVERY, [handle_file(str(tmp_path / name))], api_name="/add")
        assert shown[0] == session
        if not name.startswith("broken"):
            assert f"'{name}'" in said(shown)
    assert "top secret" not in json.dumps(shown)
    shown = client.predict(
        session, EVERY, [handle_file(str(f)) for f in files(place)], api_name="/add"
    )
    galleries = [
        v["value"] for v in shown if isinstance(v, dict) and isinstance(v.get("value"), list)
    ]
    assert len(galleries[0]) >= COUNT
    assert server.process.poll() is None


def _finite(value):
    """What JSON can say of it."""
    return json.loads(json.dumps(value).replace("Infinity", "1e999").replace("1e999", "null"))
