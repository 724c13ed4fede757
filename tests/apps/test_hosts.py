"""Host and Origin checks of the servers."""

import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from fsdet.apps.hosts import LOOPBACK, HostGate, names_of, refusal


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"host": "127.0.0.1:7860"}, None),
        ({"host": "LOCALHOST:7860"}, None),
        ({"host": "[::1]"}, None),
        ({"host": "localhost:80", "origin": "http://localhost:80"}, None),
        ({"host": "evil.example:7860"}, "got Host 'evil.example:7860'"),
        ({"host": "localhost.evil.example"}, "got Host"),
        ({}, "got Host ''"),
        ({"host": "localhost:80", "origin": "http://localhost:81"}, "got Origin"),
        ({"host": "localhost:80", "origin": "http://evil.example"}, "got Origin"),
        ({"host": "localhost", "origin": "null"}, "got Origin 'null'"),
    ],
)
def test_requests_of_other_sites_are_refused(headers, reason):
    message = refusal(Headers(headers), LOOPBACK)
    assert message is None if reason is None else reason in message


@pytest.mark.parametrize(
    ("headers", "remedy"),
    [
        ({"host": "evil.example"}, "127.0.0.1 or [::1] or localhost,"),
        ({"host": "evil.example"}, "with --password"),
        ({"host": "localhost:80", "origin": "http://evil.example"}, "'http://localhost:80'"),
        ({"host": "localhost:80", "origin": "http://evil.example"}, "pass on the header Host"),
    ],
)
def test_refusal_says_what_was_expected_and_what_to_do(headers, remedy):
    message = refusal(Headers(headers), LOOPBACK)
    assert remedy in message and "\n" not in message


@pytest.mark.parametrize(
    ("address", "host"), [("127.0.0.2", "127.0.0.2:80"), ("::1", "[::1]:80"), ("::2", "[::2]:80")]
)
def test_server_answers_to_the_address_that_it_listens_at(address, host):
    assert refusal(Headers({"host": host}), names_of(address)) is None
    assert refusal(Headers({"host": "localhost:80"}), names_of(address)) is None
    assert refusal(Headers({"host": "evil.example"}), names_of(address))


def test_server_with_password_has_any_name_but_one_origin():
    assert refusal(Headers({"host": "gpu.lab:80", "origin": "http://gpu.lab:80"}), None) is None
    assert refusal(Headers({"host": "gpu.lab:80", "origin": "http://evil.example"}), None)


def test_gate_answers_instead_of_the_application():
    reached = []

    async def page(request):
        reached.append(request.url.path)
        return PlainTextResponse("page")

    async def socket(websocket):
        reached.append("socket")
        await websocket.accept()
        await websocket.close()

    app = Starlette(
        routes=[Route("/", page, methods=["GET", "POST"]), WebSocketRoute("/ws", socket)]
    )
    client = TestClient(HostGate(app), base_url="http://127.0.0.1:7860")
    assert client.get("/").text == "page"
    refused = client.post("/", headers={"origin": "http://evil.example"}, content=b"x")
    assert refused.status_code == 403 and "evil.example" in refused.json()["error"]
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403
    assert reached == ["/"]
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/ws", headers={"host": "evil.example"}),
    ):
        pass
    assert reached == ["/"]
