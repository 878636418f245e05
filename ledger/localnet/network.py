"""The network: the ledger, its journal and the clock, on one event loop.

Transactions that arrive together are ordered, applied, written and flushed in one uninterrupted step, and
answered after it: nothing else runs in between, so no reader can see what is not on disk.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ledger.hiero import ResponseCode
from ledger.localnet.envelope import parse_envelope
from ledger.localnet.errors import LocalnetError, Refused
from ledger.localnet.journal import MAX_BATCH, Journal, Ordered
from ledger.localnet.precheck import precheck
from ledger.localnet.state import Entry, Ledger, genesis
from ledger.localnet.transactions import KINDS, apply


@dataclass(slots=True)
class _Arrival:
    raw: bytes
    node: int
    answer: asyncio.Future[Entry]


class LocalNetwork:
    """One ledger that accepts transactions; lives on the event loop that made it."""

    def __init__(self, journal: Journal, clock: Callable[[], int]) -> None:
        """Replay a journal. clock: nanoseconds since the epoch. Raises LocalnetError when it cannot be."""
        self._ledger = replay(journal)
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Carries the error that made the network stop, such as a full disk."""
        self._journal = journal
        self._clock = clock
        self._arrivals: list[_Arrival] = []
        self._changed = asyncio.Event()

    async def submit(self, raw: bytes, node: int) -> Entry:
        """Take a serialized transaction to consensus through a node, and onto the disk. Raises Refused."""
        if self.failed.done() or len(self._arrivals) >= MAX_BATCH:
            raise Refused(ResponseCode.BUSY)
        loop = asyncio.get_running_loop()
        if not self._arrivals:
            loop.call_soon(self._commit)
        arrival = _Arrival(raw, node, loop.create_future())
        self._arrivals.append(arrival)
        return await arrival.answer

    @property
    def ledger(self) -> Ledger:
        """What is true, and on the disk. Raises LocalnetError once the network has stopped."""
        if self.failed.done():
            raise LocalnetError("the network has stopped: see its log, then start it again")
        return self._ledger

    @property
    def changed(self) -> asyncio.Event:
        """Set when the ledger next changes; take it before looking, so that no change is missed."""
        return self._changed

    def _commit(self) -> None:
        arrivals, self._arrivals = self._arrivals, []
        try:
            settled = [(arrival, self._settle(arrival)) for arrival in arrivals]
            ordered = [
                Ordered(entry.time, arrival.raw)
                for arrival, entry in settled
                if not isinstance(entry, Refused)
            ]
            self._journal.append(ordered)
        except OSError as fault:
            self._stop(
                arrivals, LocalnetError(f"the journal cannot be written ({fault}): free or replace the disk")
            )
        except Exception as bug:  # noqa: BLE001  half applied: only a restart from the journal is sound again
            self._stop(arrivals, bug)
        else:
            for arrival, outcome in settled:
                _answer(arrival, outcome)
            if ordered:
                self._changed.set()
                self._changed = asyncio.Event()

    def _settle(self, arrival: _Arrival) -> Entry | Refused:
        now = self._clock()
        try:
            envelope = precheck(self._ledger, arrival.raw, arrival.node, now)
        except Refused as refused:
            return refused
        return apply(self._ledger, envelope, max(now, self._ledger.time + 1))

    def _stop(self, arrivals: list[_Arrival], fault: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(fault)
        for arrival in arrivals:
            _answer(arrival, Refused(ResponseCode.BUSY))


def replay(journal: Journal) -> Ledger:
    """The ledger that a journal leads to. Raises LocalnetError."""
    ledger = genesis(journal.genesis.operator_key, journal.genesis.time)
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


def _answer(arrival: _Arrival, outcome: Entry | Refused) -> None:
    if arrival.answer.done():  # the client went away while it waited
        return
    if isinstance(outcome, Refused):
        arrival.answer.set_exception(outcome)
    else:
        arrival.answer.set_result(outcome)
