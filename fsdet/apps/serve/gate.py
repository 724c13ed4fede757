"""Gate of the service: hosts, password, number of requests at once, and length of bodies."""

import asyncio
import base64
import hmac
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fsdet.apps.hosts import LOOPBACK, refusal
from fsdet.apps.serve.limits import Limits, Refusal, line


def refused(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Every error as a client sees it: one line of JSON."""
    return JSONResponse({"error": line(message)}, status, headers)


class Gate:
    """ASGI middleware that refuses requests before they reach the service.

    It checks Host and Origin (`fsdet.apps.hosts`), the password, the length of the body and the number of
    requests at once.

    Args:
        password: expected as `Authorization: Bearer PASSWORD`, or as the password of HTTP Basic with any
            user name; None: no password.
        hosts: names that the service may be addressed by where there is no password.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        password: str | None = None,
        hosts: Collection[str] = LOOPBACK,
    ):
        self._app, self._limits, self._password, self._hosts = app, limits, password, hosts
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(Headers(scope=scope))
        except Refusal as no:
            headers = {"Connection": "close"}
            if no.status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="fsdet", charset="UTF-8"'
            await refused(no.status, str(no), headers)(scope, receive, send)
            return
        self._inside += 1
        try:
            await self._app(scope, _Bounded(receive, self._limits), send)
        finally:
            self._inside -= 1

    def _check(self, headers: Headers) -> None:
        reason = refusal(headers, self._hosts if self._password is None else None)
        if reason is not None:
            raise Refusal(403, reason)
        if self._password is not None and not self._knows(headers.get("authorization", "")):
            raise Refusal(401, "expected the password: Authorization: Bearer PASSWORD, or Basic")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            raise Refusal(400, "Content-Length: expected a whole number")
        if int(length) > self._limits.body:
            raise _too_long(self._limits)
        if self._inside >= self._limits.requests:
            raise Refusal(503, f"{self._inside} requests at once already; try again later")

    def _knows(self, authorization: str) -> bool:
        kind, _, given = authorization.partition(" ")
        secret = given.strip(" ").encode("latin-1", "replace")  # as it came, bytes for characters
        if kind.lower() == "basic":
            try:
                secret = base64.b64decode(secret, validate=True).partition(b":")[2]
            except ValueError:
                return False
        elif kind.lower() != "bearer":
            return False
        return hmac.compare_digest(secret, (self._password or "").encode())


class _Bounded:
    """A body that ends in a refusal when it is longer than allowed or does not come."""

    def __init__(self, receive: Receive, limits: Limits):
        self._receive, self._limits = receive, limits
        self._left, self._more = limits.body, True
        self._until = asyncio.get_running_loop().time() + limits.seconds

    async def __call__(self) -> Message:
        if not self._more:
            return await self._receive()
        rest = self._until - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(rest, 0))
        except asyncio.TimeoutError:
            raise Refusal(
                408, f"expected the whole body within {self._limits.seconds:g} s"
            ) from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _too_long(self._limits)
        self._more = message.get("more_body", False)
        return message


def _too_long(limits: Limits) -> Refusal:
    return Refusal(413, f"expected a body of at most {limits.body} bytes")
