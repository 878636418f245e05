"""Reading a run from a mirror into an audit: its messages, the transactions that they name, and its treasury.

A mirror grows while it is read, so the treasury and the messages are read up to one consensus time, the cut: else
what is paid between two requests would look stolen. Of a run without a treasury only the messages are read.
"""

from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import partial

import anyio
from pydantic import ValidationError

from ledger.audit import Audit, judge
from ledger.chunks import Dropped
from ledger.holding import Holding, check_holding
from ledger.lookup import LAG, FileTransfers, MirrorTransfers, parts_of, transfer_of
from ledger.mirror import LAST, Mirror
from ledger.pages import AccountEntry, RawEntry, SavedHistory, TransactionEntry, cause_of, nanoseconds
from ledger.topic import HistoryBroken, LedgerError, TopicMessage
from protocol.errors import ProtocolError
from protocol.fold import Found, lookup, names_transfer
from protocol.ids import EPOCH, AccountId, Nanoseconds
from protocol.parse import parse_record
from protocol.signing import holds
from protocol.transfers import Lookup, Named, TransactionId

MAX_READ = 20_000
"""Transactions of a treasury that are all read; of those after them only what it paid, so that dust stops no audit."""
MAX_DEBITS = 200_000
"""The most payments that one reading takes, about what a saved history holds: only its key holders can make some."""
PAUSES = (0.5, 1.0, 2.0)
"""Seconds to wait before what does not add up is read again: a mirror's machines may differ for a while."""


class Reader:
    """Reads one run from a mirror, bit by bit, into an audit."""

    def __init__(
        self,
        mirror: Mirror,
        result: Audit,
        *,
        heard: Callable[[], None] = lambda: None,
        keep: bool = False,
    ) -> None:
        """heard: called after each message. keep: hold on to all that the mirror returns, for `saved`."""
        self._mirror = mirror
        self._result = result
        self._transfers = MirrorTransfers(mirror)
        # Of what is over for a while a mirror knows all: waiting would make nonsense on the topic expensive.
        self._at_once = MirrorTransfers(mirror, _no_wait)
        self._reached = EPOCH
        self._heard = heard
        self._keep = keep
        self._messages: list[RawEntry] = []
        self._transactions: dict[str, RawEntry] = {}
        self._names: dict[TransactionId, None] = {}
        self._account: RawEntry | None = None
        self._known: set[str] = set()

    async def read(self) -> None:
        """Audit all that the mirror has by now, and its treasury as it is then. Raises LedgerError."""
        await self._read_messages(LAST)
        before = self._result.holding or Holding()
        for pause in (*PAUSES, None):
            treasury = self._treasury
            if treasury is None:
                return
            await self._read_treasury(treasury, before)
            faults = self._faults() - self._known
            if not faults and not self._is_behind:
                return
            if pause is not None:
                await anyio.sleep(pause)
        self._known |= faults
        if self._is_behind:
            raise LedgerError(
                f"the mirror at {self._mirror.url} shows messages later than all that it knows of the ledger; "
                "try again, or use another mirror"
            )

    async def saved(self) -> SavedHistory:
        """All that was read, and the transactions that records name, as the mirror returned it. Raises LedgerError."""
        for parts in filter(None, map(parts_of, self._names)):
            for entry in await self._mirror.transaction(*parts):
                self._transactions.setdefault(entry["consensus_timestamp"], entry)
        order = sorted(self._transactions, key=nanoseconds)
        accounts = () if self._account is None else (self._account,)
        return SavedHistory(tuple(self._messages), tuple(self._transactions[t] for t in order), accounts)

    @property
    def _treasury(self) -> AccountId | None:
        state = self._result.state
        return None if state is None or self._result.broken else state.money.treasury

    @property
    def _is_behind(self) -> bool:
        holding = self._result.holding
        return holding is None or holding.cut < self._result.history.time

    def _faults(self) -> set[str]:
        result = self._result
        if result.state is None or result.holding is None:
            return set()
        return {fault.reason for fault in check_holding(result.state, result.holding, result.book).faults}

    async def _read_messages(self, until: Nanoseconds) -> None:
        """Audit the messages that the mirror has up to a consensus time."""
        result = self._result
        await self._judge_waiting()
        async with aclosing(self._mirror.messages(result.topic, result.sequence)) as entries:
            async for entry in entries:
                if result.broken or (until < LAST and _time_shown(entry) > until):
                    return
                if self._keep:
                    self._messages.append(entry)
                try:
                    result.waiting.extend(result.read(entry))
                except HistoryBroken as error:
                    result.break_off(error)
                await self._judge_waiting()
                self._heard()

    async def _judge_waiting(self) -> None:
        # What cannot be looked up now waits: a message must neither be lost nor judged twice.
        waiting = self._result.waiting
        while waiting:
            message = waiting[0]
            if isinstance(message, Dropped):
                self._result.take(message)
            else:
                found = await self._found(message)
                self._result.take(judge(self._result.state, message, holds, partial(_known, found)))
            waiting.popleft()

    async def _found(self, message: TopicMessage) -> Found:
        if not names_transfer(message.body):
            return ()
        with suppress(ProtocolError):
            wanted = lookup(self._result.state, parse_record(message.body), message.stamp)
            if isinstance(wanted, Named):
                self._names[wanted.id] = None
            return () if wanted is None else await (await self._transfers_at(message.time)).find(wanted)
        return ()

    async def _transfers_at(self, time: Nanoseconds) -> MirrorTransfers:
        if self._reached < time + LAG:
            self._reached = await self._mirror.latest()
        return self._transfers if self._reached < time + LAG else self._at_once

    async def _read_treasury(self, treasury: AccountId, before: Holding) -> None:
        """Take what is new of the treasury, and the messages up to then."""
        latest = await self._mirror.latest()
        page = await self._mirror.account_page(treasury)
        after = before.with_account(account_of(page))
        # Mirrors date a balance by its last change, which may be long ago; it holds until now.
        after.cut = max(latest, after.balance_time)
        if before.account is None or before.balance != after.balance:
            await self._read_moves(treasury, after)
        await self._read_messages(after.cut)
        if self._result.state is not None:
            after.forget(self._result.state.money)
        self._account = page
        self._result.holding = after

    async def _read_moves(self, treasury: AccountId, holding: Holding) -> None:
        """Take the transactions up to the cut: all of them at first, then those that the treasury paid."""
        since, left = Nanoseconds(holding.reached + 1), max(0, MAX_READ - holding.read)
        if since > holding.cut:
            return
        entries: tuple[RawEntry, ...] = ()
        if left:
            entries = await self._mirror.transactions(treasury, since, holding.cut, limit=left, is_part=True)
            holding.read += len(entries)
        if len(entries) == left:
            if entries:
                since = Nanoseconds(nanoseconds(entries[-1]["consensus_timestamp"]) + 1)
            entries += await self._mirror.transactions(
                treasury, since, holding.cut, debits=True, limit=MAX_DEBITS
            )
        holding.take(treasury, (transfer_of(TransactionEntry.model_validate(entry)) for entry in entries))
        if entries:
            holding.reached = nanoseconds(entries[-1]["consensus_timestamp"])
        if self._keep:
            self._transactions |= {entry["consensus_timestamp"]: entry for entry in entries}


def take_saved(result: Audit, history: SavedHistory, transfers: FileTransfers) -> None:
    """Take the treasury of an audit as a saved history shows it. Raises LedgerError."""
    treasury = None if result.state is None else result.state.money.treasury
    if treasury is None:
        return
    pages = [account_of(page) for page in history.accounts]
    page = next((page for page in pages if page.account == treasury), None)
    holding = (result.holding or Holding()).with_account(page)
    holding.cut = LAST  # no message in the file is later than what is in it of the treasury
    holding.take(treasury, transfers.moving(treasury))
    result.holding = holding


def account_of(page: RawEntry) -> AccountEntry:
    """An account as a mirror shows it. Raises LedgerError."""
    try:
        return AccountEntry.model_validate(page)
    except ValidationError as error:
        raise LedgerError(
            f"a malformed account ({cause_of(error)}); use another mirror, or save again"
        ) from error


async def _no_wait(seconds: float) -> None:
    pass


def _known(found: Found, wanted: Lookup) -> Found:
    return found


def _time_shown(entry: RawEntry) -> Nanoseconds:
    """The time of an entry, 0 where it shows none: what is wrong with it is for the history to say."""
    shown = entry.get("consensus_timestamp")
    seconds, _, nanos = shown.partition(".") if isinstance(shown, str) else ("", "", "")
    if not (seconds + nanos).isascii() or not seconds.isdigit() or not nanos.isdigit() or len(nanos) != 9:
        return Nanoseconds(0)
    return nanoseconds(f"{seconds}.{nanos}") if len(seconds) <= 10 else Nanoseconds(0)
