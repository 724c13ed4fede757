"""Registrations and forgettings leave no object behind in the service."""

import gc
import json
from collections import Counter

import pytest
from fastapi.testclient import TestClient
from helpers.detectors import knowing
from helpers.service import LIMITS, encoded, green

from fsdet.apps.serve.app import application
from fsdet.apps.serve.lessons import Snapshot
from fsdet.apps.serve.service import Service

ROUNDS = 5
OURS = ("fsdet", "torch", "numpy", "concurrent", "starlette")


def kinds():
    """The number of living objects by type: of fsdet, and of those libraries that hold what it makes."""
    gc.collect()
    types = (type(one) for one in gc.get_objects())
    return Counter(kind for kind in types if str(kind.__module__).partition(".")[0] in OURS)


@pytest.fixture()
def client():
    service = Service(knowing("prototype"), LIMITS)
    with TestClient(application(service), base_url="http://127.0.0.1") as client:
        yield client


def test_registrations_and_forgettings_leave_no_object(client):
    pictures = [(encoded(image), box) for image, box in map(green, range(3))]

    def round_of(n):
        """Register, detect, be refused, forget; a name of its own each time."""
        file, box = pictures[n % 3]
        name = f"/categories/green {n}"
        form = {"files": [("images", ("a.png", file))], "data": {"boxes": json.dumps([[box]])}}
        assert client.post(name, **form).status_code == 201
        assert client.post("/detect", content=file).status_code == 200
        assert client.post("/detect", content=b"broken").status_code == 415
        assert client.delete(name).status_code == 200
        assert client.delete(name).status_code == 404

    for n in range(2):
        round_of(n)  # what is made once, and kept
    before = kinds()
    for n in range(2, 2 + ROUNDS):
        round_of(n)
    grown = {kind: count for kind, count in (kinds() - before).items() if count >= ROUNDS}
    assert before[Snapshot] and not grown
