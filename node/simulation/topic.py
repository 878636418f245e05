"""The topic: consensus gives order, time and running hash some seconds after a submission, and readers follow."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from node.simulation.scheduler import Scheduler
from protocol.ids import AccountId, Nanoseconds, RunningHash, base64url
from protocol.records import Stamp
from protocol.transfers import Transfer
from protocol.view import Recorded


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of the topic, with what the mirror has of the transfers that it names."""

    recorded: Recorded
    payer: AccountId
    author: int | None
    """The place of who wrote it; None: nobody who takes part."""

    @property
    def stamp(self) -> Stamp:
        return self.recorded.stamp


def running_hash(sequence: int, time: int, raw: bytes, before: str) -> RunningHash:
    """A hash over a message and all before it; the real one is framed otherwise (ledger/running_hash.py)."""
    said = b"%d/%d/%s/%s" % (sequence, time, before.encode(), raw)
    return RunningHash(base64url(hashlib.sha384(said).digest()))


def following(before: Stamp | None, raw: bytes, now: int) -> Stamp:
    """The stamp of the message after another, or of the first one."""
    if before is None:
        return Stamp(1, Nanoseconds(now), running_hash(1, now, raw, ""))
    sequence, time = before.sequence + 1, Nanoseconds(max(now, before.time + 1))
    return Stamp(sequence, time, running_hash(sequence, time, raw, before.running_hash))


class Topic:
    """What has reached consensus, and who is told of it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.entries: list[Entry] = []
        self.on_entry: list[Callable[[Entry], None]] = []
        """Called in order when a message has its place."""
        self._scheduler = scheduler
        self.found: Callable[[bytes, Stamp], tuple[Transfer, ...]] = lambda raw, stamp: ()
        """What a reader of this topic looks up on the ledger for a message."""

    def publish(self, raw: bytes, payer: AccountId, author: int | None) -> None:
        """Consensus, now."""
        before = self.entries[-1].stamp if self.entries else None
        stamp = following(before, raw, self._scheduler.now)
        entry = Entry(Recorded(raw, stamp, self.found(raw, stamp)), payer, author)
        self.entries.append(entry)
        for told in self.on_entry:
            told(entry)


class FalseMirror:
    """A mirror that shows a history of its own: from some message on others are left out, in good order otherwise."""

    def __init__(self, leaves_out: Callable[[Entry], bool]) -> None:
        self.entries: list[Entry] = []
        self._leaves_out = leaves_out
        self.is_false = False
        """Whether it differs from the topic by now."""

    def take(self, entry: Entry) -> None:
        """Note a message of the topic, or leave it out."""
        if self._leaves_out(entry):
            self.is_false = True
            return
        if not self.is_false:
            self.entries.append(entry)
            return
        recorded = entry.recorded
        stamp = following(self.entries[-1].stamp, recorded.raw, recorded.stamp.time)
        self.entries.append(Entry(Recorded(recorded.raw, stamp, recorded.found), entry.payer, entry.author))
