"""Records on their way to the topic: each is there once, and again only where its last copy had no effect.

While the ledger is away `step` asks for the same record again and again, and after a crash it asks for what may
be on the topic already. So a record has a key in the outbox: its digest, and how many copies of it we have seen
come back. Whoever is asked for a record that has had an effect does not ask again; one that came too early, or
in vain, may be needed once more.
"""

from typing import TypeVar

import anyio
import structlog

from ledger.outbox import KEEP
from ledger.topic import LedgerError, Topic, TopicMessage, TopicRefused
from protocol.fields import canonical
from protocol.ids import AccountId, Digest, digest_of
from protocol.parse import Record

MAX_SUBMISSIONS = 8
"""Submissions under way at once; beyond that they wait."""
MAX_WAITING = 64
"""Submissions under way or waiting; beyond that they are dropped, and asked for again where they matter."""

_T = TypeVar("_T", int, str)

log = structlog.get_logger("node.submissions")


class Submissions:
    """What one account writes to a topic, and which of it has come back."""

    def __init__(self, topic: Topic, account: AccountId) -> None:
        self._topic = topic
        self._account = account
        self._limit = anyio.CapacityLimiter(MAX_SUBMISSIONS)
        self._waiting: set[bytes] = set()
        self._unfolded: dict[int, Digest] = {}
        # No fewer than the outbox keeps keys: one that it knows must not be used for another copy.
        self._copies: dict[Digest, int] = {}
        self._written: dict[Digest, str] = {}

    def on_read(self, message: TopicMessage) -> None:
        """Note a message of the topic before it is folded."""
        if message.payer == self._account:
            self._unfolded[message.sequence] = digest_of(message.body)

    def on_folded(self, sequence: int) -> None:
        """Note that `step` knows of a message, or is about to: from now on it asks for another copy if it needs one."""
        digest = self._unfolded.pop(sequence, None)
        if digest is not None:
            _note(self._copies, digest, self._copies.get(digest, 0) + 1)

    def key_of(self, record: Record) -> str:
        """The key under which a record that is asked for now is written."""
        digest = digest_of(canonical(record))
        return f"record {digest} {self._copies.get(digest, 0)}"

    async def submit(self, record: Record, key: str) -> None:
        """Write a record, at most once under its key. What fails is logged: `step` asks again where it matters."""
        raw = canonical(record)
        digest = digest_of(raw)
        if raw in self._waiting or self._written.get(digest) == key:
            return
        if len(self._waiting) >= MAX_WAITING:
            log.warning("submission dropped", op=record.op, reason=f"{MAX_WAITING} wait for the ledger")
            return
        self._waiting.add(raw)
        try:
            async with self._limit:
                await self._topic.submit(raw, key=key)
        except TopicRefused as error:
            log.error("submission refused", op=record.op, reason=str(error))
        except LedgerError as error:
            log.warning("submission failed", op=record.op, reason=str(error))
        else:
            _note(self._written, digest, key)
            log.info("submitted", op=record.op)
        finally:
            self._waiting.discard(raw)


def _note(notes: dict[Digest, _T], digest: Digest, value: _T) -> None:
    """Keep the latest notes, as many as there may be."""
    notes.pop(digest, None)
    notes[digest] = value
    if len(notes) > KEEP:
        del notes[next(iter(notes))]
