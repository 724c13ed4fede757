"""Operation of the service: readiness, metrics, the log of requests, and an end that loses no answer."""

import json
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn
from fastapi.testclient import TestClient
from helpers.detectors import INKS, knowing, square
from helpers.service import LIMITS, encoded

from fsdet.apps.serve import connections
from fsdet.apps.serve.app import application
from fsdet.apps.serve.observer import request_log
from fsdet.apps.serve.service import Service
from fsdet.errors import InputError

PICTURE = encoded(square("red", 1)[0])


@pytest.fixture(scope="module")
def detector():
    return knowing()


@pytest.fixture()
def service(detector):
    return Service(detector, LIMITS)


def client_of(service, **options):
    return TestClient(application(service, **options), base_url="http://127.0.0.1")


def metrics_of(client):
    """The metrics by name and labels, as text."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    assert answer.text.endswith("\n") and all(lines)
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_metrics_count_requests_by_route_and_status(service):
    client = client_of(service)
    for _ in range(3):
        assert client.post("/detect", content=PICTURE).status_code == 200
    assert client.post("/detect", content=b"x").status_code == 415
    assert client.delete("/categories/nothing").status_code == 404
    assert client.request("SECRET", "/no/such/path").status_code == 404
    values = metrics_of(client)
    counts = {name: int(v) for name, v in values.items() if name.startswith("fsdet_requests")}
    assert counts == {
        'fsdet_requests_total{method="POST",route="/detect",status="200"}': 3,
        'fsdet_requests_total{method="POST",route="/detect",status="415"}': 1,
        'fsdet_requests_total{method="DELETE",route="/categories/{name:path}",status="404"}': 1,
        'fsdet_requests_total{method="other",route="other",status="404"}': 1,
    }
    times, label = "fsdet_request_seconds", 'route="/detect"'
    bucket = f"{times}_bucket{{{label},le="
    within = [int(value) for name, value in values.items() if name.startswith(bucket)]
    count = int(values[f"{times}_count{{{label}}}"])
    assert within == sorted(within) and within[-1] == count == 4
    assert 0 < float(values[f"{times}_sum{{{label}}}"]) < 60
    assert int(values["fsdet_categories"]) == len(INKS)
    assert values["fsdet_registered_regions"] == "0"


def test_a_full_queue_makes_the_service_unready_but_not_dead(service):
    client, free = client_of(service), threading.Event()
    assert client.get("/ready").json() == {"status": "ready"}
    for _ in range(1 + LIMITS.waiting):
        service.predicting.submit(free.wait)
    try:
        answer = client.get("/ready")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "65 predictions" in answer.json()["error"]
        assert client.get("/health").status_code == 200
        busy = client.post("/detect", content=PICTURE)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        assert metrics_of(client)["fsdet_predictions_waiting"] == "65"
    finally:
        free.set()
    deadline = time.monotonic() + 60
    while service.predicting.calls and time.monotonic() < deadline:
        time.sleep(0.01)
    assert client.get("/ready").status_code == 200


def test_each_request_is_a_line_of_the_log(service, tmp_path):
    file = tmp_path / "requests.jsonl"
    client = client_of(service, password="word", observers=[request_log(file)])
    client.get("/categories?secret=1")
    client.get("/no%0A%1Bwhere", headers={"Authorization": "Bearer word"})
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(one["method"], one["path"], one["status"]) for one in lines] == [
        ("GET", "/categories", 401),
        ("GET", "/no where", 404),
    ]
    assert all(one["milliseconds"] >= 0 and one["bytes"] > 10 and one["time"] for one in lines)
    assert "secret" not in file.read_text() and "word" not in file.read_text()


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InputError, match=r"--log: '.*' cannot be written: Is a directory"):
        request_log(tmp_path)


def test_requests_in_progress_are_answered_before_the_end(service):
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        application(service), http=connections.Protocol, log_level="error",
        timeout_graceful_shutdown=30,
    )  # fmt: skip
    server, free = uvicorn.Server(config), threading.Event()
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    service.predicting.submit(free.wait)  # the only thread: the next request waits

    def detect():
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}/detect", PICTURE), timeout=60
        ) as a:
            return a.status

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(detect)
        while service.predicting.calls < 2:
            time.sleep(0.01)
        server.should_exit = True  # as its handler of SIGTERM does
        time.sleep(0.3)
        assert thread.is_alive() and not answer.done()
        free.set()
        assert answer.result(60) == 200
    thread.join(60)
    assert not thread.is_alive()
