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

from fsdet.apps.studio.boxes import iou
from fsdet.apps.studio.canvas import SIDE

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


@pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="NO BROWSER: chromium and chromedriver are not installed"
)
def test_a_person_draws_names_teaches_and_exports(place, server, tmp_path):
    with Person(server.address, tmp_path) as person:
        assert "Drop photographs" in person.one("#studio-guide").text
        person.upload(files(place))
        person.wait(lambda: len(person.photos()) == COUNT)
        person.one("#studio-canvas canvas")
        boxes = [square("red", n)[1] for n in range(COUNT)]
        person.draw(boxes[0], 96)
        person.open(1)
        person.draw(boxes[1], 96)
        person.name("red square")
        person.press("#studio-teach")
        person.wait(lambda: "from 2 boxes" in person.said())
        kinds = ["drawn", "drawn", "found", "found"]
        person.wait(lambda: [text.split()[-1] for text in person.captions()] == kinds)

        # A yes is a shot, and undone it is none.
        person.press("#studio-yes")
        person.wait(lambda: "from 3 boxes" in person.said())
        person.press("#studio-undo")
        person.wait(lambda: person.captions()[2].endswith("found"))

        person.browser.refresh()
        person.wait(lambda: len(person.photos()) == COUNT)
        assert person.captions()[0] == "1 drawn" and person.captions()[3].endswith("found")

        # Two detections are accepted, so that they are among the labels that are taken away.
        person.press("#studio-yes")
        person.wait(lambda: "from 3 boxes" in person.said())
        person.press("#studio-yes")
        person.wait(lambda: "from 4 boxes" in person.said())
        person.press("#studio-trade .label-wrap")
        out = unzipped(person.download("#studio-pack"), tmp_path / "out")
        coco = COCO(str(out / "annotations/instances_train.json"))
        assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["red square"]
        for image in coco.loadImgs(coco.getImgIds()):
            n = int(image["file_name"][3])
            (annotation,) = coco.loadAnns(coco.getAnnIds(image["id"]))
            x, y, w, h = annotation["bbox"]
            if n < 2:  # drawn by hand: to two pixels of the canvas
                off = np.abs(np.array([x, y, x + w, y + h]) - boxes[n]).max()
                assert off <= 2.5 * 96 / min(SIDE, 500)
            else:  # found
                assert iou((x, y, x + w, y + h), tuple(boxes[n])) >= 0.5
        assert len(coco.getImgIds()) == COUNT
        assert person.outside() == []


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
            shown = client.predict(session, given, api_name="/add")
            assert shown[0] == session
            for turn in range(3):
                x = (5 + number) * 10
                box = {"xmin": x, "ymin": 100, "xmax": x + 300, "ymax": 400 + turn, "label": ""}
                canvas = {"image": given[0], "boxes": [box]}
                client.predict(session, canvas, name, api_name="/keep")
                shown = client.predict(session, canvas, name, api_name="/learn")
                assert f"**{name}** from 1 box" in said(shown)
                for action in ("next", "undo"):
                    text = json.dumps(client.predict(session, api_name=f"/{action}"))
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
        return {"image": None, "boxes": [{"xmin": rng.choice([None, "a", 1e400, -1])}]}
    if kind == 4:
        box = {
            side: rng.choice([0, -1e9, 1e9, "7", None]) for side in ("xmin", "ymin", "xmax", "ymax")
        }
        return {"image": {"path": "/etc/passwd"}, "boxes": [box], "orientation": 9}
    if kind == 5:
        return {"boxes": rng.choice([3, "x", None, [[]], [None]])}
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
        way = rng.choice(["queue/join", "call/learn", "upload", "call/nothing", "reset", "run/x"])
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
        shown = client.predict(session, [handle_file(str(tmp_path / name))], api_name="/add")
        assert shown[0] == session
        if not name.startswith("broken"):
            assert f"'{name}'" in said(shown)
    assert "top secret" not in json.dumps(shown)
    shown = client.predict(session, [handle_file(str(f)) for f in files(place)], api_name="/add")
    galleries = [
        v["value"] for v in shown if isinstance(v, dict) and isinstance(v.get("value"), list)
    ]
    assert len(galleries[0]) >= COUNT
    assert server.process.poll() is None


def _finite(value):
    """What JSON can say of it."""
    return json.loads(json.dumps(value).replace("Infinity", "1e999").replace("1e999", "null"))
