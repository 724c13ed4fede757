"""Gate of the service: hosts, password, length of bodies and number of requests."""

import asyncio
import base64
import hmac
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fsdet.apps.hosts import LOOPBACK, refusal
from fsdet.apps.serve.limits import Limits, Refusal, printable_line

RETRY_AFTER = "1"  # seconds
PROBES = ("/health", "/ready", "/metrics")  # answered however many requests there are


def refused(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as clients receive it: one line in JSON, and when to come back if the service is busy."""
    busy = {"Retry-After": RETRY_AFTER} if status == 503 else {}
    return JSONResponse({"error": printable_line(message)}, status, busy | (headers or {}))


class Gate:
    """ASGI middleware that refuses requests before they reach the service.

    It checks Host and Origin (`fsdet.apps.hosts`), the password, the length of the body and the number of
    requests in progress.

    Args:
        password: expected as `Authorization: Bearer PASSWORD`, or as the password of HTTP Basic with any
            user name; None: no password.
        hosts: names of the service that requests may contain; with a password any name may.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        password: str | None = None,
        hosts: Collection[str] = LOOPBACK,
    ):
        self._app, self._limits, self._password, self._hosts = app, limits, password, hosts
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(Headers(scope=scope), scope["path"] in PROBES)
        except Refusal as error:
            headers = {"Connection": "close"}
            if error.status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="fsdet", charset="UTF-8"'
            await refused(error.status, str(error), headers)(scope, receive, send)
            return
        self._in_progress += 1
        counted = True

        async def uncounted_send(message: Message) -> None:
            # A client that does not read its answer takes no place from others.
            nonlocal counted
            self._in_progress -= counted
            counted = False
            await send(message)

        try:
            await self._app(scope, _BoundedBody(receive, self._limits), uncounted_send)
        finally:
            self._in_progress -= counted

    def _check(self, headers: Headers, is_probe: bool) -> None:
        reason = refusal(headers, self._hosts if self._password is None else None)
        if reason is not None:
            raise Refusal(403, reason)
        if self._password is not None and not _authorized(headers, self._password):
            raise Refusal(401, "expected the password: Authorization: Bearer PASSWORD, or Basic")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            raise Refusal(400, "Content-Length: expected a whole number")
        if int(length) > self._limits.body:
            raise _too_long(self._limits)
        if self._in_progress >= self._limits.requests and not is_probe:
            raise Refusal(503, f"{self._in_progress} requests at once already; try again later")


def _authorized(headers: Headers, password: str) -> bool:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    secret = credentials.strip(" ").encode("latin-1", "replace")  # the bytes as they were sent
    if scheme.lower() == "basic":
        try:
            secret = base64.b64decode(secret, validate=True).partition(b":")[2]
        except ValueError:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(secret, password.encode())


class _BoundedBody:
    """Receives a body, and refuses it if it is too long or does not arrive in time."""

    def __init__(self, receive: Receive, limits: Limits):
        self._receive, self._limits = receive, limits
        self._bytes_left, self._more = limits.body, True
        self._deadline = asyncio.get_running_loop().time() + limits.seconds

    async def __call__(self) -> Message:
        if not self._more:
            return await self._receive()
        seconds_left = self._deadline - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(seconds_left, 0))
        except asyncio.TimeoutError:
            raise Refusal(
                408, f"expected the whole body within {self._limits.seconds:g} s"
            ) from None
        self._bytes_left -= len(message.get("body", b""))
        if self._bytes_left < 0:
            raise _too_long(self._limits)
        self._more = message.get("more_body", False)
        return message


def _too_long(limits: Limits) -> Refusal:
    return Refusal(413, f"expected a body of at most {limits.body} bytes")
