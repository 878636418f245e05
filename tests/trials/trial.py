"""A run of real daemons on libp2p and a localnet, each of which can be killed, frozen, cut off and started again."""

import json
import os
import random
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from ledger.mirror import Mirror
from node.founding import found_run
from node.identity import Identity, create, load
from protocol.ids import AccountId, Tinybar, digest_of
from protocol.params import LearnerRef, Params
from protocol.records import Member
from protocol.state import RunState
from tests.children import NO_TOPIC, Children, free_ports
from tests.e2e.founded import write_toml
from tests.learners.counting import NAME, spec
from tests.topic_reading import Told, Topic

HBAR = 100_000_000
PATIENCE = 150.0
"""Seconds for one thing to come about on a busy machine."""


@dataclass(frozen=True)
class Home:
    """Where a member's daemon lives on the network."""

    address: str = "127.0.0.1"
    ledger: str = "127.0.0.1"
    """Where it finds the ledger."""
    within: tuple[str, ...] = ()
    """The command that runs others there."""


@dataclass(kw_only=True)
class Trial(Children):
    """The members of a run, and what their daemons have said."""

    size: int
    homes: list[Home]
    listens: list[int]
    """The port of each daemon."""
    learner: dict[str, object] = field(default_factory=dict)
    """Options of all learners."""
    accounts: list[AccountId] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    read_so_far: Topic = field(default_factory=lambda: Topic(NO_TOPIC))
    before: dict[int, int] = field(default_factory=dict)
    """How many events each daemon had logged when it was last started."""

    def identity(self, place: int) -> Identity:
        return load(self.home / f"{place}.pem")

    async def found(self, **params: Any) -> None:
        """A run of all; nobody earns anything."""
        rules = Params(
            learner=LearnerRef(name="counting", spec=spec().digest()),
            initial=digest_of(struct.pack("<d", 0.0)),
            **params,
        )
        async with self.operator() as operator:
            for place in range(self.size):
                key = create(self.home / f"{place}.pem").public_key
                self.accounts.append(await operator.create_account(key, Tinybar(1_000 * HBAR)))
                self.members.append(Member(peer=self.identity(place).peer, account=self.accounts[place]))
            self.topic = (await found_run(operator, rules, self.members, "a trial")).topic
        self.read_so_far = Topic(self.topic)
        for place in range(self.size):
            self.configure(place)

    def configure(self, place: int) -> Path:
        """Write a member's node.toml: every member knows where all others are."""
        home, (consensus, mirror_grpc, mirror_rest) = self.homes[place], self.ports
        tables: dict[str, object] = {
            "": {"data": f"data-{place}"},
            "identity": {"file": f"{place}.pem"},
            "network": {"listen": f"/ip4/{home.address}/tcp/{self.listens[place]}"},
            "network.peers": {
                member.peer: f"/ip4/{self.homes[other].address}/tcp/{self.listens[other]}"
                for other, member in enumerate(self.members)
                if other != place
            },
            "ledger": {
                "network": "localnet",
                "account": self.accounts[place],
                "topic": self.topic,
                "mirror": f"http://{home.ledger}:{mirror_rest}",
                "mirror_grpc": f"{home.ledger}:{mirror_grpc}",
                "spend_limit": 10**15,
            },
            "ledger.nodes": {"0.0.3": f"{home.ledger}:{consensus}"},
            "learner": {"name": NAME},
            "learner.options": self.learner,
            "log": {"format": "json"},
        }
        file = self.home / f"{place}.toml"
        write_toml(file, tables)
        return file

    def start_daemons(self, *places: int) -> None:
        """Start members' daemons, or start them again."""
        for place in places:
            self.before[place] = len(self.events(place))
            self.start(
                name_of(place), "node.cli", "node", "--config", self.home / f"{place}.toml",
                within=self.homes[place].within,
            )  # fmt: skip

    def data(self, place: int) -> Path:
        """A daemon's data directory."""
        return self.home / f"data-{place}"

    # ---- what they say ----

    def lines(self, place: int) -> list[str]:
        log = self.home / f"{name_of(place)}.log"
        return log.read_text().splitlines(keepends=True) if log.exists() else []

    def events(self, place: int) -> list[dict[str, Any]]:
        """What a daemon has logged, in all its lives."""
        return [
            json.loads(line) for line in self.lines(place) if line.startswith("{") and line.endswith("\n")
        ]

    def life(self, place: int) -> list[dict[str, Any]]:
        """The same since it was last started."""
        return self.events(place)[self.before.get(place, 0) :]

    def takes_part(self, place: int) -> bool:
        """Whether a daemon has read the topic since it was last started, and talks to the others."""
        return any(event["event"] == "taking part" for event in self.life(place))

    def said(self, place: int) -> list[str]:
        """What a daemon has said outside of its log: the line that it ended with."""
        return [line.rstrip("\n") for line in self.lines(place) if not line.startswith("{")]

    def connected(self, place: int) -> set[int]:
        """The members with whom a daemon has a connection now, as far as it knows."""
        places = {member.peer: each for each, member in enumerate(self.members)}
        now: set[int] = set()
        for event in self.life(place):
            if event["event"] == "connected":
                now.add(places[event["remote"]])
            elif event["event"] == "disconnected":
                now.discard(places[event["remote"]])
        return now

    async def until_true(self, holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Wait until something holds."""
        with anyio.move_on_after(seconds) as waited:
            while not holds():
                self.check_children()
                await anyio.sleep(0.1)
        assert not waited.cancelled_caught, f"it did not come to that in {seconds:g} s: {what}"

    def check_children(self) -> None:
        """Fail at once when somebody has ended whom nobody killed."""
        ended = {name: child.poll() for name, child in self.processes.items() if child.poll() is not None}
        assert not ended, f"ended by themselves: {ended}; see {self.home}"

    async def until_together(self, *places: int) -> None:
        """Wait until these members' daemons are all connected with one another."""
        for place in places:
            await self.until_true(lambda place=place: self.takes_part(place), f"{place} takes part")  # type: ignore[misc]
            others = {*places} - {place}
            await self.until_true(
                lambda place=place, others=others: self.connected(place) >= others,  # type: ignore[misc]
                f"{place} is connected with {others}",
            )

    async def told(self) -> list[Told]:
        """The topic, message by message."""
        async with Mirror(self.network.mirror_rest) as mirror:
            return list(await self.read_so_far.read(mirror))

    async def state(self) -> RunState:
        """The run as the mirror shows it."""
        state = (await self.told())[-1].state
        assert state is not None
        return state


def name_of(place: int) -> str:
    return f"daemon-{place}"


@asynccontextmanager
async def trial(
    home: Path,
    size: int,
    homes: Sequence[Home] = (),
    learner: dict[str, object] | None = None,
    **params: Any,
) -> AsyncIterator[Trial]:
    """A run that has been founded; its daemons are not started yet."""
    ports = free_ports(random.Random(os.urandom(8)), 3 + size)
    with ExitStack() as stack:
        run = Trial(
            home=home,
            ports=ports[:3],
            stack=stack,
            size=size,
            homes=list(homes) or [Home()] * size,
            listens=ports[3:],
            learner={"pause": 0.2} if learner is None else learner,
        )
        try:
            await run.start_localnet()
            await run.found(**params)
            yield run
        finally:
            run.stop()
