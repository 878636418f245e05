"""Which of the records that we wrote have come back: the key under which one is written next (SPEC.md, step).

While the ledger is away `step` asks for the same record again and again, and after a crash it asks for what may
be on the topic already. So a record has a key: its digest, and how many copies of it we have seen
come back. Whoever is asked for a record that has had an effect does not ask again; one that came too early, or
in vain, may be needed once more.
"""

from typing import TypeVar

from protocol.fields import canonical
from protocol.ids import AccountId, Digest, digest_of
from protocol.parse import Record

MAX_NOTES = 10_000
"""Records remembered, no fewer than the outbox keeps keys: one that it knows must not be used for another copy."""

_T = TypeVar("_T", int, str)


class Copies:
    """What one account has written to a topic, as far as it has come back."""

    def __init__(self, account: AccountId) -> None:
        self._account = account
        self._unfolded: dict[int, Digest] = {}
        self._copies: dict[Digest, int] = {}

    def on_read(self, sequence: int, payer: AccountId, body: bytes) -> None:
        """Note a message of the topic before it is folded."""
        if payer == self._account:
            self._unfolded[sequence] = digest_of(body)

    def on_folded(self, sequence: int) -> None:
        """Note that `step` knows of a message, or is about to: from now on it asks for another copy if it needs one."""
        digest = self._unfolded.pop(sequence, None)
        if digest is not None:
            note(self._copies, digest, self._copies.get(digest, 0) + 1)

    def key_of(self, record: Record) -> str:
        """The key under which a record that is asked for now is written."""
        digest = digest_of(canonical(record))
        return f"record {digest} {self._copies.get(digest, 0)}"


def note(notes: dict[Digest, _T], digest: Digest, value: _T) -> None:
    """Keep the latest notes, as many as there may be."""
    notes.pop(digest, None)
    notes[digest] = value
    if len(notes) > MAX_NOTES:
        del notes[next(iter(notes))]
