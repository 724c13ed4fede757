"""The service over HTTP: answers, limits, concurrency, malformed requests."""

import asyncio
import base64
import http.client
import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from helpers import published
from helpers.commands import run
from helpers.detectors import INKS, empty, knowing, square
from helpers.paths import ROOT
from helpers.service import LIMITS, encoded, error_of, green
from PIL import Image

import fsdet
from fsdet.apps.serve.app import application
from fsdet.apps.serve.limits import Refusal
from fsdet.apps.serve.pool import Pool
from fsdet.apps.serve.service import Service
from fsdet.errors import InputError


def client_of(service, **options):
    return TestClient(application(service, **options), base_url="http://127.0.0.1")


def shots(images, boxes, **others):
    """The arguments of a registration's request."""
    data = {"boxes": boxes if isinstance(boxes, str) else json.dumps(boxes)} | others
    return {"files": [("images", ("a.png", one)) for one in images], "data": data}


@pytest.fixture(scope="module")
def detector():
    return knowing()


@pytest.fixture()
def service(detector):
    return Service(detector, LIMITS, threads=2)


@pytest.fixture()
def client(service):
    return client_of(service)


def test_detect_returns_the_predictions_of_the_detector(client, detector):
    image = square("red", 99, side=120)[0]
    expected = detector.predict(image, 0.05)
    assert len(expected) > 1
    form = client.post("/detect?threshold=0.05", files={"file": encoded(image)})
    raw = client.post("/detect", params={"threshold": 0.05}, content=encoded(image))
    assert form.status_code == raw.status_code == 200 and form.json() == raw.json()
    content = form.json()
    assert (content["width"], content["height"]) == (120, 120)
    assert content["version"] == client.get("/health").json()["version"]
    assert [one["name"] for one in content["detections"]] == [one.name for one in expected]
    for found, one in zip(content["detections"], expected, strict=True):
        assert found["score"] == pytest.approx(one.score, abs=1e-5)
        assert found["box"] == pytest.approx(one.box, abs=1e-3)
    assert client.post("/detect?threshold=1", content=encoded(image)).json()["detections"] == []


def test_sizes_are_those_of_the_upright_image(client):
    turned = Image.Exif()
    turned[0x0112] = 6
    image = np.ascontiguousarray(square("red", 1)[0][:60])
    content = client.post("/detect", content=encoded(image, "JPEG", exif=turned)).json()
    assert (content["width"], content["height"]) == (60, 96)


def test_registering_over_http_equals_registering_in_python(client, detector):
    pairs = [green(seed) for seed in range(3)]
    before = client.get("/categories").json()
    answer = client.post(
        "/categories/light green", **shots([encoded(i) for i, _ in pairs], [[b] for _, b in pairs])
    )
    assert answer.status_code == 201
    assert answer.json()["categories"] == [
        {"name": "red", "registered": False},
        {"name": "blue", "registered": False},
        {"name": "light green", "registered": True},
    ]
    assert answer.json()["version"] != before["version"] and detector.names == ("red", "blue")
    here = knowing()
    here.register("light green", [image for image, _ in pairs], [box for _, box in pairs])
    image = green(50)[0]
    there = client.post("/detect?threshold=0.1", content=encoded(image)).json()["detections"]
    mine = here.predict(image, 0.1)
    assert there[0]["name"] == "light green" and len(there) == len(mine)
    for found, one in zip(there, mine, strict=True):
        assert found["name"] == one.name and found["score"] == pytest.approx(one.score, abs=1e-3)
    assert client.delete("/categories/light%20green").json() == before
    assert "no category 'light green'" in error_of(client.delete("/categories/light green"))
    assert client.delete("/categories/light green").status_code == 404


def test_categories_of_the_base_detector_cannot_be_deleted(client):
    before = client.get("/categories").json()
    image, box = square("red", 20)
    assert client.delete("/categories/red").status_code == 409
    after = client.post("/categories/red", **shots([encoded(image)], [[box]])).json()
    assert after["version"] != before["version"]
    assert after["categories"][0] == {"name": "red", "registered": True}
    assert client.delete("/categories/red").json() == before
    assert "came with 'red'" in error_of(client.delete("/categories/red"))


def test_a_published_detector_is_served_and_keeps_what_it_knows():
    model = published.small_detector(4, short=96)
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias[0] += 2
    client = client_of(Service(fsdet.import_detector(model, names=["cat", "dog", "cup"]), LIMITS))
    image, box = square("red", 20)
    answer = client.post("/categories/cat", **shots([encoded(image)], [[box]]))
    assert answer.status_code == 422
    assert "knows a category 'cat' already; give another name" in error_of(answer)
    assert client.post("/categories/red", **shots([encoded(image)], [[box]])).status_code == 201
    names = [category["name"] for category in client.get("/categories").json()["categories"]]
    assert names == ["cat", "dog", "cup", "red"]
    assert client.delete("/categories/cat").status_code == 409


def test_boxes_of_others_are_not_background(service):
    client = client_of(service)
    image, box = green(1)
    for others in (None, [[[0, 0, 96, 96]]], [[0, 0, 96, 96]]):
        more = {} if others is None else {"others": json.dumps(others)}
        answer = client.post("/categories/green", **shots([encoded(image)], [box], **more))
        assert answer.status_code == 201
    plain, *two = (len(one.memory[""]) for one in service.snapshot.lessons)
    assert two[0] == two[1] < plain


def test_a_category_survives_a_restart(detector, tmp_path):
    file, image = tmp_path / "learned.safetensors", encoded(green(50)[0])
    client = client_of(Service(detector, LIMITS, file))
    for seed in range(2):
        picture, box = green(seed)
        client.post("/categories/green", **shots([encoded(picture)], [[box]]))
    picture, box = square("blue", 77)
    version = client.post("/categories/blue", **shots([encoded(picture)], [[box]])).json()[
        "version"
    ]
    expected = client.post("/detect?threshold=0.1", content=image).json()
    assert expected["version"] == version and expected["detections"][0]["name"] == "green"
    again = client_of(Service(knowing(), LIMITS, file))
    assert again.post("/detect?threshold=0.1", content=image).json() == expected
    assert fsdet.load(file).names == ("red", "blue", "green")
    downloaded = again.get("/detector")
    assert downloaded.headers["etag"] == f'"{version}"'
    (tmp_path / "copy.safetensors").write_bytes(downloaded.content)
    found = fsdet.load(tmp_path / "copy.safetensors").predict(green(50)[0], 0.1)
    assert [one.name for one in found] == [one["name"] for one in expected["detections"]]
    assert again.delete("/categories/green").status_code == 200
    assert again.delete("/categories/blue").status_code == 200
    last = Service(knowing(), LIMITS, file).snapshot
    assert last.version == Service(detector, LIMITS).snapshot.version and last.lessons == ()
    assert sorted(tmp_path.iterdir()) == [tmp_path / "copy.safetensors", file]
    with pytest.raises(InputError, match="learned over another detector"):
        Service(knowing(shots=2), LIMITS, file)
    with pytest.raises(InputError, match="no service wrote it"):
        Service(detector, LIMITS, detector.save(tmp_path / "plain.safetensors"))


def test_a_failed_write_changes_nothing(detector, tmp_path):
    service = Service(detector, LIMITS, tmp_path / "folder" / "file.safetensors")
    (tmp_path / "folder").write_text("in the way")
    client, (image, box) = client_of(service), green(0)
    answer = client.post("/categories/green", **shots([encoded(image)], [[box]]))
    assert answer.status_code == 507 and "cannot be written" in answer.json()["error"]
    assert service.snapshot.lessons == () and service.snapshot.detector.names == ("red", "blue")


def test_detecting_without_categories_is_refused():
    client, image = client_of(Service(empty(), LIMITS)), encoded(green(0)[0])
    answer = client.post("/detect", content=image)
    assert answer.status_code == 409 and "no category yet" in error_of(answer)
    assert client.post("/categories/green", **shots([image], [green(0)[1]])).status_code == 201
    assert client.post("/detect", content=image).status_code == 200


def test_the_number_of_stored_regions_is_bounded(detector):
    client = client_of(Service(detector, replace(LIMITS, regions=60)))
    image, box = green(0)
    statuses = [
        client.post("/categories/green", **shots([encoded(image)], [[box]])).status_code
        for _ in range(5)
    ]
    assert statuses[0] == 201 and statuses[-1] == 409
    assert client.delete("/categories/green").status_code == 200
    assert client.post("/categories/green", **shots([encoded(image)], [[box]])).status_code == 201


@pytest.mark.slow
def test_eight_clients_at_once_each_get_their_own_answer(service):
    client = client_of(service)
    images = {n: square(list(INKS)[n % 2], n, side=96 + 4 * n) for n in range(8)}
    bodies = {n: encoded(image) for n, (image, _) in images.items()}
    url = "/detect?threshold=0.05"
    old = {n: client.post(url, content=body).json() for n, body in bodies.items()}
    picture, box = green(3)
    request = shots([encoded(picture)], [[box]])
    new_version = client.post("/categories/green", **request).json()["version"]
    new = {n: client.post(url, content=body).json() for n, body in bodies.items()}
    client.delete("/categories/green")
    known = {old[0]["version"]: old, new_version: new}
    assert len(known) == 2 and len({json.dumps(one["detections"]) for one in old.values()}) == 8
    assert all(old[n]["detections"] != new[n]["detections"] for n in bodies)
    stop, seen = threading.Event(), set()

    def teach():
        while not stop.is_set():
            client.post("/categories/green", **request)
            client.delete("/categories/green")

    def ask(n):
        for _ in range(12):
            answer = client.post(url, content=bodies[n]).json()
            seen.add(answer["version"])
            assert answer == known[answer["version"]][n]
            assert answer["width"] == 96 + 4 * n

    teacher = threading.Thread(target=teach)
    teacher.start()
    try:
        with ThreadPoolExecutor(8) as clients:
            list(clients.map(ask, range(8)))
    finally:
        stop.set()
        teacher.join()
    assert seen == set(known)


def test_pool_has_a_bounded_queue_and_a_time_limit():
    pool, held = Pool(1, 1, 0.1), threading.Event()
    first, second = pool.submit(held.wait), pool.submit(lambda: "second")
    with pytest.raises(Refusal, match="too much is waiting") as no:
        pool.submit(lambda: "third")
    assert no.value.status == 503 and not second.done()
    held.set()
    assert first.result() and second.result(5) == "second"
    with pytest.raises(Refusal, match=r"no answer within 0.1 s"):
        asyncio.run(pool.answer(time.sleep, 0.5))
    time.sleep(0.6)
    assert pool.submit(lambda: "free").result(5) == "free"


def asgi(app, receive, headers=(), path="/detect"):
    """Status and JSON of a request whose body comes as the test wants it."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"host", b"localhost:8000"), *headers], "server": ("localhost", 8000),
        "client": ("127.0.0.1", 1),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(m.get("body", b"") for m in sent[1:]))


@pytest.mark.parametrize("length", [None, b"10", b"1000000"])
def test_a_long_body_is_refused_before_all_of_it_is_read(service, length):
    chunks = 0

    async def receive():
        nonlocal chunks
        chunks += 1
        return {"type": "http.request", "body": bytes(2**16), "more_body": chunks < 10**4}

    headers = [] if length is None else [(b"content-length", length)]
    for kind in (b"image/jpeg", b"multipart/form-data; boundary=x"):
        chunks = 0
        status, content = asgi(application(service), receive, [*headers, (b"content-type", kind)])
        if kind == b"image/jpeg" or status == 413:
            assert status == 413 and "at most 1048576 bytes" in content["error"]
        else:
            assert status == 400  # it is no form, and that shows earlier
        assert chunks <= 17
    chunks = 0
    status, content = asgi(application(service), receive, [(b"content-length", b"99999999")])
    assert status == 413 and chunks == 0


def test_a_body_that_does_not_arrive_times_out(detector):
    app = application(Service(detector, replace(LIMITS, seconds=0.2)))

    async def never():
        await asyncio.sleep(30)

    started = time.monotonic()
    status, content = asgi(app, never, [(b"content-length", b"10")])
    assert status == 408 and "within 0.2 s" in content["error"] and time.monotonic() - started < 5

    async def gone():
        return {"type": "http.disconnect"}

    assert asgi(app, gone)[0] == 400


def test_the_number_of_requests_at_once_is_bounded(detector):
    app = application(Service(detector, replace(LIMITS, requests=1)))
    inner = []

    async def receive():
        if not inner:
            inner.append(None)
            client = ThreadPoolExecutor(1)
            loop = asyncio.get_running_loop()
            nested = TestClient(app, base_url="http://127.0.0.1")
            inner[0] = await loop.run_in_executor(client, nested.get, "/categories")
            inner.append(await loop.run_in_executor(client, nested.get, "/health"))
        return {"type": "http.request", "body": b"", "more_body": False}

    assert asgi(app, receive)[0] == 400
    assert inner[0].status_code == 503 and "at once" in inner[0].json()["error"]
    assert inner[0].headers["retry-after"] == "1" and inner[1].status_code == 200
    assert TestClient(app, base_url="http://127.0.0.1").get("/health").status_code == 200


def test_every_address_needs_the_password(service):
    client = client_of(service, password="sésame")
    basic = base64.b64encode("me:sésame".encode()).decode()
    right = ["Bearer sésame".encode(), f"Basic {basic}"]
    wrong = [None, "", "Bearer", "Bearer sesame", "Basic !!", "Basic c2VzYW1l", "Digest sésame",
             f"Bearer {basic}", "Bearer \xff\xfe"]  # fmt: skip
    for url in ("/health", "/docs", "/openapi.json", "/categories", "/label-studio/health", "/x"):
        for word in wrong:
            headers = {} if word is None else {"Authorization": word.encode("latin-1", "replace")}
            answer = client.get(url, headers=headers)
            assert answer.status_code == 401 and "password" in error_of(answer)
            assert answer.headers["www-authenticate"].startswith("Basic")
        for word in right:
            assert client.get(url, headers={"Authorization": word}).status_code in (200, 404)


def test_requests_from_pages_of_other_sites_are_refused(service):
    client = client_of(service)
    answers = [
        client.get("/health", headers=headers)
        for headers in (
            {"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example:8000"}, {"Host": ""},
            {"Origin": "http://evil.example"}, {"Origin": "null"},
            {"Host": "localhost:8000", "Origin": "http://localhost:9000"},
        )
    ]  # fmt: skip
    assert [error_of(one) and one.status_code for one in answers] == [403] * 6
    for headers in ({"Host": "[::1]:8000"}, {"Host": "localhost", "Origin": "http://localhost"}):
        assert client.get("/health", headers=headers).status_code == 200


IMAGE, BOX = square("red", 5)
PNG = encoded(IMAGE)
FORM = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'


def png_header(width, height):
    """A PNG that claims a size and has no pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = b"IDAT" + zlib.compress(b"")
    parts = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c))
             for c in (chunk, end, b"IEND")]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


BODIES = [
    (b"", 400, "0 bytes"),
    (b"plain words in a file called picture.jpg", 415, "expected one of JPEG, PNG"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "not an image"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not an image"),
    (b"GIF89a", 415, "not an image"),
    (PNG[:60], 422, "cannot be decoded"),
    (png_header(2000, 2000), 413, "above 1 million pixels"),
    (png_header(60_000, 60_000), 413, "above 1 million pixels"),
    (png_header(2**31 - 1, 2**31 - 1), 413, "above 1 million pixels"),
    (png_header(100, 100), 422, "cannot be decoded"),
    (encoded(np.zeros((1, 900, 3), np.uint8)), 422, "900 x 1 pixels"),
    (bytes(2**20 + 1), 413, "at most 1048576 bytes"),
]


@pytest.mark.parametrize(("body", "status", "message"), BODIES)
def test_bodies_that_are_not_images_are_refused(client, body, status, message):
    for request in ({"content": body}, {"files": {"file": ("picture.jpg", body, "image/jpeg")}}):
        answer = client.post("/detect", **request)
        assert answer.status_code == status and message in error_of(answer)
    boxes = shots([body], [[BOX]])
    answer = client.post("/categories/red", **boxes)
    assert answer.status_code == status and message in error_of(answer)


REQUESTS = [
    ("GET", "/nowhere", {}, 404, "Not Found: GET /nowhere"),
    ("GET", "/../../etc/passwd", {}, 404, "Not Found"),
    ("PUT", "/detect", {}, 405, "Method Not Allowed: PUT /detect"),
    ("POST", "/detect?threshold=2", {"content": PNG}, 422, "less than or equal to 1; got 2"),
    ("POST", "/detect?threshold=nan", {"content": PNG}, 422, "threshold"),
    ("POST", "/detect?threshold=high", {"content": PNG}, 422, "valid number"),
    ("POST", "/detect?threshold=-1e999", {"content": PNG}, 422, "threshold"),
    ("POST", "/detect", {"json": {"image": "x"}}, 415, "got application/json"),
    ("POST", "/detect", {"files": {"picture": PNG}}, 422, "'file', got: picture"),
    ("POST", "/detect", {"files": [("file", PNG), ("file", PNG)]}, 400, "Too many files"),
    ("POST", "/detect", {"data": {"file": "x"}, "files": {"a": b""}}, 422, "'file'"),
    ("POST", "/detect", {"content": PNG, "headers": {"Content-Length": "many"}}, 400, "whole"),
    ("POST", "/detect", {"content": PNG, "headers": {"Content-Length": "-5"}}, 400, "whole"),
    ("POST", "/detect", {"content": PNG, "headers": {"Content-Length": "9" * 30}}, 400, "whole"),
    ("POST", "/detect", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
     400, "boundary"),
    ("POST", "/detect", {"content": PART, "headers": {"Content-Type": FORM}}, 422, "'file', got: none"),
    ("POST", "/categories/red", {"content": PNG}, 415, "expected a multipart form"),
    ("POST", "/categories/red", {"json": {"boxes": []}}, 415, "got application/json"),
    ("POST", "/categories/red", {"files": {"images": PNG}}, 422, "field 'boxes'"),
    ("POST", "/categories/red", {"files": {"boxes": PNG, "images": PNG}}, 422, "field 'boxes'"),
    ("POST", "/categories/red", {"files": {"x": PNG}, "data": {"boxes": "[[1,2,3,4]]"}}, 422,
     "'images'"),
    ("POST", "/categories/red", shots([PNG] * 4, [[BOX]] * 4), 400, "Too many files"),
    ("POST", "/categories/red", shots([PNG, b"x"], [[BOX]] * 2), 415, "image 1: "),
    ("POST", "/categories/red", shots([PNG], [[BOX] * 6]), 413, "at most 5 boxes"),
    ("POST", "/categories/red", shots([PNG], [[BOX]], others="[]"), 422, "others"),
    ("POST", "/categories/red", shots([PNG], [[BOX]], others="[[[0,0,999,999]]]"), 422, "image 0"),
    ("POST", "/categories/red", shots([PNG], "[" * 10**5), 422, "boxes"),
    ("POST", "/categories/red", shots([PNG], " " * 2**19), 422, "boxes"),
    ("POST", "/label-studio/predict", {"content": b"{"}, 400, "JSON"),
    ("POST", "/label-studio/predict", {"content": b"[" * 10**5}, 400, "JSON"),
    ("POST", "/label-studio/predict", {"json": []}, 422, "object"),
    ("POST", "/label-studio/predict", {"json": {"tasks": 7, "label_config": ""}}, 422, "tasks"),
    ("POST", "/label-studio/setup", {"json": {"schema": "<!DOCTYPE a><a/>"}}, 422, "document type"),
    ("POST", "/label-studio/setup", {"json": {"schema": "<View/>"}}, 422, "found none"),
    ("POST", "/label-studio/webhook", {"json": {"action": "START_TRAINING"}}, 422, "project"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "url", "request_", "status", "message"), REQUESTS)
def test_wrong_requests_get_the_status_and_the_expected_value(
    client, method, url, request_, status, message
):
    answer = client.request(method, url, **request_)
    assert answer.status_code == status and message in error_of(answer)


WRONG_BOXES = [
    "", "null", "{}", "7", '"1,2,3,4"', "[]", "[[]]", "[[[]]]", "[[[1,2,3]]]", "[[1,2,3,4,5]]",
    "[[[1,2,3,4,5]]]", "[[[[1,2,3,4]]]]", "[[[NaN,2,3,4]]]", "[[[1,2,Infinity,4]]]",
    "[[[-Infinity,2,3,4]]]", "[[[1,2,1e999,4]]]", "[[[1,2,1e30,4]]]", "[[[1,2,-1e30,4]]]",
    f"[[[1,2,{'9' * 400},4]]]", f"[[[1,2,{'9' * 5000},4]]]", "[[[-50,-50,20,20]]]",
    "[[[20,20,10,10]]]", "[[[5,5,5,40]]]", "[[[0,0,0,0]]]", "[[[0.1,0.1,0.5,0.5]]]",
    "[[[50,50,500,500]]]", '[[["a","b","c","d"]]]', "[[[true,false,null,4]]]", "[[[1,2,3,null]]]",
    '[[{"x":1,"y":2}]]', "[[[1,2,3,4]],[[1,2,3,4]]]", "[[[1,2,3,4]", "[[[1,2,3,4]]]]", "[1,2,3,4]",
    "\x00", "[[[1,2,3,4]]]\x00", "[[[[[[[[[[1,2,3,4]]]]]]]]]]", "'[[[1,2,3,4]]]'", "[[[1,2,,4]]]",
]  # fmt: skip
WRONG_NAMES = [
    "%20", "%20red", "red%20", "a%2Fb", "..%2F..%2Fetc%2Fpasswd", "%2Fetc", ".", "..", "%2E%2E",
    ".hidden", "a%00b", "a%0Ab", "a%0D%0Ab", "a%1Bb", "%7F", "a%5Cb", "C:%5Cx", "x" * 81,
    "%C3%A9" * 81, "x" * 5000, "a%E2%80%AEb", "%E2%80%8B", "%F0%9F%98%80" * 100, "",
]  # fmt: skip


@pytest.mark.parametrize("boxes", WRONG_BOXES)
def test_wrong_boxes_are_refused(client, boxes):
    answer = client.post("/categories/other", **shots([PNG], boxes))
    assert answer.status_code == 422
    assert any(word in error_of(answer) for word in ("boxes", "box ", "at least one box"))


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_wrong_names_are_refused(client, name):
    for method, request in (("POST", shots([PNG], [[BOX]])), ("DELETE", {})):
        answer = client.request(method, f"/categories/{name}", **request)
        assert answer.status_code in (
            (404, 405, 422) if name in (".", "..", "%2E%2E", "") or "%0A" in name else (422,)
        )
        error_of(answer)


def garbage(seed):
    """A request that is broken in some way, and whether it may by chance be a right one."""
    random_ = random.Random(seed)
    kinds = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
    image = bytearray(encoded(IMAGE, kinds[seed % 6]))
    way = seed // 6 % 5
    if way == 0:
        body = random_.randbytes(random_.randrange(1, 4000))
    elif way == 1:
        body = bytes(image[: random_.randrange(1, len(image) * 3 // 4)])
    elif way == 2:
        for _ in range(random_.randrange(1, 40)):
            image[random_.randrange(len(image))] = random_.randrange(256)
        body = bytes(image)
    elif way == 3:
        head = random_.randrange(4, 40)
        body = bytes(image[:head]) + random_.randbytes(500)
    else:
        form = bytearray(PART + PNG + b"\r\n--x--\r\n")
        for _ in range(5):
            form[random_.randrange(len(PART))] = random_.randrange(256)
        return "/detect", {"content": bytes(form), "headers": {"Content-Type": FORM}}, True
    if seed % 2:
        return "/detect", {"content": body}, way == 2
    return "/categories/other", shots([PNG, body], [[BOX], [BOX]]), way == 2


@pytest.mark.slow
def test_service_survives_garbage(client):
    expected = client.post("/detect?threshold=0.05", content=PNG).json()
    refused = 0
    for seed in range(300):
        url, request, perhaps = garbage(seed)
        answer = client.post(url, **request)
        if not (perhaps and answer.status_code in (200, 201)):
            error_of(answer)
            refused += 1
    assert refused > 200
    client.delete("/categories/other")
    assert client.post("/detect?threshold=0.05", content=PNG).json() == expected


def test_an_image_at_the_limit_is_accepted(client):
    image = np.zeros((1000, 1000, 3), np.uint8)
    assert client.post("/detect", content=encoded(image)).status_code == 200
    more = np.zeros((1000, 1001, 3), np.uint8)
    assert client.post("/detect", content=encoded(more)).status_code == 413


def start(*words):
    """The real service in a process of its own."""
    return subprocess.Popen(
        [sys.executable, ROOT / "tools" / "serve.py", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "FSDET_PASSWORD": ""},
        # Who runs the tests in the background has it ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


@pytest.mark.slow
def test_command_serves_until_interrupted(detector, tmp_path):
    detector.save(tmp_path / "run")
    process = start(tmp_path / "run", "--port", 0, "--password", "word", "--megapixels", 0.5)
    try:
        line = process.stdout.readline()
        url = line.split("/docs: ")[0]
        assert "2 categories: red, blue" in line, process.stderr.read()
        headers = {"Authorization": "Bearer word"}
        request = urllib.request.Request(f"{url}/detect?threshold=0.05", PNG, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = json.load(answer)
        found = detector.predict(IMAGE, 0.05)
        assert [one["name"] for one in content["detections"]] == [one.name for one in found]
        for data, status in ((png_header(1000, 1000), 413), (b"x", 415)):
            request = urllib.request.Request(f"{url}/detect", data, headers)
            with pytest.raises(urllib.error.HTTPError) as no:
                urllib.request.urlopen(request, timeout=60)
            assert no.value.code == status and list(json.load(no.value)) == ["error"]
        long = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        long.request("POST", "/detect", headers=headers | {"Content-Length": str(10**9)})
        with long.getresponse() as answer:  # nothing was sent of it
            assert answer.status == 413 and list(json.load(answer)) == ["error"]
        long.close()
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}/health", headers=headers), timeout=60
        ) as answer:
            assert json.load(answer)["status"] == "ok"
        status, out, err = run("serve", tmp_path / "run", "--port", url.rsplit(":", 1)[1])
        assert (status, out) == (2, "") and "cannot listen at 127.0.0.1" in err
    finally:
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and err == "stopped\n", err


def test_downloads_have_places_of_their_own(detector):
    """Answers that nobody reads take no place from other requests."""

    async def scenario():
        limits = replace(LIMITS, requests=2, downloads=3)
        app = application(Service(detector, limits, threads=1))
        reading = asyncio.Event()

        async def ask(path, statuses, is_read=True):
            messages = [{"type": "http.request", "body": b"", "more_body": False}]

            async def receive():
                return messages.pop() if messages else await asyncio.Future()

            async def send(message):
                statuses.append(message.get("status"))
                if message["type"] == "http.response.body" and not is_read:
                    await reading.wait()

            scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode()}
            scope |= {
                "query_string": b"",
                "headers": [(b"host", b"127.0.0.1")],
                "http_version": "1.1",
            }
            scope |= {"scheme": "http", "server": ("127.0.0.1", 80), "root_path": ""}
            await app(scope, receive, send)

        held = []
        for _ in range(3):
            statuses = []
            held.append(asyncio.create_task(ask("/detector", statuses, is_read=False)))
            while len(statuses) < 2:
                await asyncio.sleep(0.01)
            assert statuses[0] == 200
        health, fourth = [], []
        await ask("/health", health)
        await ask("/detector", fourth)
        assert (health[0], fourth[0]) == (200, 503)
        reading.set()
        await asyncio.gather(*held)
        again = []
        await ask("/detector", again)
        assert again[0] == 200

    asyncio.run(scenario())
