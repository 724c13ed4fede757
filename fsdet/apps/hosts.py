"""Host and Origin checks: the gate of every server against web pages of other sites."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def names_of(address: str) -> frozenset[str]:
    """Names of a server without password: those of this machine, and the address it listens at."""
    return LOOPBACK | {f"[{address}]" if ":" in address else address.lower()}


def refusal(headers: Headers, hosts: Collection[str] | None) -> str | None:
    """The reason to refuse a request, or None.

    A page of another site must not use a server on this machine, neither directly (Origin) nor through a
    name of its own that points to 127.0.0.1 (Host, DNS rebinding).

    Args:
        hosts: names that the server may be addressed by, without port; None: any, for servers with a password.
    """
    host = headers.get("host", "").lower()
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    if hosts is not None and name not in hosts:
        return (
            f"expected a request to {' or '.join(sorted(hosts))}, got Host '{host[:80]}';"
            " use one of these, or start the server with --password, which allows any name"
        )
    origin = headers.get("origin")
    if origin is not None and origin.lower().partition("://")[2] != host:
        return (
            f"pages of other sites are refused: expected Origin 'http://{host[:80]}', got"
            f" Origin '{origin[:80]}'; open the server's own page, or let its proxy pass on the"
            " header Host"
        )
    return None


class HostGate:
    """ASGI middleware that refuses requests from pages of other sites with status 403.

    Args:
        hosts: see `refusal`.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None = LOOPBACK):
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            reason = refusal(Headers(scope=scope), self._hosts)
            if reason is not None and scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            if reason is not None:
                answer = JSONResponse({"error": reason}, 403, {"Connection": "close"})
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)
