"""Stubs that whole nodes run against in tests: a topic in memory, and a learner that adds one to a number."""

import hashlib
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from learners.learner import BadWeights, Comparison, LearnerSpec, Merging, TensorSpec, Training
from ledger.topic import LedgerError, TopicMessage
from protocol.ids import AccountId, Nanoseconds, Ppm, Round, RunningHash, TopicId, base64url
from protocol.transfers import Lookup, Outgoing, Payout, Transfer
from tests.protocol.world import Ledger

TOPIC = TopicId("0.0.1005")
SOMEBODY = AccountId("0.0.2")
SPEC = LearnerSpec("stub", (TensorSpec("w", (1,), "F64"),), "stub/1")


class MemoryTopic:
    """A topic in memory: every follower sees the same messages, each after an optional delay."""

    def __init__(self, clock: "Clock", delay: float = 0.0) -> None:
        self.messages: list[TopicMessage] = []
        self._clock = clock
        self._delay = delay
        self._news = anyio.Event()
        self._hash = bytes(48)
        self.keys: set[tuple[AccountId, str | None]] = set()

    async def submit(self, body: bytes, *, key: str | None = None, payer: AccountId = SOMEBODY) -> None:
        if key is not None and (payer, key) in self.keys:
            return
        self.keys.add((payer, key))
        await anyio.sleep(self._delay)
        last = self.messages[-1].time if self.messages else 0
        time = Nanoseconds(max(self._clock(), last + 1))
        self._hash = hashlib.sha384(self._hash + struct.pack(">q", time) + body).digest()
        message = TopicMessage(
            TOPIC, len(self.messages) + 1, time, RunningHash(base64url(self._hash)), payer, body
        )
        self.messages.append(message)
        self._news.set()
        self._news = anyio.Event()

    async def follow(self) -> AsyncIterator[TopicMessage | None]:
        at = len(self.messages)
        for message in self.messages[:at]:
            yield message
        yield None
        while True:
            while at < len(self.messages):
                yield self.messages[at]
                at += 1
            await self._news.wait()


@dataclass(frozen=True)
class Pen:
    """The same topic, as one account writes to it."""

    topic: MemoryTopic
    account: AccountId

    async def submit(self, body: bytes, *, key: str | None = None) -> None:
        # Asked for by name, so that a test may replace it.
        await self.topic.submit(body, key=key, payer=self.account)

    def follow(self) -> AsyncIterator[TopicMessage | None]:
        return self.topic.follow()


class StubTransfers:
    """What a mirror shows of a ledger in memory, once it has not failed any more."""

    def __init__(self, ledger: Ledger, failures: int = 0) -> None:
        self.ledger = ledger
        self.failures = failures

    async def find(self, lookup: Lookup) -> tuple[Transfer, ...]:
        if self.failures:
            self.failures -= 1
            raise LedgerError("the mirror is away")
        return self.ledger.find(lookup)


class StubTreasury:
    """A treasury that pays at the first signature, from a ledger in memory, unless it is told not to."""

    def __init__(self, ledger: Ledger, clock: "Clock", pays: bool = True) -> None:
        self.ledger = ledger
        self.clock = clock
        self.pays = pays
        self.signed: list[Payout] = []

    async def sign(self, payout: Payout) -> str:
        self.signed.append(payout)
        if self.pays and self.clock() < payout.expires and await self.outcome(payout) is None:
            moves = dict(payout.payees) | {payout.treasury: -sum(amount for _, amount in payout.payees)}
            name = "CRYPTOTRANSFER" if payout.key is None else "CRYPTOUPDATEACCOUNT"
            self.ledger.put(self.clock(), payout.treasury, moves, payout.memo, name=name)
        return "signed"

    async def outcome(self, payout: Payout) -> Transfer | None:
        found = self.ledger.find(Outgoing(payout.treasury, payout.opened, payout.expires))
        return next((each for each in found if each.memo == payout.memo), None)


class Clock:
    """The event loop's clock, as consensus time; it can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> Nanoseconds:
        return Nanoseconds(1_700_000_000_000_000_000 + int((anyio.current_time() + self.ahead) * 1e9))


@dataclass
class StubLearner:
    """Weights are one number; training adds one, and more is better, unless it is told to misbehave.

    It merges by adding up what is better than the head; each such update has the same share.
    """

    step: float = 1.0
    merges: bool = True
    merged: list[tuple[int, list[float]]] = field(default_factory=list)
    proposals: list[int] = field(default_factory=list)
    adopted: list[float] = field(default_factory=list)

    async def describe(self) -> LearnerSpec:
        return SPEC

    async def initial(self, out: Path) -> None:
        out.write_bytes(struct.pack("<d", 0.0))

    async def propose(self, head: Path, round: Round, out: Path, deadline: float) -> Training:
        self.proposals.append(round)
        out.write_bytes(struct.pack("<d", number_in(head) + self.step))
        return Training(labels=1, labels_total=len(self.proposals), loss=0.0)

    async def score(self, head: Path, candidate: Path, round: Round, deadline: float) -> Comparison:
        gain = Ppm(max(-1_000_000, min(1_000_000, int(100_000 * (number_in(candidate) - number_in(head))))))
        return Comparison(head=Ppm(0), candidate=gain, gain=gain, error=Ppm(0), samples=16)

    async def merge(
        self, head: Path, own: Path, updates: Sequence[Path], round: Round, out: Path, deadline: float
    ) -> Merging:
        start = number_in(head)
        steps = [number_in(own) - start]
        for update in updates:
            try:
                steps.append(number_in(update) - start)
            except BadWeights:
                steps.append(0.0)
        self.merged.append((round, steps[1:]))
        out.write_bytes(struct.pack("<d", start + sum(step for step in steps if step > 0)))
        used = [int(step > 0) for step in steps]
        shares = [Ppm(1_000_000 // sum(used) * each) for each in used]
        shares[0] = Ppm(1_000_000 - sum(shares[1:]))
        return Merging(tuple(shares))

    async def adopt(self, head: Path, round: Round) -> None:
        self.adopted.append(number_in(head))


def number_in(weights: Path) -> float:
    """The one number. Raises BadWeights unless it is finite and alone."""
    data = weights.read_bytes()
    if len(data) != 8:
        raise BadWeights(f"expected 8 bytes, not {len(data)}")
    (number,) = struct.unpack("<d", data)
    if number != number or abs(number) == float("inf"):
        raise BadWeights("not finite")
    return float(number)
