"""Nodes under test, with the real driver: on asyncio, a network, a topic and a ledger in memory."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from node.blobs import Blobs
from node.driver import Driver
from node.history import BlobHistory
from node.identity import Identity, identity_of
from node.journal import Journal
from node.means import Means
from node.net.memory import Network
from node.net.transport import Transport
from protocol.deposits import deposit_memo
from protocol.errors import ProtocolError
from protocol.fields import canonical
from protocol.fold import read
from protocol.ids import AccountId, Tinybar, digest_of
from protocol.params import LearnerRef, Params
from protocol.parse import Record, parse_record
from protocol.payments import FundRecord
from protocol.records import Genesis, Member, TreasuryEntry
from protocol.state import RunState
from tests.node.world import SPEC, TOPIC, Clock, MemoryTopic, Pen, StubLearner, StubTransfers, StubTreasury
from tests.protocol.world import FUNDER, TREASURY, Ledger

INITIAL = digest_of(struct.pack("<d", 0.0))


@dataclass
class Node:
    """One node under test."""

    identity: Identity
    learner: StubLearner
    driver: Driver

    @property
    def state(self) -> RunState:
        state = self.driver.view.state
        assert state is not None
        return state


class World:
    """A topic, a network, and the nodes on them."""

    def __init__(self, tasks: TaskGroup, directory: Path, size: int, **params: int) -> None:
        self.directory = directory
        self.clock = Clock()
        self.topic = MemoryTopic(self.clock)
        self.network = Network(tasks)
        self.identities = [identity_of(bytes([place + 1]) * 32) for place in range(size)]
        roster = tuple(
            Member(peer=identity.peer, account=self.account(place))
            for place, identity in enumerate(self.identities)
        )
        rules = Params(
            learner=LearnerRef(name=SPEC.name, spec=SPEC.digest()), initial=INITIAL, reward_vote=1, **params
        )
        treasury = TreasuryEntry(account=TREASURY, required=size // 2 + 1)
        self.genesis = Genesis(topic=TOPIC, params=rules, roster=roster, treasury=treasury)
        self.ledger = Ledger()
        self.transfers = StubTransfers(self.ledger)
        self.pays = True

    @staticmethod
    def account(place: int) -> AccountId:
        return AccountId(f"0.0.{3000 + place}")

    async def fund(self, amount: int) -> None:
        """Put the genesis on the topic, and money into the pool."""
        await self.topic.submit(canonical(self.genesis))
        run = self.genesis.run()
        paid = self.ledger.put(
            self.clock(), FUNDER, {FUNDER: -amount, TREASURY: amount}, deposit_memo(run, "fund", FUNDER)
        )
        record = FundRecord(run=run, account=FUNDER, amount=Tinybar(amount), transaction=paid)
        await self.topic.submit(canonical(record))

    async def found(self) -> RunState:
        """Put the genesis on the topic: the state after it."""
        await self.topic.submit(canonical(self.genesis))
        return self.opened()

    def opened(self) -> RunState:
        """The state after the genesis."""
        (message, *_) = self.topic.messages
        return read(None, TOPIC, message.body, message.stamp, ())

    def with_effect(self, op: str) -> list[Record]:
        """The records of a kind that had an effect."""
        state, found = None, []
        for message in self.topic.messages:
            stamp = message.stamp
            transfers = self.ledger.found(state, message.body, stamp)
            with suppress(ProtocolError):
                state = read(state, TOPIC, message.body, stamp, transfers)
                record = parse_record(message.body)
                if record.op == op:
                    found.append(record)
        return found

    def node(
        self, place: int, learner: StubLearner | None = None, history: BlobHistory | None = None
    ) -> Node:
        """A node that has not been started; with the journal and the store of its earlier life, if any."""
        identity, home = self.identities[place], self.directory / str(place)
        home.mkdir(exist_ok=True)
        blobs = Blobs(home / "blobs")
        learner = learner or StubLearner()

        @asynccontextmanager
        async def open_transport() -> AsyncIterator[Transport]:
            transport = self.network.join(identity.peer, blobs)
            try:
                yield transport
            finally:
                self.network.leave(identity.peer)

        means = Means(
            identity=identity,
            journal=Journal.open(home / "journal.db"),
            blobs=blobs,
            topic_id=TOPIC,
            topic=Pen(self.topic, self.account(place)),
            account=self.account(place),
            transfers=self.transfers,
            treasury=StubTreasury(self.ledger, self.clock, self.pays),
            learner=learner,
            open_transport=open_transport,
            clock=self.clock,
            history=history,
        )
        return Node(identity, learner, Driver(means))

    async def until(self, holds, seconds: float = 30.0) -> None:
        """Wait until something holds; fail when it never does."""
        with anyio.fail_after(seconds):
            while not holds():
                await anyio.sleep(0.01)


@asynccontextmanager
async def world_of(directory: Path, size: int, **params: int) -> AsyncIterator[World]:
    """A world, and the tasks of its network."""
    async with anyio.create_task_group() as tasks:
        yield World(tasks, directory, size, **params)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    """The nodes' drivers, while the context is open."""
    async with anyio.create_task_group() as tasks:
        for node in nodes:
            tasks.start_soon(node.driver.run)
        yield
        tasks.cancel_scope.cancel()


def errors(group: BaseExceptionGroup, kind: type[Exception]) -> list[Exception]:
    """The errors of a kind, at whatever depth."""
    found: list[Exception] = []
    for each in group.exceptions:
        found += errors(each, kind) if isinstance(each, BaseExceptionGroup) else [each]
    assert all(isinstance(each, kind) for each in found), found
    return found


def only(group: BaseExceptionGroup, kind: type[Exception]) -> Exception:
    (found,) = errors(group, kind)
    return found
