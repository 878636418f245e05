"""A run as a mirror shows it, for commands: the same fold as the daemon's, up to where the topic ends now."""

from contextlib import aclosing
from dataclasses import dataclass

import anyio

from ledger.chunks import History
from ledger.lookup import MirrorTransfers, Transfers, found_for
from ledger.mirror import Mirror
from ledger.topic import LedgerError, TopicMessage
from protocol.errors import ProtocolError
from protocol.fold import apply, lookup, read
from protocol.ids import EPOCH, Digest, Nanoseconds, RunningHash, TopicId, base64url, digest_of
from protocol.parse import Record
from protocol.records import Stamp
from protocol.state import RunState
from protocol.transfers import Lookup, Transfer

PATIENCE = 60.0
"""Seconds for which a mirror may be behind what was submitted."""
POLL_SECONDS = 0.25
MAX_FATES = 10_000
"""Messages whose fate is remembered, the last ones."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a message."""

    sequence: int
    reason: str | None
    """Why it had no effect; None where it had one."""


class Reading:
    """A run's state, read as far as `catch_up` has come; bounded however long the topic is."""

    def __init__(self, mirror: Mirror, topic: TopicId, transfers: Transfers | None = None) -> None:
        self.topic = topic
        self.state: RunState | None = None
        self._mirror = mirror
        self._transfers = MirrorTransfers(mirror) if transfers is None else transfers
        self._history = History(topic)
        self._fates: dict[Digest, Fate] = {}

    @property
    def run(self) -> RunState:
        """The state of the run. Raises LedgerError while the topic holds none."""
        if self.state is None:
            raise LedgerError(f"topic {self.topic} holds no run; check the topic")
        return self.state

    async def catch_up(self) -> RunState:
        """The state at the topic's present end. Raises LedgerError, HistoryBroken."""
        async with aclosing(self._mirror.messages(self.topic, self._history.sequence)) as entries:
            async for entry in entries:
                for message in self._history.add(entry):
                    if isinstance(message, TopicMessage):
                        await self._take(message)
        return self.run

    def fate(self, body: bytes) -> Fate | None:
        """What became of a message with this body: its effect, where one of several had one; None: none is there."""
        return self._fates.get(digest_of(body))

    async def wait_for(self, body: bytes, after: int = 0) -> Fate:
        """What became of a message that was submitted, once the mirror shows it; `after` is where it was before.

        Raises LedgerError.
        """
        with anyio.move_on_after(PATIENCE):
            while True:
                await self.catch_up()
                fate = self.fate(body)
                if fate is not None and fate.sequence > after:
                    return fate
                await anyio.sleep(POLL_SECONDS)
        raise LedgerError("it was submitted, but the mirror does not show it yet; look again in a while")

    async def dry_run(self, record: Record) -> RunState:
        """The state that a record would lead to, were it next. Raises ProtocolError, LedgerError."""
        before = self.next_stamp()
        found = await self.find(lookup(self.run, record, before))
        return apply(self.run, record, self.next_stamp(found), found)

    def next_stamp(self, found: tuple[Transfer, ...] = ()) -> Stamp:
        """A stamp that the next message could get, with a running hash that it could not."""
        time = max([EPOCH, self._history.time, *(transfer.time for transfer in found)])
        return Stamp(
            self._history.sequence + 1, Nanoseconds(time + 1), RunningHash(base64url(b"dry run".ljust(48)))
        )

    async def find(self, wanted: Lookup | None) -> tuple[Transfer, ...]:
        """What a lookup of the fold's gives. Raises LedgerError."""
        return () if wanted is None else await self._transfers.find(wanted)

    async def _take(self, message: TopicMessage) -> None:
        stamp = message.stamp
        try:
            found = await found_for(self._transfers, self.state, message.body, stamp)
            self.state = read(self.state, self.topic, message.body, stamp, found)
        except ProtocolError as error:
            self._remember(message, str(error))
        else:
            self._remember(message, None)

    def _remember(self, message: TopicMessage, reason: str | None) -> None:
        name = digest_of(message.body)
        before = self._fates.get(name)
        if before is None or before.reason is not None:
            self._fates[name] = Fate(message.sequence, reason)
        if len(self._fates) > MAX_FATES:
            del self._fates[next(iter(self._fates))]


async def read_run(mirror: Mirror, topic: TopicId) -> RunState:
    """The state of a run at its topic's present end. Raises LedgerError, HistoryBroken."""
    return await Reading(mirror, topic).catch_up()
