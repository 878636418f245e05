"""Records on their way to the topic: each is there once, and again only where its last copy had no effect."""

import structlog
from anyio import CapacityLimiter

from ledger.topic import LedgerError, Topic, TopicRefused
from node.copies import note
from protocol.fields import canonical
from protocol.ids import Digest, digest_of
from protocol.parse import Record

MAX_SUBMISSIONS = 8
"""Submissions under way at once; beyond that they wait."""
MAX_WAITING = 64
"""Submissions under way or waiting; beyond that they are dropped, and asked for again where they matter."""

log = structlog.get_logger("node.submissions")


class Submissions:
    """What one account writes to a topic."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._limit = CapacityLimiter(MAX_SUBMISSIONS)
        self._waiting: set[bytes] = set()
        self._written: dict[Digest, str] = {}

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
            note(self._written, digest, key)
            log.info("submitted", op=record.op)
        finally:
            self._waiting.discard(raw)
