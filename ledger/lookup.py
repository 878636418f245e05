"""What a record says of money, looked up: the transactions that a mirror shows, or that a saved history holds.

All readers must find the same, so what is found depends on the ledger alone: not on when it was looked up, nor
on what else a mirror answers. Needs no Hedera SDK.
"""

import base64
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import anyio
from pydantic import ValidationError

from ledger.mirror import LAST, Mirror
from ledger.pages import RawEntry, TransactionEntry, cause_of, is_transaction_id, nanoseconds
from ledger.topic import LedgerError
from protocol.errors import ProtocolError
from protocol.fold import lookup as lookup_of
from protocol.ids import SECOND, AccountId, Nanoseconds, Tinybar
from protocol.parse import parse_record
from protocol.records import Stamp
from protocol.state import RunState
from protocol.transfers import SCHEDULED, Lookup, Named, Outgoing, TransactionId, Transfer

PAUSES = (0.25, 0.5, 1.0)
"""Seconds to wait before each time that a mirror is asked again for what it does not show yet."""
LAG = Nanoseconds(10 * SECOND)
"""How far the machines of a mirror may be apart, in consensus time."""
LONGEST_WAY = Nanoseconds(35 * 60 * SECOND)
"""From the start of a transaction's validity to its consensus time; mirrors look no further."""
LONGEST_SCHEDULE = Nanoseconds(62 * 24 * 3600 * SECOND)
"""And from there to the consensus time of what it scheduled."""

_DUPLICATE = "DUPLICATE_TRANSACTION"


class Transfers(Protocol):
    """Where transactions are looked up."""

    async def find(self, lookup: Lookup) -> tuple[Transfer, ...]:
        """What is found, oldest first; for a `Named` at most one. Raises LedgerError."""


async def found_for(
    transfers: Transfers, state: RunState | None, raw: bytes, stamp: Stamp
) -> tuple[Transfer, ...]:
    """What a reader hands the fold with a topic message. Raises LedgerError."""
    try:
        wanted = lookup_of(state, parse_record(raw), stamp)
    except ProtocolError:
        return ()
    return () if wanted is None else await transfers.find(wanted)


class MirrorTransfers:
    """The transactions that a mirror shows.

    A public mirror is several machines, some a little behind the others. So one that does not know a transaction
    is asked again, unless it shows times at which that transaction can no longer come; and before what was paid
    until just now is read, the others get the same time to catch up. That makes a part of it unlikely, no more:
    a fold should ask for what is over for a while.
    """

    def __init__(self, mirror: Mirror, sleep: Callable[[float], Awaitable[object]] = anyio.sleep) -> None:
        self._mirror = mirror
        self._sleep = sleep
        self._reached = Nanoseconds(0)

    async def find(self, lookup: Lookup) -> tuple[Transfer, ...]:
        """What the mirror shows, oldest first. Raises LedgerError, also when it is still behind a time asked for."""
        return await (self._named(lookup) if isinstance(lookup, Named) else self._outgoing(lookup))

    async def _named(self, lookup: Named) -> tuple[Transfer, ...]:
        # Whoever may write to a topic may name anything; what cannot exist is not asked for.
        parts = parts_of(lookup.id)
        if parts is None:
            return ()
        for pause in (*PAUSES, None):
            entries = await self._mirror.transaction(*parts)
            found = named(lookup, map(transfer_of, map(TransactionEntry.model_validate, entries)))
            if found or pause is None or await self._has_reached(_latest(*parts)):
                return found
            await self._sleep(pause)
        raise AssertionError("the last pause is None")

    async def _outgoing(self, lookup: Outgoing) -> tuple[Transfer, ...]:
        since, until = lookup.since, Nanoseconds(min(lookup.until, LAST))
        if since > until:
            return ()
        for pause in PAUSES:
            if await self._has_reached(Nanoseconds(until + LAG)):
                break
            await self._sleep(pause)
        else:
            await self._check_reached(until)
        entries = await self._mirror.transactions(lookup.account, since, until, debits=True)
        found = map(transfer_of, map(TransactionEntry.model_validate, entries))
        return tuple(transfer for transfer in found if transfer.moved(lookup.account) < 0)

    async def _check_reached(self, time: Nanoseconds) -> None:
        if not await self._has_reached(time):
            raise LedgerError(
                f"the mirror at {self._mirror.url} is behind: it shows nothing after {self._reached}, and {time} "
                "was asked for; try again, or use another mirror"
            )

    async def _has_reached(self, time: Nanoseconds) -> bool:
        """Whether the mirror has shown a transaction at this consensus time or later."""
        if self._reached < time:
            self._reached = max(self._reached, await self._mirror.latest())
        return self._reached >= time


class FileTransfers:
    """The transactions of a saved history: what is not in it did not happen."""

    def __init__(self, entries: Iterable[RawEntry]) -> None:
        """Entries as a mirror returned them, in any order, some more than once. Raises LedgerError."""
        by_time: dict[Nanoseconds, Transfer] = {}
        for entry in entries:
            transfer = _parsed(entry)
            if by_time.setdefault(transfer.time, transfer) != transfer:
                raise LedgerError(
                    f"the saved history has two transactions at {entry['consensus_timestamp']}; save it again"
                )
        self._by_id: dict[TransactionId, list[Transfer]] = {}
        self._moves: dict[AccountId, list[Transfer]] = {}
        self._debits: dict[AccountId, list[Transfer]] = {}
        for _, transfer in sorted(by_time.items()):
            self._by_id.setdefault(transfer.id, []).append(transfer)
            for account, amount in transfer.moves:
                self._moves.setdefault(account, []).append(transfer)
                if amount < 0:
                    self._debits.setdefault(account, []).append(transfer)

    def moving(self, account: AccountId) -> tuple[Transfer, ...]:
        """All that moved an account's money, oldest first."""
        return tuple(self._moves.get(account, ()))

    async def find(self, lookup: Lookup) -> tuple[Transfer, ...]:
        """What the history holds, oldest first. Raises LedgerError."""
        return self.found(lookup)

    def found(self, lookup: Lookup) -> tuple[Transfer, ...]:
        """The same without waiting. Raises LedgerError."""
        if isinstance(lookup, Named):
            return named(lookup, self._by_id.get(lookup.id, []))
        debits = self._debits.get(lookup.account, [])
        start = bisect_left(debits, lookup.since, key=_time)
        return tuple(debits[start : bisect_right(debits, lookup.until, key=_time)])


def transfer_of(entry: TransactionEntry) -> Transfer:
    """The transaction that an entry shows; bytes of a memo that are no UTF-8 are replaced, as Unicode advises."""
    moves: dict[AccountId, int] = {}
    for line in entry.transfers:
        moves[AccountId(line.account)] = moves.get(AccountId(line.account), 0) + line.amount
    suffix = SCHEDULED if entry.scheduled else ""
    if entry.nonce:
        suffix += f"/{entry.nonce}"  # as the SDKs write it, so that nothing it calls up has its name
    return Transfer(
        id=TransactionId(entry.transaction_id + suffix),
        name=entry.name,
        result=entry.result,
        time=nanoseconds(entry.consensus_timestamp),
        memo=base64.b64decode(entry.memo_base64 or "").decode(errors="replace"),
        fee=Tinybar(entry.charged_tx_fee),
        moves=tuple(sorted((account, amount) for account, amount in moves.items() if amount)),
    )


def named(lookup: Named, transfers: Iterable[Transfer]) -> tuple[Transfer, ...]:
    """The one transaction of that id, if any: its success, or the first that was not.

    A network lets an id succeed once; a node may still bring it to consensus more often, as a duplicate or in a
    form that nobody signed. Raises LedgerError when it succeeds twice.
    """
    same = sorted((t for t in transfers if t.id == lookup.id and t.result != _DUPLICATE), key=_time)
    done = [transfer for transfer in same if transfer.succeeded]
    if len(done) > 1:
        raise LedgerError(
            f"transaction {lookup.id} is shown to succeed twice, which no network allows; use another mirror"
        )
    return tuple((done or same)[:1])


def parts_of(name: TransactionId) -> tuple[str, bool] | None:
    """A transaction id without its mark, and whether it is a scheduled one's; None for what is no such id."""
    plain = name.removesuffix(SCHEDULED)
    return (plain, plain != name) if is_transaction_id(plain) else None


def _parsed(entry: RawEntry) -> Transfer:
    try:
        return transfer_of(TransactionEntry.model_validate(entry))
    except ValidationError as error:
        raise LedgerError(
            f"the saved history has a malformed transaction ({cause_of(error)}); save it again"
        ) from error


def _time(transfer: Transfer) -> Nanoseconds:
    return transfer.time


def _latest(plain: str, is_scheduled: bool) -> Nanoseconds:
    """The last consensus time at which a transaction of this id may still come."""
    _, seconds, nanos = plain.split("-")
    latest = int(seconds) * SECOND + int(nanos) + LONGEST_WAY
    return Nanoseconds(latest + LONGEST_SCHEDULE if is_scheduled else latest)
