"""Observation of requests: what was asked, what was answered, and how long it took."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fsdet.apps.serve.limits import printable_line
from fsdet.errors import InputError

OTHER = "other"  # route of a request to no address of the service


class Answered(NamedTuple):
    """A request and its answer."""

    client: str  # its address
    method: str
    path: str  # as the client sent it, without the query
    route: str  # the address in the service's table, such as /categories/{name:path}
    status: int  # of HTTP; 499: the client left before there was one
    seconds: float  # from the head of the request to the end of the answer
    sent: int  # bytes of the answer's body


class Observer:
    """ASGI middleware that tells observers of each request, once it is answered."""

    def __init__(self, app: ASGIApp, observers: Sequence[Callable[[Answered], None]]):
        self._app, self._observers = app, observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, sent = time.perf_counter(), 499, 0

        async def counted_send(message: Message) -> None:
            nonlocal status, sent
            status = message.get("status", status)
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, counted_send)
        except Exception:
            status = 500  # Starlette answers it outside all middleware
            raise
        finally:
            answered = Answered(
                (scope.get("client") or ("",))[0],
                scope["method"],
                scope["path"],
                getattr(scope.get("route"), "path", OTHER),
                status,
                time.perf_counter() - start,
                sent,
            )
            for observe in self._observers:
                observe(answered)


def request_log(file: Path) -> Callable[[Answered], None]:
    """An observer that appends a line of JSON for each request to a file.

    Raises:
        InputError: it cannot be written.
    """
    try:
        stream = open(file, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 (open while the service runs)
    except OSError as error:
        raise InputError(f"--log: '{file}' cannot be written: {error.strerror}") from error

    def write(answered: Answered) -> None:
        line = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "client": answered.client,
            "method": answered.method[:20],
            "path": printable_line(answered.path)[:200],
            "status": answered.status,
            "milliseconds": round(1000 * answered.seconds, 1),
            "bytes": answered.sent,
        }
        stream.write(json.dumps(line) + "\n")

    return write
