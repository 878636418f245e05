"""The topic port: what Roundabout needs of a consensus topic, and nothing more (SPEC.md, Three places)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from protocol.ids import AccountId, Nanoseconds, RunningHash, TopicId
from protocol.records import Stamp


class LedgerError(Exception):
    """The ledger could not be reached, or refused; the message names cause and remedy."""


class TopicRefused(LedgerError):
    """The network refused a submission for good: trying the same again cannot help."""


class HistoryBroken(LedgerError):
    """What the mirror serves does not chain: a gap, a wrong running hash, or time that runs backwards."""


@dataclass(frozen=True, slots=True)
class TopicMessage:
    """One whole message as consensus ordered it; a chunked one counts as the chunk that completed it."""

    topic: TopicId
    sequence: int
    """The sequence number of the completing chunk, from 1."""
    time: Nanoseconds
    """Its consensus time."""
    running_hash: RunningHash
    """The topic's running hash after it."""
    payer: AccountId
    body: bytes

    @property
    def stamp(self) -> Stamp:
        """Where consensus put it, as the fold is told."""
        return Stamp(self.sequence, self.time, self.running_hash)


class Topic(Protocol):
    """A consensus topic: an append-only, totally ordered, timestamped list of messages."""

    async def submit(self, body: bytes, *, key: str | None = None) -> None:
        """Put a message on the topic, in chunks where it is long, and wait for its receipt.

        A key names this message: however often it is submitted, also after a crash, it is on the topic once.
        Raises TopicRefused when it can never succeed, LedgerError when the network stays out of reach.
        """

    def follow(self) -> AsyncIterator[TopicMessage | None]:
        """Every message of the topic from the first, in order, verified, without end.

        Yields None once, when all that the mirror had at the start has been read. Survives outages by itself.
        Raises HistoryBroken when the history does not chain.
        """
