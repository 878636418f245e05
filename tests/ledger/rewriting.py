"""A mirror that rewrites a recorded run after one change, consistently, and what the auditor says to that."""

import base64
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ledger.audit import Audit, judge, report
from ledger.chunks import Dropped, History
from ledger.lookup import FileTransfers
from ledger.pages import RawEntry, SavedHistory, nanoseconds
from ledger.reading import take_saved
from ledger.running_hash import next_running_hash
from ledger.topic import HistoryBroken, LedgerError
from protocol.ecdsa import is_signed
from protocol.fields import Model
from protocol.ids import PublicKey
from tests.ledger.chains import TOPIC
from tests.ledger.mutations import Mutation
from tests.ledger.recorded_run import Recording


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an audit says of a history: its first violation, or the report of one that has none."""

    violation: str | None
    report: dict[str, Any] | None


def audited(recording: Recording) -> Audit:
    """The audit of a whole recording."""
    history = SavedHistory(recording.entries, recording.transactions, (recording.account,))
    transfers = FileTransfers(history.transactions)
    result = Audit(TOPIC, transfers.found)
    for entry in history.messages:
        result.add(entry)
    take_saved(result, history, transfers)
    result.finish()
    return result


def rechained(entries: Iterable[RawEntry], sequence: int, running_hash: bytes) -> Iterator[dict[str, Any]]:
    """Entries with the numbers and running hashes that consensus would have given them."""
    for sequence, entry in enumerate(entries, sequence + 1):  # noqa: B020 (it goes on from there)
        running_hash = next_running_hash(
            running_hash,
            entry["payer_account_id"],
            entry["topic_id"],
            nanoseconds(entry["consensus_timestamp"]),
            sequence,
            base64.b64decode(entry["message"]),
        )
        shown = base64.b64encode(running_hash).decode()
        yield {**entry, "sequence_number": sequence, "running_hash": shown}


class Rewriting:
    """The audits of one recording after single changes; each begins just before its change."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.transfers = FileTransfers(recording.transactions)
        self.whole = report(audited(recording))
        self._before: list[Audit] = []
        result = Audit(TOPIC, self.transfers.found)
        for start, stop in recording.spans:
            self._before.append(copied(result))
            for entry in recording.entries[start:stop]:
                add(result, entry)
        self._before.append(copied(result))

    def audit(self, mutation: Mutation) -> Verdict:
        """The audit of what a mirror serves after one change."""
        recording, result = self.recording, copied(self._before[mutation.start])
        transfers, pages = self.transfers, (mutation.account or recording.account,)
        spans = recording.spans
        start = spans[mutation.start][0] if mutation.start < len(spans) else len(recording.entries)
        entries: Iterable[dict[str, Any]] = recording.entries[start:]
        if mutation.entries is not None:
            suffix = (*mutation.entries, *recording.entries[start + mutation.length :])
            entries = rechained(suffix, result.sequence, result.history.running_hash)
        try:
            if mutation.transactions is not None:
                transfers = FileTransfers(mutation.transactions)
            result.find = transfers.found
            for entry in entries:
                add(result, entry)
                if result.violations:
                    return Verdict(str(result.violations[0]), None)
            take_saved(result, SavedHistory((), (), pages), transfers)
        except LedgerError as error:
            return Verdict(f"refused: {error}", None)
        result.finish()
        if result.violations:
            return Verdict(str(result.violations[0]), None)
        return Verdict(None, report(result))


def copied(result: Audit) -> Audit:
    """An audit that goes on by itself from where another one stands; at no place is a message unfinished."""
    history, evidence, book = result.history, result.evidence, result.book
    copy = replace(
        result,
        rounds=list(result.rounds),
        violations=list(result.violations),
        ignored=list(result.ignored),
        evidence=replace(
            evidence,
            seen={number: dict(shown) for number, shown in evidence.seen.items()},
            once=dict(evidence.once),
            found=dict(evidence.found),
        ),
        book=replace(
            book,
            rounds=dict(book.rounds),
            hurried=set(book.hurried),
            courses=list(book.courses),
            events=list(book.events),
            balances=list(book.balances),
        ),
        holding=deepcopy(result.holding),
    )
    assert history.position is not None
    copy.history = History(result.topic, *history.position)
    return copy


def add(result: Audit, entry: RawEntry) -> None:
    """What `Audit.add` does, with signatures that were checked before found in a table."""
    if result.broken:
        return
    try:
        found = result.read(entry)
    except HistoryBroken as error:
        result.break_off(error)
        return
    for each in found:
        result.take(each if isinstance(each, Dropped) else judge(result.state, each, known, result.find))


def known(kind: str, body: Model, key: PublicKey, digest: bytes, signature: bytes) -> bool:
    return _is_signed(key, digest, signature)


_is_signed = lru_cache(maxsize=100_000)(is_signed)
