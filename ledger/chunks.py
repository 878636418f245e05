"""From a mirror's entries to whole messages: the history is checked, then its chunks are put together.

Pure, and the same for the daemon and the auditor. The running hash covers all of an entry but its chunk
information: who forges that can make a message vanish or fail its signature, but puts no words in a mouth.
"""

import binascii
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import ValidationError

from ledger.pages import ChunkInfo, MessageEntry, RawEntry, cause_of, nanoseconds
from ledger.running_hash import INITIAL_RUNNING_HASH, next_running_hash
from ledger.topic import HistoryBroken, TopicMessage
from protocol.ids import SECOND, AccountId, Nanoseconds, RunningHash, TopicId, base64url

MAX_CHUNKS = 20
"""Chunks of the longest message that is put together."""
MAX_MESSAGE = 64 * 1024
"""Bytes of the longest message that is put together."""
MAX_OPEN = 64
"""Unfinished messages that are kept at a time."""
CHUNK_WINDOW = Nanoseconds(60 * SECOND)
"""A message that is unfinished this long after its first chunk, in consensus time, is dropped."""

_HASH_VERSION = 3


@dataclass(frozen=True, slots=True)
class Dropped:
    """Chunks that never became a message."""

    sequence: int
    """The sequence number of the first of them."""
    time: Nanoseconds
    """Its consensus time."""
    payer: AccountId
    reason: str
    parts: tuple[bytes, ...] = field(default=(), repr=False)
    """Their bytes, as far as they were kept."""


GroupKey = tuple[str, str, str, int, bool]
"""Payer; then the initial transaction id: account, valid start, nonce, scheduled."""


class Position(NamedTuple):
    """A point of a topic at which no message is unfinished: all that is needed to go on from there."""

    sequence: int
    """Of the last entry before it."""
    time: Nanoseconds
    """Its consensus time."""
    running_hash: bytes
    """The 48 bytes after it."""


@dataclass(slots=True)
class OpenGroup:
    """A message of which some chunks are here."""

    sequence: int
    time: Nanoseconds
    payer: AccountId
    total: int
    parts: dict[int, bytes] = field(default_factory=dict)

    def dropped(self, reason: str) -> Dropped:
        return Dropped(self.sequence, self.time, self.payer, reason, tuple(self.parts.values()))


class History:
    """The verified history of one topic, entry by entry; bounded however long the topic is.

    Starts before the first message, or at a `Position`, whose hash must come from where it was verified.
    """

    def __init__(
        self,
        topic: TopicId,
        sequence: int = 0,
        time: Nanoseconds = Nanoseconds(0),  # noqa: B008 (an integer)
        running_hash: bytes = INITIAL_RUNNING_HASH,
    ) -> None:
        self.topic = topic
        self.sequence = sequence
        """Of the last entry, whole message or chunk."""
        self.time = time
        """Its consensus time."""
        self.running_hash = running_hash
        """The 48 bytes after it."""
        self.open: dict[GroupKey, OpenGroup] = {}
        """Messages of which chunks are missing, in the order of their first chunks."""

    def add(self, raw: RawEntry) -> tuple[TopicMessage | Dropped, ...]:
        """Take the next entry as the mirror returned it; what it completes and what it leaves behind.

        An entry that is refused changes nothing. Raises HistoryBroken.
        """
        entry, body, self.time, self.running_hash = self._verified(raw)
        self.sequence = entry.sequence_number
        return (*self._expired(), *self._take(entry, body))

    @property
    def position(self) -> Position | None:
        """Where it stands, for `History(topic, *position)`; None while a message waits for its other chunks.

        Who went on from there without them would read another message, or none, where everybody else has one.
        """
        return None if self.open else Position(self.sequence, self.time, self.running_hash)

    def unfinished(self) -> tuple[Dropped, ...]:
        """What is still waiting for chunks; at the end of an audit these are dropped too."""
        return tuple(part.dropped("its other chunks are missing") for part in self.open.values())

    def _verified(self, raw: RawEntry) -> tuple[MessageEntry, bytes, Nanoseconds, bytes]:
        """The entry, its bytes, its time and the running hash after it, given that it chains to the last one.

        Raises HistoryBroken.
        """
        expected = self.sequence + 1
        try:
            entry = MessageEntry.model_validate(raw)
            body = _canonical(entry.message)
            claimed = _canonical(entry.running_hash)
        except ValidationError as error:
            raise self._broken(expected, f"the entry is malformed ({cause_of(error)})") from error
        except ValueError as error:
            raise self._broken(expected, "message or running hash is not canonical base64") from error
        if entry.topic_id != self.topic:
            raise self._broken(expected, f"the entry belongs to topic {entry.topic_id}")
        if entry.sequence_number != expected:
            raise self._broken(expected, f"the mirror returned sequence number {entry.sequence_number}")
        time = nanoseconds(entry.consensus_timestamp)
        if time <= self.time:
            raise self._broken(expected, f"its time {time} is not after {self.time}, the time before it")
        if entry.running_hash_version != _HASH_VERSION:
            raise self._broken(
                expected, f"running hash version {entry.running_hash_version}, expected {_HASH_VERSION}"
            )
        computed = next_running_hash(
            self.running_hash, AccountId(entry.payer_account_id), self.topic, time, expected, body
        )
        if computed != claimed:
            raise self._broken(
                expected,
                f"expected running hash {base64url(computed)}, the mirror returned {base64url(claimed)[:64]}",
            )
        return entry, body, time, computed

    def _broken(self, sequence: int, cause: str) -> HistoryBroken:
        return HistoryBroken(
            f"topic {self.topic} breaks at sequence number {sequence}: {cause}; compare with another mirror"
        )

    def _take(self, entry: MessageEntry, body: bytes) -> Iterator[TopicMessage | Dropped]:
        if entry.chunk_info is None:
            yield self._message(entry, body)
            return
        try:
            chunk = ChunkInfo.model_validate(entry.chunk_info)
        except ValidationError as error:
            yield self._refused(entry, body, f"its chunk information is malformed ({cause_of(error)})")
            return
        if chunk.total > MAX_CHUNKS or chunk.number > chunk.total:
            yield self._refused(
                entry, body, f"it is chunk {chunk.number} of {chunk.total}; at most {MAX_CHUNKS} are read"
            )
        elif chunk.total == 1:
            yield self._message(entry, body)
        else:
            yield from self._collect(entry, chunk, body)

    def _collect(
        self, entry: MessageEntry, chunk: ChunkInfo, body: bytes
    ) -> Iterator[TopicMessage | Dropped]:
        initial = chunk.initial_transaction_id
        key = (
            entry.payer_account_id,
            initial.account_id,
            initial.transaction_valid_start,
            initial.nonce or 0,
            bool(initial.scheduled),
        )
        group = self.open.get(key)
        if group is None:
            if len(self.open) == MAX_OPEN:
                yield self._evict()
            payer = AccountId(entry.payer_account_id)
            group = self.open[key] = OpenGroup(self.sequence, self.time, payer, chunk.total)
        if group.total != chunk.total:
            yield self.open.pop(key).dropped(
                f"its chunks disagree on their number: {group.total} or {chunk.total}"
            )
            return
        if group.parts.setdefault(chunk.number, body) != body:
            yield self._refused(entry, body, f"another chunk {chunk.number} of its message came before")
            return
        if sum(map(len, group.parts.values())) > MAX_MESSAGE:
            yield self.open.pop(key).dropped(f"it is longer than {MAX_MESSAGE} bytes")
        elif len(group.parts) == group.total:
            del self.open[key]
            yield self._message(entry, b"".join(group.parts[n] for n in range(1, group.total + 1)))

    def _expired(self) -> Iterator[Dropped]:
        # Groups stand in the order of their first chunks, so the first that is young enough ends the search.
        while self.open:
            key = next(iter(self.open))
            if self.time - self.open[key].time <= CHUNK_WINDOW:
                return
            seconds = CHUNK_WINDOW // SECOND
            yield self.open.pop(key).dropped(f"it was unfinished {seconds} s after its first chunk")

    def _evict(self) -> Dropped:
        """Make room at the expense of who has most unfinished messages, so that a flood drowns itself."""
        flooder, _ = Counter(group.payer for group in self.open.values()).most_common(1)[0]
        key = next(key for key, group in self.open.items() if group.payer == flooder)
        return self.open.pop(key).dropped(f"more than {MAX_OPEN} messages were unfinished at a time")

    def _message(self, entry: MessageEntry, body: bytes) -> TopicMessage:
        return TopicMessage(
            self.topic,
            self.sequence,
            self.time,
            RunningHash(base64url(self.running_hash)),
            AccountId(entry.payer_account_id),
            body,
        )

    def _refused(self, entry: MessageEntry, body: bytes, reason: str) -> Dropped:
        return Dropped(self.sequence, self.time, AccountId(entry.payer_account_id), reason, (body,))


def _canonical(text: str) -> bytes:
    """Bytes from base64 of which every bit counts. Raises ValueError."""
    try:
        given = text.encode()
        data = binascii.a2b_base64(given, strict_mode=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if binascii.b2a_base64(data, newline=False) != given:
        raise ValueError("not canonical base64")
    return data
