"""Server-sent events: how the node stands, then what changes (https://html.spec.whatwg.org/#server-sent-events).

Nothing is queued for a client: it is sent what differs from what it was sent before, when it has taken that. A slow
client gets fewer and newer messages; one that takes nothing is cut off by the server (server.py).

    status   Status, once
    rounds   RoundPage: the last rounds, then those that were added or changed
    change   Change
"""

from typing import Any

import anyio
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from node.console.board import Board
from node.console.schema import Change, ClosedRoundFacts, RoundPage, Status

MAX_STREAMS = 16
"""Clients at a time."""
FIRST_ROUNDS = 100
"""Rounds that a new client is told of."""
PAUSE = 0.2
"""Seconds between two messages to one client, at least."""
HEARTBEAT = 5.0
"""Seconds after which a client hears something, at the latest."""


class EventStream:
    """An ASGI response that goes on until the client leaves or the node stops."""

    def __init__(self, board: Board) -> None:
        self._board = board

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the client is gone."""
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send, send)
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

    async def _send(self, send: Send) -> None:
        board = self._board
        version, rounds, told = board.version, board.history.version, board.status()
        page, _ = board.history.page(None, FIRST_ROUNDS)
        await _put(send, b"retry: 2000\n\n" + event("status", told) + _rounds(board, page))
        while True:
            await board.wait(version, HEARTBEAT)
            await anyio.sleep(PAUSE)
            version, now = board.version, board.status()
            news = event("change", difference(told, now))
            if board.history.version > rounds:
                news += _rounds(board, list(board.history.since(rounds)))
            rounds, told = board.history.version, now
            await _put(send, news)


def difference(before: Status, after: Status) -> Change:
    """What a client that knows `before` must be told to know `after`."""
    changed: dict[str, Any] = {
        name: getattr(after, name)
        for name in ("node", "round", "totals", "heads", "money", "own")
        if getattr(after, name) != getattr(before, name)
    }
    known = {member.place: member for member in before.members}
    members = tuple(member for member in after.members if known.get(member.place) != member)
    over = "round" in changed and after.round is None
    return Change(now_ms=after.now_ms, members=members, round_is_over=over, **changed)


def event(name: str, facts: BaseModel) -> bytes:
    """One event; JSON has no line breaks."""
    return f"event: {name}\ndata: {facts.model_dump_json(exclude_defaults=name == 'change')}\n\n".encode()


def _rounds(board: Board, rounds: list[ClosedRoundFacts]) -> bytes:
    return event("rounds", RoundPage(rounds=tuple(rounds), first=board.history.first, next=None))


async def _put(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})
