"""A board that watches one participant of a run in memory, and what serves it, for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from learners.learner import Comparison, Training
from node.console.app import Console
from node.console.board import Board
from node.console.metrics import Metrics
from node.net.transport import Connected, Contact
from protocol.ids import Nanoseconds, PeerId, Ppm, Round
from protocol.messages import Choice
from protocol.step import step
from tests.protocol.peer import Peer
from tests.protocol.world import PEERS, TOPIC, Run, account, verdict

HOSTS = ("127.0.0.1", "localhost")


class Watched(Peer):
    """One participant, fed by hand, and its board."""

    def __init__(self, run: Run, place: int) -> None:
        self.now = run.time
        self.board = Board(PEERS[place], account(place), TOPIC, lambda: Nanoseconds(self.now))
        super().__init__(run, place)

    def feed(self, event, at=None):
        self.now = self.now if at is None else at
        before = self.view
        self.view, effects = step(before, event, Nanoseconds(self.now))
        self.board.on_step(before, self.view, event, Nanoseconds(self.now))
        return effects

    def connect(self, place: int) -> None:
        self.board.on_peer(Connected(PEERS[place]), Nanoseconds(self.now))


def contact(place: int, **changes) -> Contact:
    """The way to a peer."""
    facts = {"peer": PEERS[place], "address": f"/ip4/127.0.0.1/tcp/{4000 + place}", "is_connected": True}
    facts |= {"latency": 0.004, "received": 1000, "sent": 2000, "refused_for": 0.0}
    return Contact(**(facts | changes))


def played(run: Run, *endings: str) -> Run:
    """Play rounds that end so."""
    for ending in endings:
        if ending == "accepted":
            run.accept()
        elif ending == "rejected":
            proposal = run.proposal()
            votes = run.votes(proposal, *[Choice.REJECT] * len(run.voters))
            run.put(verdict(proposal, votes, "rejected"))
        elif ending == "closed":
            run.expire()
        elif ending == "passed":
            run.put(run.pass_turn())
    return run


def comparison(gain: int = 50_000) -> Comparison:
    return Comparison(Ppm(500_000), Ppm(500_000 + gain), Ppm(gain), Ppm(2_000), 64)


def training(loss: float = 0.25) -> Training:
    return Training(labels=20, labels_total=140, loss=loss)


def number(value: int) -> Round:
    return Round(value)


def peer(place: int) -> PeerId:
    return PEERS[place]


@asynccontextmanager
async def client_of(board: Board, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the board's application."""
    app = Console(board, Metrics(board)).app(HOSTS)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:8710", headers=headers
    ) as http:
        yield http
