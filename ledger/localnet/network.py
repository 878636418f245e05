"""The network: the ledger, its journal and the clock, on one event loop.

Transactions that arrive together are ordered, applied, written and flushed in one uninterrupted step, and
answered after it: nothing else runs in between, so no reader can see what is not on disk.
"""

import asyncio
import copy
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ledger.hiero import ResponseCode
from ledger.localnet.behaviour import Behaviour
from ledger.localnet.envelope import Envelope, parse_envelope
from ledger.localnet.errors import LocalnetError, Refused
from ledger.localnet.fees import FeeSchedule
from ledger.localnet.journal import MAX_BATCH, Journal, Ordered
from ledger.localnet.precheck import precheck
from ledger.localnet.state import SECOND_NS, Entry, Ledger, TransactionKey, genesis
from ledger.localnet.transactions import KINDS, apply

MAX_PENDING = 65_536
"""Transactions between acceptance and a finality that is late on purpose; more are answered with BUSY."""


@dataclass(slots=True)
class _Arrival:
    raw: bytes
    node: int
    answer: asyncio.Future[Entry]
    accepted: int | None = None
    """When a node accepted it, where consensus comes later than that."""


@dataclass(frozen=True, slots=True)
class _Settled:
    """What reached consensus, as a mirror that lags will apply it."""

    envelope: Envelope
    entry: Entry


class LocalNetwork:
    """One ledger that accepts transactions; lives on the event loop that made it."""

    def __init__(
        self, journal: Journal, clock: Callable[[], int], behaviour: Behaviour | None = None
    ) -> None:
        """Replay a journal. clock: nanoseconds since the epoch. Raises LocalnetError when it cannot be."""
        self.behaviour = behaviour or Behaviour()
        self._ledger = replay(journal)
        is_lagging = self.behaviour.mirror_lag_ns > 0
        self._mirror = copy.deepcopy(self._ledger) if is_lagging else self._ledger
        self._unshown: deque[list[_Settled]] = deque()
        self._pending: set[TransactionKey] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Carries the error that made the network stop, such as a full disk."""
        self._journal = journal
        self._clock = clock
        self._arrivals: list[_Arrival] = []
        self._changed = asyncio.Event()

    async def submit(self, raw: bytes, node: int) -> Entry | None:
        """Take a serialized transaction to consensus through a node, and onto the disk.

        None when it has been accepted and consensus comes later, as the behaviour asks. One that cannot be
        paid for any more by then never gets there. Raises Refused.
        """
        if self.failed.done() or len(self._arrivals) >= MAX_BATCH or len(self._pending) >= MAX_PENDING:
            raise Refused(ResponseCode.BUSY)
        loop = asyncio.get_running_loop()
        arrival = _Arrival(raw, node, loop.create_future())
        if not self.behaviour.finality_ns:
            self._arrive(arrival)
            return await arrival.answer
        arrival.accepted = self._clock()
        key = self._checked(arrival, arrival.accepted).key
        self._pending.add(key)
        arrival.answer.add_done_callback(lambda answer: self._forget(key, answer))
        loop.call_later(self.behaviour.finality_ns / SECOND_NS, self._arrive, arrival)
        return None

    def is_pending(self, key: TransactionKey) -> bool:
        """Whether a transaction has been accepted and has not reached consensus yet."""
        return key in self._pending

    @property
    def ledger(self) -> Ledger:
        """What is true, and on the disk. Raises LocalnetError once the network has stopped."""
        if self.failed.done():
            raise LocalnetError("the network has stopped: see its log, then start it again")
        return self._ledger

    @property
    def mirror(self) -> Ledger:
        """The ledger as the mirror shows it. Raises LocalnetError once the network has stopped."""
        ledger = self.ledger
        return self._mirror if self.behaviour.mirror_lag_ns else ledger

    @property
    def changed(self) -> asyncio.Event:
        """Set when the mirror next changes; take it before looking, so that no change is missed."""
        return self._changed

    def _arrive(self, arrival: _Arrival) -> None:
        if self.failed.done():
            _answer(arrival, Refused(ResponseCode.BUSY))
            return
        if not self._arrivals:
            asyncio.get_running_loop().call_soon(self._commit)
        self._arrivals.append(arrival)

    def _forget(self, key: TransactionKey, answer: asyncio.Future[Entry]) -> None:
        self._pending.discard(key)
        answer.exception()  # nobody waits for it: seen here, so that asyncio does not report it

    def _commit(self) -> None:
        arrivals, self._arrivals = self._arrivals[:MAX_BATCH], self._arrivals[MAX_BATCH:]
        if self._arrivals:
            asyncio.get_running_loop().call_soon(self._commit)
        if self.failed.done():
            for arrival in arrivals:
                _answer(arrival, Refused(ResponseCode.BUSY))
            return
        try:
            outcomes = [(arrival, self._settle(arrival)) for arrival in arrivals]
            settled = [outcome for _, outcome in outcomes if isinstance(outcome, _Settled)]
            self._journal.append(Ordered(item.entry.time, item.envelope.raw) for item in settled)
        except OSError as fault:
            self._stop(
                arrivals, LocalnetError(f"the journal cannot be written ({fault}): free or replace the disk")
            )
        except Exception as bug:  # noqa: BLE001  half applied: only a restart from the journal is sound again
            self._stop(arrivals, bug)
        else:
            for arrival, outcome in outcomes:
                _answer(arrival, outcome)
            if settled:
                self._announce(settled)

    def _settle(self, arrival: _Arrival) -> _Settled | Refused:
        now = self._clock()
        try:
            if arrival.accepted is None:
                envelope = self._checked(arrival, now)
            else:
                envelope = precheck(self._ledger, arrival.raw, arrival.node, arrival.accepted)
        except Refused as refused:
            return refused
        return _Settled(envelope, apply(self._ledger, envelope, max(now, self._ledger.time + 1)))

    def _checked(self, arrival: _Arrival, now: int) -> Envelope:
        envelope = precheck(self._ledger, arrival.raw, arrival.node, now)
        if envelope.key in self._pending:
            raise Refused(ResponseCode.DUPLICATE_TRANSACTION)
        return envelope

    def _announce(self, settled: list[_Settled]) -> None:
        if not self.behaviour.mirror_lag_ns:
            self._wake()
            return
        self._unshown.append(settled)
        asyncio.get_running_loop().call_later(self.behaviour.mirror_lag_ns / SECOND_NS, self._show)

    def _show(self) -> None:
        for item in self._unshown.popleft():
            apply(self._mirror, item.envelope, item.entry.time)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _stop(self, arrivals: list[_Arrival], fault: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(fault)
        for arrival in arrivals:
            _answer(arrival, Refused(ResponseCode.BUSY))


def replay(journal: Journal) -> Ledger:
    """The ledger that a journal leads to. Raises LocalnetError."""
    begun = journal.genesis
    fees = FeeSchedule.parse(begun.fees)
    if unpriced := KINDS.keys() - fees.transactions.keys():
        raise LocalnetError(f"the price list has no price for {min(unpriced)}: add it, or begin a new ledger")
    ledger = genesis(begun.operator_key, begun.time, fees)
    for ordered in journal.replay():
        try:
            envelope = parse_envelope(ordered.raw)
        except Refused as refused:
            raise LocalnetError(
                f"the journal holds a transaction that cannot be read ({refused})"
            ) from refused
        if envelope.kind not in KINDS or ordered.time <= ledger.time:
            raise LocalnetError("the journal was written by another version: begin in another directory")
        apply(ledger, envelope, ordered.time)
    return ledger


def _answer(arrival: _Arrival, outcome: _Settled | Refused) -> None:
    if arrival.answer.done():  # the client went away while it waited
        return
    if isinstance(outcome, Refused):
        arrival.answer.set_exception(outcome)
    else:
        arrival.answer.set_result(outcome.entry)
