"""What every request passes before anything is done about it: who asks, for which host, and how many at once.

A page of somebody else's in the operator's browser can send requests to 127.0.0.1, and with a name that it makes point
there (DNS rebinding) it could read the answers: hence the check of the Host header, and no CORS.
"""

from collections.abc import Iterable
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.console.schema import Fault

MAX_REQUESTS = 64
"""Requests in progress, streams of events included."""
MAX_QUERY = 1024
"""Bytes of the longest query string."""
LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

log = structlog.get_logger("node.console")


class Gate:
    """ASGI middleware. hosts: names under which the view may be asked for, ports left out."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it with one line of JSON."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif (refusal := self._refusal(scope)) is not None:
            status, reason = refusal
            await refuse(status, reason)(scope, receive, _with_headers(send))
        else:
            await self._pass(scope, receive, _with_headers(send))

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        self._running += 1
        try:
            await self._app(scope, receive, watched)
        except Exception:  # a request that fails must not take the server with it
            log.exception("a request failed", path=scope["path"])
            if not begun:
                answer = refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "this is a bug; the node's log has more")
                await answer(scope, receive, send)
        finally:
            self._running -= 1

    def _refusal(self, scope: Scope) -> tuple[HTTPStatus, str] | None:
        headers = Headers(scope=scope)
        if scope["method"] not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, "everything here is only to be read: use GET"
        if host_of(headers.getlist("host")) not in self._hosts:
            return (
                HTTPStatus.MISDIRECTED_REQUEST,
                "not served under this host name; add it to `hosts` in [operator]",
            )
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return HTTPStatus.FORBIDDEN, "another site's page may not ask"
        if len(scope.get("query_string", b"")) > MAX_QUERY:
            return HTTPStatus.REQUEST_URI_TOO_LONG, f"a query has at most {MAX_QUERY} bytes"
        if self._running >= MAX_REQUESTS:
            return HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once; try again"
        return None


def host_of(values: list[str]) -> str | None:
    """The name in a Host header, its port left out; None unless there is exactly one."""
    if len(values) != 1:
        return None
    value = values[0].strip().lower()
    name, colon, port = value.rpartition(":")
    return name if colon and port.isdigit() else value


def refuse(status: HTTPStatus, reason: str) -> JSONResponse:
    """An answer that says why there is no other."""
    headers = {"Allow": "GET, HEAD"} if status is HTTPStatus.METHOD_NOT_ALLOWED else None
    return JSONResponse(Fault(error=reason).model_dump(), status, headers)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return sending
