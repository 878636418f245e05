"""The routes of the operator's view, as an ASGI application over one board."""

from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from importlib.resources import files

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from node.console import openapi
from node.console.board import Board, package_version
from node.console.events import MAX_STREAMS, EventStream
from node.console.gate import Gate, refuse
from node.console.metrics import CONTENT_TYPE, Metrics
from node.console.queries import BadQuery, NoQuery, RoundsQuery, parse_query
from node.console.schema import MemberList, RoundPage

JAVASCRIPT = "text/javascript; charset=utf-8"
PAGE = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "app.js": JAVASCRIPT,
    "chart.js": JAVASCRIPT,
    "dom.js": JAVASCRIPT,
    "model.js": JAVASCRIPT,
    "ring.js": JAVASCRIPT,
    "tables.js": JAVASCRIPT,
    "words.js": JAVASCRIPT,
}
"""The files of the page, and what each is."""

Endpoint = Callable[[Request], Awaitable[Response]]


class Console:
    """The endpoints over one board and its metrics."""

    def __init__(self, board: Board, metrics: Metrics) -> None:
        self._board = board
        self._metrics = metrics
        self._streams = 0
        self._document = JSONResponse(openapi.document(package_version()))

    def app(self, hosts: Iterable[str]) -> ASGIApp:
        """The application, for requests that name one of these hosts."""
        board = self._board
        routes = [
            Route("/api/status", _answer(lambda _: board.status())),
            Route("/api/rounds", _answer(self._rounds, RoundsQuery)),
            Route("/api/members", _answer(lambda _: MemberList(members=board.status().members))),
            Route("/api/events", self._events),
            Route("/api/openapi.json", _fixed(self._document)),
            Route("/metrics", self._scrape),
            Route("/healthz", self._health),
            *(Route("/" if name == "index.html" else f"/{name}", _file(name)) for name in PAGE),
        ]
        handlers = {HTTPException: _on_http, BadQuery: _on_query}
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        return Gate(app, hosts)

    def _rounds(self, query: NoQuery) -> RoundPage:
        assert isinstance(query, RoundsQuery)
        rounds, following = self._board.history.page(query.start, query.limit)
        return RoundPage(rounds=tuple(rounds), first=self._board.history.first, next=following)

    async def _scrape(self, request: Request) -> Response:
        parse_query(NoQuery, request.query_params)
        return Response(self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _health(self, request: Request) -> Response:
        health = self._board.health()
        status = HTTPStatus.OK if health.healthy else HTTPStatus.SERVICE_UNAVAILABLE
        return _json(health, status)

    async def _events(self, request: Request) -> Response:
        parse_query(NoQuery, request.query_params)
        if self._streams >= MAX_STREAMS:
            return refuse(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_STREAMS} streams are open; close one")
        return _Counted(self, EventStream(self._board))

    def count(self, change: int) -> None:
        """Take note of streams that begin (1) or end (-1)."""
        self._streams += change


class _Counted(Response):
    """A stream of events, counted while it runs."""

    def __init__(self, console: Console, stream: EventStream) -> None:
        super().__init__()
        self._console = console
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._console.count(1)
        try:
            await self._stream(scope, receive, send)
        finally:
            self._console.count(-1)


def _answer(tell: Callable[[NoQuery], BaseModel], query: type[NoQuery] = NoQuery) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return _json(tell(parse_query(query, request.query_params)))

    return endpoint


def _fixed(response: Response) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return response

    return endpoint


def _file(name: str) -> Endpoint:
    body = files("node.console").joinpath("page", name).read_bytes()
    return _fixed(Response(body, headers={"Content-Type": PAGE[name]}))


def _json(facts: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(facts.model_dump_json(), status, media_type="application/json")


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    reason = (
        "there is nothing here; see /api/openapi.json" if status == HTTPStatus.NOT_FOUND else status.phrase
    )
    return refuse(status, reason)


async def _on_query(request: Request, error: Exception) -> Response:
    return refuse(HTTPStatus.BAD_REQUEST, str(error))
