"""Label Studio's machine learning backend, tested against a stand-in for Label Studio."""

import http.server
import json
import logging
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from fastapi.testclient import TestClient
from helpers.detectors import knowing, square
from helpers.http_server import serving
from helpers.label_studio import CONFIG, export, rectangle, task
from helpers.service import LIMITS, encoded, error_of, green

import fsdet
from fsdet.apps.serve.app import application
from fsdet.apps.serve.service import Service
from fsdet.apps.serve.source import Source


class Host(http.server.BaseHTTPRequestHandler):
    """What the service asks of Label Studio: files for who has the token, and exports."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        known = self.headers.get("Authorization") in ("Token secret", "Bearer fresh")
        content = self.files.get(self.path)
        self.send_response(
            401 if not known else 302 if "moved" in self.path else 404 if content is None else 200
        )
        self.send_header("Location", "/data/upload/1/0.png")
        self.end_headers()
        if known and content is not None:
            self.wfile.write(content)

    def do_POST(self):
        self.asked.append(self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        whole = self.path == "/api/token/refresh" and body == {"refresh": "a.b.c"}
        self.send_response(200 if whole else 401)
        self.end_headers()
        self.wfile.write(b'{"access": "fresh"}' if whole else b"{}")

    def log_message(self, *_):
        pass


@pytest.fixture()
def host():
    Host.files, Host.asked = {}, []
    with serving(Host) as address:
        yield address


@pytest.fixture()
def service():
    return Service(knowing(), LIMITS)


def studio(service, host, token="secret", **options):
    source = Source(service.limits, host, token, **options)
    return TestClient(application(service, source=source), base_url="http://127.0.0.1")


def percent(box, side=96):
    x1, y1, x2, y2 = box
    return [100 * v / side for v in (x1, y1, x2 - x1, y2 - y1)]


def event(action, number, *results, image="/data/upload/1/0.png", **more):
    """A webhook's body as Label Studio sends it."""
    whole = task(number, *results, image=image, **more)
    (made,) = whole.pop("annotations")
    project = {"id": 1, "title": "x", "label_config": CONFIG}
    return {"action": action, "annotation": made, "task": whole, "project": project}


def ask(client, *images):
    tasks = [{"id": n, "data": {"picture": image}} for n, image in enumerate(images)]
    body = {"tasks": tasks, "label_config": CONFIG, "project": "1.1700000", "params": {}}
    return client.post("/label-studio/predict", content=json.dumps(body))


def settled(service):
    """The names of the snapshot after all that waits to be learned."""
    service.learning.submit(lambda: None).result(30)
    return service.snapshot.detector.names


def test_predictions_are_rectangles_in_percent(service, host):
    image, _ = square("red", 9)
    Host.files["/data/upload/1/0.png"] = encoded(image)
    client = studio(service, host)
    assert client.get("/label-studio/health").json() == {"status": "UP", "model_class": "fsdet"}
    body = {"project": "1.17", "schema": CONFIG, "hostname": "http://evil", "access_token": "x"}
    version = client.post("/label-studio/setup", json=body).json()["model_version"]
    answer = ask(client, "/data/upload/1/0.png", host + "/data/upload/1/0.png")
    assert answer.status_code == 200
    first, second = answer.json()["results"]
    assert first == second and first["model_version"] == version
    expected = service.base.predict(image, 0.05)
    assert len(first["result"]) == len(expected) > 0
    for region, one in zip(first["result"], expected, strict=True):
        value = region["value"]
        assert value["rectanglelabels"] == [{"red": "Warm", "blue": "blue"}[one.name]]
        assert percent(one.box) == pytest.approx(
            [value[key] for key in ("x", "y", "width", "height")], abs=1e-3
        )
        assert region["score"] == pytest.approx(one.score, abs=1e-5)
        assert (region["type"], region["from_name"], region["to_name"]) == (
            "rectanglelabels", "label", "image",
        )  # fmt: skip
    assert first["score"] == pytest.approx(np.mean([one.score for one in expected]), abs=1e-5)
    assert set(Host.asked) == {"/data/upload/1/0.png"}


def test_lessons_follow_created_updated_and_deleted_annotations(service, host):
    client, before = studio(service, host), service.snapshot.version
    for n in range(3):
        image, box = green(n)
        Host.files[f"/data/upload/1/{n}.png"] = encoded(image)
        region = rectangle("green", *percent(box), size=(96, 96))
        body = event("ANNOTATION_CREATED", n, region, image=f"/data/upload/1/{n}.png")
        answer = client.post("/label-studio/webhook", json=body)
        assert answer.status_code == 201 and answer.json() == {"status": "ok"}
        assert settled(service) == ("red", "blue", "green")
    Host.files["/data/upload/1/9.png"] = encoded(green(50)[0])
    (found,) = ask(client, "/data/upload/1/9.png").json()["results"]
    assert found["result"][0]["value"]["rectanglelabels"] == ["green"]
    assert [one.source for one in service.snapshot.lessons] == [(1, n, 100 + n) for n in range(3)]
    full = service.snapshot.version
    client.post("/label-studio/webhook", json=body | {"action": "ANNOTATION_UPDATED"})
    assert (
        settled(service) and service.snapshot.version == full and len(service.snapshot.lessons) == 3
    )
    skipped = event("ANNOTATION_UPDATED", 0, region, was_cancelled=True)
    client.post("/label-studio/webhook", json=skipped)
    assert settled(service) and len(service.snapshot.lessons) == 2
    for number in (101, 102):
        gone = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": number}]}
        other = gone | {"project": {"id": 2}}
        assert client.post("/label-studio/webhook", json=other).status_code == 201
        client.post("/label-studio/webhook", json=gone | {"project": {"id": 1}})
    assert settled(service) == ("red", "blue") and service.snapshot.version == before
    answer = client.post("/label-studio/webhook", json={"action": "PROJECT_UPDATED"})
    assert answer.status_code == 200 and answer.json() == {"status": "Unknown event"}


def test_training_replaces_all_lessons_by_those_of_the_export(service, host, caplog, tmp_path):
    client, tasks = studio(service, host, token="a.b.c"), []
    for n in range(3):
        image, box = green(n)
        Host.files[f"/data/upload/1/{n}.png"] = encoded(image)
        region = rectangle("green", *percent(box), size=(96, 96))
        tasks.append(task(n, region, image=f"/data/upload/1/{n}.png"))
    tasks.append(task(3, region, image="/data/upload/1/gone.png"))
    Host.files["/api/projects/1/export?exportType=JSON"] = export(*tasks)
    body = {"action": "START_TRAINING", "project": {"id": 1, "label_config": CONFIG}}
    for _ in range(2):
        with caplog.at_level(logging.WARNING):
            assert client.post("/label-studio/webhook", json=body).status_code == 201
            assert settled(service) == ("red", "blue", "green")
        assert len(service.snapshot.lessons) == 3
    assert "project 1, task 3: " in caplog.text and "answers 404" in caplog.text
    assert "/api/token/refresh" in Host.asked
    service.replace_lessons(
        [replace(one, source=(2, *one.source[1:])) for one in service.snapshot.lessons]
    )
    Host.files["/api/projects/1/export?exportType=JSON"] = export()
    client.post("/label-studio/webhook", json=body)
    assert settled(service) and len(service.snapshot.lessons) == 3  # those of project 2


ELSEWHERE = [
    "http://169.254.169.254/data/latest", "http://evil.example/data/upload/1/0.png",
    "//evil.example/data/upload/1/0.png", "https://127.0.0.1/data/upload/1/0.png",
    "file:///data/upload/1/0.png", "ftp://127.0.0.1/data/a.png", "s3://bucket/a.png",
    "/api/projects/1/export?exportType=JSON", "/data/../api/projects", "/data/%2e%2e/api/projects",
    "/logout", "data/upload/1/0.png", "data:image/png;base64,AAAA", "http://[", "", "\ud800",
    "http://user@127.0.0.1/data/upload/1/0.png", "a\r\nb",
]  # fmt: skip


def test_no_other_address_is_requested(service, host, caplog):
    Host.files["/data/upload/1/0.png"] = encoded(green(0)[0])
    client = studio(service, host)
    for image in [*ELSEWHERE, host.replace("http://", "http://u:p@") + "/data/upload/1/0.png"]:
        answer = ask(client, image)
        assert error_of(answer) and answer.status_code in (400, 422), image
    assert not {one for one in Host.asked if not one.startswith("/data/")}
    Host.asked.clear()
    answer = ask(client, "/data/upload/1/moved.png")
    assert answer.status_code == 502 and "302" in answer.json()["error"]
    assert Host.asked == ["/data/upload/1/moved.png"]
    for wrong in (7, None, ["x"]):
        assert ask(client, wrong).status_code == 422
    mixed = ask(client, "/data/upload/1/0.png", "/data/none.png").json()["results"]
    assert "error" not in mixed[0] and mixed[1]["result"] == [] and "404" in mixed[1]["error"]
    assert ask(studio(service, None), "/data/upload/1/0.png").status_code == 422
    assert ask(studio(service, host, token="other"), "/data/upload/1/0.png").status_code == 502
    assert ask(studio(service, "http://127.0.0.1:9"), "/data/a.png").status_code == 502


def test_images_of_tasks_have_the_limits_of_uploads(service, host, tmp_path):
    Host.files["/data/long.png"] = bytes(2**20 + 1)
    Host.files["/data/wide.png"] = encoded(np.zeros((2, 600_000, 3), np.uint8))
    Host.files["/data/text.png"] = b"words"
    (tmp_path / "long.png").write_bytes(bytes(2**20 + 1))
    client = studio(service, host, folder=tmp_path)
    for image, status in (
        ("/data/long.png", 413), ("/data/wide.png", 413), ("/data/text.png", 415),
        ("/data/local-files/?d=long.png", 413), ("/data/local-files/?d=../x.png", 422),
    ):  # fmt: skip
        answer = ask(client, image)
        assert answer.status_code == status and error_of(answer)
    (tmp_path / "a.png").write_bytes(encoded(square("red", 1)[0]))
    assert ask(client, "/data/local-files/?d=a.png").json()["results"][0]["result"]
    many = ask(client, *["/data/local-files/?d=a.png"] * 101)
    assert many.status_code == 413 and "at most 100" in error_of(many)


def test_failed_lessons_are_logged_and_change_nothing(service, host, caplog):
    Host.files["/data/upload/1/0.png"] = encoded(green(0)[0])
    client, before = studio(service, host), service.snapshot
    regions = [
        rectangle("green", 0, 0, 50, 50, size=(90, 90)),  # of another image
        rectangle("../up", 0, 0, 50, 50, size=(96, 96)),
        rectangle("", 0, 0, 50, 50, size=(96, 96)),
    ]
    for region in regions:
        caplog.clear()
        client.post("/label-studio/webhook", json=event("ANNOTATION_CREATED", 1, region))
        assert settled(service) and service.snapshot is before
        assert "ANNOTATION_CREATED, project 1: " in caplog.text
    wrong = event("ANNOTATION_CREATED", 1, rectangle("green", 0, 0, -1, 5))
    assert "without area" in error_of(client.post("/label-studio/webhook", json=wrong))
    start = {"action": "START_TRAINING", "project": {"id": 1}}
    answer = studio(service, None).post("/label-studio/webhook", json=start)
    assert answer.status_code == 409 and "--label-studio URL" in error_of(answer)


def test_lessons_of_label_studio_survive_a_restart(host, tmp_path):
    file = tmp_path / "learned.safetensors"
    service = Service(knowing(), LIMITS, file)
    image, box = green(0)
    Host.files["/data/upload/1/0.png"] = encoded(image)
    region = rectangle("green", *percent(box), size=(96, 96))
    studio(service, host).post("/label-studio/webhook", json=event("ANNOTATION_CREATED", 5, region))
    assert settled(service) == ("red", "blue", "green") == fsdet.load(file).names
    again = Service(knowing(), LIMITS, file)
    assert again.snapshot.version == service.snapshot.version
    gone = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 105}], "project": {"id": 1}}
    studio(again, host).post("/label-studio/webhook", json=gone)
    assert settled(again) == ("red", "blue")


EVENTS = [
    None, 7, "", [], {}, {"action": 7}, {"action": "ANNOTATION_CREATED"},
    {"action": "ANNOTATION_CREATED", "project": {"id": 1}},
    {"action": "ANNOTATION_CREATED", "project": {"id": 10**30}},
    {"action": "ANNOTATION_CREATED", "project": {"id": "../x"}},
    {"action": "ANNOTATION_CREATED", "project": {"id": 1}, "task": 3, "annotation": 4},
    {"action": "ANNOTATION_CREATED", "project": {"id": 1}, "task": {}, "annotation": {}},
    {"action": "ANNOTATION_CREATED", "project": {"id": 1}, "task": {}, "annotation": {"result": 1}},
    {"action": "START_TRAINING", "project": {"id": 1, "label_config": "<View>"}},
    {"action": "ANNOTATIONS_DELETED", "project": {"id": 1}, "annotations": [3]},
    {"action": "ANNOTATIONS_DELETED", "project": {"id": 1}, "annotations": [{"id": [1]}]},
]  # fmt: skip


@pytest.mark.parametrize("body", EVENTS)
def test_wrong_events_are_refused(service, host, body):
    answer = studio(service, host).post("/label-studio/webhook", json=body)
    assert error_of(answer) and answer.status_code in (400, 422)
