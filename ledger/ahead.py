"""Auditing a long history with every core: the fold goes ahead, its signatures are checked behind it.

The fold is told that every signature holds, and processes find out whether that is so, a batch of messages at a time.
Where it is, the fold said what it would have said anyway. Where one does not hold, all that was judged on
that word is judged again on what was found. So an audit is the same with and without, to the last word.
"""

import gc
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ledger.audit import Audit, Judged, judge
from ledger.chunks import Dropped
from ledger.pages import RawEntry
from ledger.topic import HistoryBroken, TopicMessage
from ledger.verifier import ROW
from ledger.verifiers import Verifiers, cores
from protocol.ecdsa import is_signed
from protocol.fields import Model
from protocol.ids import PublicKey

BATCH_ROWS = 64
"""Signatures in a batch: some 2 ms of one core, and few enough that no core waits long for the last ones."""
WORTHWHILE = 400
"""Entries of the shortest history that is worth starting processes for."""


@dataclass(slots=True)
class Batch:
    """Messages judged on the word that all signatures hold."""

    found: list[Judged | Dropped] = field(default_factory=list)
    rows: bytearray = field(default_factory=bytearray)
    """The signatures, as ledger.verifier takes them."""


class Ahead:
    """An audit that runs ahead of its signatures; `finish` before anything is read from it."""

    def __init__(self, result: Audit, verifiers: Verifiers) -> None:
        self._result = result
        self._verifiers = verifiers
        self._state = result.state
        self._batch = Batch()
        self._given: deque[Batch] = deque()

    def add(self, entry: RawEntry) -> None:
        """Check the next entry that the mirror returned."""
        if self._result.broken:
            return
        try:
            results = self._result.read(entry)
        except HistoryBroken as error:
            self.finish()
            self._result.break_off(error)
            return
        for result in results:
            self._take(result)

    def finish(self) -> None:
        """Wait until everything is judged on signatures that hold."""
        self._give()
        while self._given:
            self._settle()

    def _take(self, result: TopicMessage | Dropped) -> None:
        batch = self._batch
        if isinstance(result, Dropped):
            batch.found.append(result)
            return
        judged = judge(self._state, result, _taken_on_trust, self._result.find)
        self._state = judged.after
        batch.found.append(judged)
        for _, key, digest, signature in judged.checks:
            batch.rows += key + digest + signature
        if len(batch.rows) >= BATCH_ROWS * ROW:
            self._give()

    def _give(self) -> None:
        while self._verifiers.is_full or self._verifiers.is_ready:
            self._settle()  # which may have judged what is in our hand again, and emptied it
        batch, self._batch = self._batch, Batch()
        self._verifiers.give(bytes(batch.rows))
        self._given.append(batch)

    def _settle(self) -> None:
        """Take over the oldest batch when its signatures hold; else judge it, and all after it, again."""
        batch = self._given.popleft()
        answer = self._verifiers.answer()
        if all(answer):
            for found in batch.found:
                self._result.take(found)
            return
        known = _by_row(batch.rows, answer)
        again = [batch]
        while self._given:
            batch = self._given.popleft()
            known |= _by_row(batch.rows, self._verifiers.answer())
            again.append(batch)
        again.append(self._batch)
        self._batch = Batch()
        self._judge_again([found for batch in again for found in batch.found], known)

    def _judge_again(self, judged: Iterable[Judged | Dropped], known: dict[bytes, bool]) -> None:
        def is_known(kind: str, body: Model, key: PublicKey, digest: bytes, signature: bytes) -> bool:
            found = known.get(key + digest + signature)
            return is_signed(key, digest, signature) if found is None else found

        for found in judged:
            self._result.take(
                found
                if isinstance(found, Dropped)
                else judge(self._result.state, found.message, is_known, self._result.find)
            )
        self._state = self._result.state


@contextmanager
def uncollected() -> Iterator[None]:
    """Let an audit and its report grow without the collector of cycles, which would find none, again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _taken_on_trust(kind: str, body: Model, key: PublicKey, digest: bytes, signature: bytes) -> bool:
    return True


def _by_row(rows: bytearray, answer: bytes) -> dict[bytes, bool]:
    return {bytes(rows[n * ROW : (n + 1) * ROW]): bool(good) for n, good in enumerate(answer)}


def add_all(result: Audit, entries: Sequence[RawEntry]) -> None:
    """Add entries to an audit, on all cores where that is worth it. Raises LedgerError."""
    if len(entries) < WORTHWHILE or cores() == 1:
        for entry in entries:
            result.add(entry)
        return
    with Verifiers(cores() - 1) as verifiers:
        ahead = Ahead(result, verifiers)
        for entry in entries:
            ahead.add(entry)
        ahead.finish()
