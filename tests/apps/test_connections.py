"""Connections of the service: clients that send half a head, or do not read, are cut off."""

import http.client
import resource
import socket
import sys
import threading
import time

import pytest
import uvicorn

from fsdet.apps.serve import connections

BODY = b"x" * 20_000_000  # more than the buffers of a connection


class Hasty(connections.Protocol):
    seconds = 0.5
    most = 20


async def answer(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(
            {"type": "http.response.body", "body": BODY if scope["path"] == "/all" else b"y"}
        )


@pytest.fixture(scope="module")
def port():
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(answer, http=Hasty, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join()


def get(port, path="/"):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    client.request("GET", path)
    content = client.getresponse().read()
    client.close()
    return content


def is_closed(client, seconds=20):
    """Whether the server has ended a connection; what it had sent is read."""
    client.settimeout(seconds)
    try:
        while client.recv(2**20):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("half", [b"", b"GET / HTTP/1.1\r\nX: ", b"\r\n"])
def test_half_a_head_is_cut_off(port, half):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(half)
        assert is_closed(client)


def test_half_a_second_head_is_cut_off(port):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert is_closed(client)


def test_an_answer_that_nobody_reads_is_cut_off(port):
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /all HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1.5)
        client.settimeout(20)
        read = 0
        with pytest.raises(ConnectionResetError):
            while chunk := client.recv(2**16):
                read += len(chunk)
            raise ConnectionResetError  # closed without the rest
        assert read < len(BODY)


def test_a_client_that_reads_gets_everything(port):
    assert get(port, "/all") == BODY and get(port) == b"y"


def test_more_connections_than_allowed_are_closed_at_once_and_the_others_served(port):
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    assert all(map(is_closed, held))  # the first twenty by their time limit
    for client in held:
        client.close()
    assert get(port) == b"y"


def test_connections_are_at_most_half_of_the_files(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (128, 128))
    assert connections.most_connections() == 64
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (2**20, 2**20))
    assert connections.most_connections() == connections.MOST


def test_a_system_without_that_limit_has_the_most_connections(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows: importing it fails
    assert connections.most_connections() == connections.MOST
