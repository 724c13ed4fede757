"""Connections of the service: their number, and the time that a client takes to send a head and to read."""

import asyncio
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 10.0  # for the head of a request, and for each 64 kB of an answer
MOST = 1000  # connections, with or without a request


def most_connections() -> int:
    """`MOST`, or fewer where the process may open fewer files; half of these stay for its own."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MOST
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else min(MOST, files // 2)


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1, which alone waits without end, before any password is asked for."""

    seconds = SECONDS
    most = most_connections()

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._head: asyncio.TimerHandle | None = None
        self._answer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._head = self._abort_later()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._head)
        _cancel(self._answer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:  # the head is complete
            _cancel(self._head)
            self._head = None
        elif self._head is None:
            self._head = self._abort_later()

    def pause_writing(self) -> None:
        """Called by asyncio when 64 kB of an answer are not read yet."""
        super().pause_writing()
        if self._answer is None:
            self._answer = self._abort_later()

    def resume_writing(self) -> None:
        """Called by asyncio when most of them are read."""
        super().resume_writing()
        _cancel(self._answer)
        self._answer = None

    def _abort_later(self) -> asyncio.TimerHandle:
        return self.loop.call_later(self.seconds, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def limit_unread(server: socket.socket) -> None:
    """Let the system end connections whose last bytes nobody reads; Linux only."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(SECONDS * 1000))
