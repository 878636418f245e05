"""What an account is about to send, on disk before it is sent: a crash neither loses nor repeats any of it.

LedgerError
  OutboxError    the file cannot be used, or is full
    KeyTaken     a key stands for another deed
  OverBudget     what was asked for would exceed the spend limit of an hour

A transaction id takes effect once at most, so an entry is sent under one id, again and again, until its fate
is known; it gets a new id only once it is certain that the old one never took effect.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ledger.topic import LedgerError
from protocol.errors import shown
from protocol.ids import AccountId, Nanoseconds, Tinybar, TopicId, digest_of

CHUNK = 1_024
"""Bytes of a topic message that fit one transaction."""
MAX_PAYEES = 9
"""Accounts that one transfer can pay: it has ten lines, and one is the payer's."""
FEE_CAP = Tinybar(20_000_000)
"""The most that one message chunk or transfer may cost in fees; the network refuses what costs more."""
DEFAULT_SPEND_LIMIT = Tinybar(2_500_000_000)
"""Tinybar an hour: 25 hbar, about 3,000 one-chunk messages at $0.10 an hbar."""
UNLIMITED = Tinybar(2**62)
"""A limit that nobody's money reaches."""
MAX_PENDING = 256
"""Entries that may be unfinished at a time."""
KEEP = 10_000
"""Finished entries that are kept, for as long as their keys are to be recognised."""

_MINUTES = 60
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    body BLOB NOT NULL,
    amount INTEGER NOT NULL,
    start INTEGER NOT NULL,
    state TEXT NOT NULL,
    status TEXT NOT NULL,
    minute INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    priced INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS by_name ON entries (owner, name);
CREATE INDEX IF NOT EXISTS by_state ON entries (owner, state, priced);
CREATE TABLE IF NOT EXISTS spent (minute INTEGER PRIMARY KEY, amount INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS clock (only INTEGER PRIMARY KEY CHECK (only = 1), start INTEGER NOT NULL) STRICT;
"""
_COLUMNS = "id, kind, target, body, amount, start, state, status, minute, reserved"

State = Literal["pending", "done", "refused"]


class OutboxError(LedgerError):
    """The outbox cannot be used, or holds too much; nothing was sent."""


class KeyTaken(OutboxError):
    """A key stands for another deed; nothing was sent."""


class OverBudget(LedgerError):
    """The spend limit forbids it for now; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message for a topic."""

    topic: TopicId
    body: bytes

    @property
    def chunks(self) -> int:
        """Transactions that it takes, with valid starts one nanosecond apart."""
        return -(-len(self.body) // CHUNK)


@dataclass(frozen=True, slots=True)
class Payment:
    """Money for an account."""

    to: AccountId
    amount: Tinybar
    memo: str

    @property
    def chunks(self) -> int:
        """One transaction."""
        return 1


Deed = Message | Payment


@dataclass(frozen=True, slots=True)
class Entry:
    """One deed and what became of it."""

    id: int
    deed: Deed
    start: Nanoseconds
    """Valid start of its (first) transaction; with the account that pays it makes the transaction's id."""
    state: State
    status: str
    """The network's response code, once it is settled."""
    minute: int
    """The minute since the epoch in which its cost is counted."""
    reserved: Tinybar
    """The cost that is counted: the most it can be until it is known."""


class Outbox:
    """The deeds of a node's accounts, on disk before a call returns; a call blocks for a disk write.

    Only one process may have it open.
    """

    def __init__(
        self, database: sqlite3.Connection, path: Path | None, limit: Tinybar, now: Callable[[], int]
    ) -> None:
        self._database = database
        self._path = path
        self._limit = limit
        self._now = now

    @classmethod
    def open(
        cls,
        path: Path | None,
        limit: Tinybar = DEFAULT_SPEND_LIMIT,
        now: Callable[[], int] = time.time_ns,
    ) -> "Outbox":
        """Open or make the file, mode 0600; without a path in memory. Raises OutboxError.

        limit: tinybar an hour, fees and transfers together.
        """
        database = None
        try:
            if path is not None:
                path.touch(mode=0o600)
            database = sqlite3.connect(
                path or ":memory:", timeout=5.0, isolation_level=None, check_same_thread=False
            )
            database.execute("PRAGMA journal_mode = WAL")
            # What was sent but is not on the disk would be sent again after a power cut.
            database.execute("PRAGMA synchronous = FULL")
            database.executescript(_SCHEMA)
            (health,) = database.execute("PRAGMA quick_check(1)").fetchone()
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:  # a damaged file's text may be no UTF-8
            if database is not None:
                database.close()
            raise OutboxError(f"cannot open the outbox {path}: {shown(error)}; {_REMEDY}") from error
        if health != "ok":
            database.close()
            raise OutboxError(f"the outbox {path} is damaged: {shown(health)}; {_REMEDY}")
        return cls(database, path, limit, now)

    def close(self) -> None:
        """Close the file; the outbox is not used afterwards."""
        self._database.close()

    def __enter__(self) -> "Outbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def last_start(self) -> Nanoseconds:
        """The latest valid start that was ever given out, 0 before the first. Raises OutboxError."""
        with self._changing() as database:
            row = database.execute("SELECT start FROM clock").fetchone()
        return Nanoseconds(0 if row is None else row[0])

    def enqueue(self, owner: str, deed: Deed, key: str | None, start: Nanoseconds) -> Entry:
        """Note a deed that is about to be sent from a valid start on, and reserve the most it can cost.

        owner: network and account. With a key a deed is noted once for as long as it is kept, unless it was
        refused; without one, what is the same and unfinished is the same deed. Returns what there was then,
        whose start is another. Raises OverBudget, OutboxError.
        """
        name = f"key {key}" if key is not None else _content(deed)
        with self._changing() as database:
            states = ("pending", "done") if key is not None else ("pending", "pending")
            found = database.execute(
                f"SELECT {_COLUMNS} FROM entries WHERE owner = ? AND name = ? AND state IN (?, ?)",
                (owner, name, *states),
            ).fetchone()
            if found is not None:
                entry = _entry(found)
                if entry.deed != deed:
                    raise KeyTaken(
                        f"the key {key!r} stands for another deed; nothing was sent: use another key"
                    )
                return entry
            (unfinished,) = database.execute(
                "SELECT count(*) FROM entries WHERE state = 'pending'"
            ).fetchone()
            if unfinished >= MAX_PENDING:
                raise OutboxError(
                    f"{unfinished} transactions are unfinished in the outbox {self._path}; nothing was sent: "
                    "is the network up? check [ledger] nodes"
                )
            minute, reserved = self._reserve(database, cost_cap(deed))
            kind, target, body, amount = _columns(deed)
            identity = database.execute(
                "INSERT INTO entries (owner, name, kind, target, body, amount, start, state, status,"
                " minute, reserved, priced) VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', '', ?, ?, 0)",
                (owner, name, kind, target, body, amount, start, minute, reserved),
            ).lastrowid
            _advance(database, start)
            _prune(database)
        if identity is None:
            raise OutboxError(f"the outbox {self._path} did not take an entry; {_REMEDY}")
        return Entry(identity, deed, start, "pending", "", minute, reserved)

    def note(self, start: Nanoseconds, cost: Tinybar) -> None:
        """Note a transaction that is not kept, with the most it can cost. Raises OverBudget, OutboxError."""
        with self._changing() as database:
            self._reserve(database, cost)
            _advance(database, start)

    def refund(self, cost: Tinybar) -> None:
        """Count less by what was noted and then not spent. Raises OutboxError."""
        with self._changing() as database:
            _spend(database, self._minute(), -cost)

    def pending(self, owner: str) -> tuple[Entry, ...]:
        """An account's unfinished entries, oldest first. Raises OutboxError."""
        return self._entries(owner, "state = 'pending'")

    def unpriced(self, owner: str) -> tuple[Entry, ...]:
        """Its settled entries of the last hour whose fees are not known yet. Raises OutboxError."""
        return self._entries(owner, f"state != 'pending' AND priced = 0 AND minute > {self._horizon()}")

    def settle(self, entry: Entry, state: State, status: str) -> Entry:
        """Note what became of an entry; of one that is refused no money moved. Raises OutboxError."""
        reserved = _fees_cap(entry.deed) if state == "refused" else entry.reserved
        with self._changing() as database:
            database.execute(
                "UPDATE entries SET state = ?, status = ?, reserved = ? WHERE id = ?",
                (state, status, reserved, entry.id),
            )
            _spend(database, entry.minute, reserved - entry.reserved)
        return replace(entry, state=state, status=status, reserved=Tinybar(reserved))

    def renew(self, entry: Entry, start: Nanoseconds) -> Entry:
        """Give an entry a new id, now that its old one can no longer take effect.

        Its cost is counted anew, in this hour. Raises OverBudget, OutboxError.
        """
        with self._changing() as database:
            _spend(database, entry.minute, -entry.reserved)
            minute, reserved = self._reserve(database, cost_cap(entry.deed))
            database.execute(
                "UPDATE entries SET start = ?, minute = ?, reserved = ? WHERE id = ?",
                (start, minute, reserved, entry.id),
            )
            _advance(database, start)
        return replace(entry, start=start, minute=minute, reserved=reserved)

    def price(self, entry: Entry, fees: Tinybar) -> None:
        """Count what a settled entry has cost in place of the most it could. Raises OutboxError."""
        moved = entry.deed.amount if isinstance(entry.deed, Payment) and entry.state == "done" else 0
        with self._changing() as database:
            database.execute(
                "UPDATE entries SET priced = 1, reserved = ? WHERE id = ?", (fees + moved, entry.id)
            )
            _spend(database, entry.minute, fees + moved - entry.reserved)

    def spent(self) -> Tinybar:
        """What the last hour has cost, reservations included. Raises OutboxError."""
        with self._changing() as database:
            return self._spent(database)

    def _entries(self, owner: str, condition: str) -> tuple[Entry, ...]:
        with self._changing() as database:
            select = f"SELECT {_COLUMNS} FROM entries WHERE owner = ? AND {condition} ORDER BY start"
            return tuple(_entry(row) for row in database.execute(select, (owner,)))

    def _reserve(self, database: sqlite3.Connection, cost: Tinybar) -> tuple[int, Tinybar]:
        """Count a cost in this minute. Raises OverBudget."""
        spent = self._spent(database)
        if spent + cost > self._limit:
            raise OverBudget(
                f"spending {cost} tinybar more would exceed the limit of {self._limit} tinybar an hour, of which "
                f"{spent} are spent or reserved; nothing was sent: wait, or raise [ledger] spend_limit"
            )
        minute = self._minute()
        _spend(database, minute, cost)
        database.execute("DELETE FROM spent WHERE minute <= ?", (self._horizon(),))
        return minute, cost

    def _spent(self, database: sqlite3.Connection) -> Tinybar:
        select = "SELECT coalesce(sum(amount), 0) FROM spent WHERE minute > ?"
        (spent,) = database.execute(select, (self._horizon(),)).fetchone()
        return Tinybar(spent)

    def _minute(self) -> int:
        return self._now() // 60_000_000_000

    def _horizon(self) -> int:
        # A minute more than an hour, since the first of them may have just ended when it was counted.
        return self._minute() - _MINUTES - 1

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing. Raises OutboxError."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise OutboxError(f"cannot use the outbox {self._path}: {shown(error)}; {_REMEDY}") from error


def cost_cap(deed: Deed) -> Tinybar:
    """The most that a deed can cost: capped fees, and the money that it moves."""
    moved = deed.amount if isinstance(deed, Payment) else 0
    return Tinybar(_fees_cap(deed) + moved)


def _fees_cap(deed: Deed) -> Tinybar:
    return Tinybar(deed.chunks * FEE_CAP)


def _advance(database: sqlite3.Connection, start: Nanoseconds) -> None:
    database.execute(
        "INSERT INTO clock VALUES (1, ?) ON CONFLICT (only) DO UPDATE SET start = max(start, excluded.start)",
        (start,),
    )


def _spend(database: sqlite3.Connection, minute: int, amount: int) -> None:
    insert = (
        "INSERT INTO spent VALUES (?, ?) ON CONFLICT (minute) DO UPDATE SET amount = amount + excluded.amount"
    )
    database.execute(insert, (minute, amount))


def _prune(database: sqlite3.Connection) -> None:
    database.execute(
        "DELETE FROM entries WHERE id <= (SELECT max(id) FROM entries) - ? AND state != 'pending'", (KEEP,)
    )


def _content(deed: Deed) -> str:
    kind, target, body, amount = _columns(deed)
    return f"{kind} {target} {amount} {digest_of(body)}"


def _columns(deed: Deed) -> tuple[str, str, bytes, int]:
    if isinstance(deed, Message):
        return "message", deed.topic, deed.body, 0
    return "payment", deed.to, deed.memo.encode(), deed.amount


def _entry(row: tuple[int, str, str, bytes, int, int, State, str, int, int]) -> Entry:
    identity, kind, target, body, amount, start, state, status, minute, reserved = row
    deed: Deed
    if kind == "message":
        deed = Message(TopicId(target), body)
    else:
        deed = Payment(AccountId(target), Tinybar(amount), body.decode())
    return Entry(identity, deed, Nanoseconds(start), state, status, minute, Tinybar(reserved))


_REMEDY = (
    "free the disk; should the file be lost, wait 5 minutes and compare the account's transactions with what "
    "you meant to send"
)
