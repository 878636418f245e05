"""Two mirrors side by side: what was never signed, or not yet, only another witness can confirm (docs/audit.md)."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from pydantic import ValidationError

from ledger.mirror import Mirror
from ledger.pages import ChunkInfo, RawEntry
from protocol.ids import TopicId

Part = tuple[object, ...]
"""What decides which message a chunk is a part of; empty for a whole message."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far another mirror says the same."""

    url: str
    messages: int
    """Entries that are the same on both, chunks included."""
    differs: bool
    """Whether the next one is another on each; else one of them has no more."""

    def __str__(self) -> str:
        what = f"the same as at {self.url} up to message {self.messages}"
        return f"{what}, and another from there on" if self.differs else what


async def compare(messages: Sequence[RawEntry], mirror: Mirror, topic: TopicId) -> Comparison:
    """Compare a topic's entries, from the first, with those that another mirror has. Raises LedgerError.

    Running hashes that are equal make all before them equal, and the bytes of their own entries; chunk information
    is not covered by them and compared beside them.
    """
    same = 0
    async with aclosing(mirror.messages(topic)) as entries:
        async for entry in entries:
            if same == len(messages):
                break
            if _shown(entry) != _shown(messages[same]):
                return Comparison(mirror.url, same, True)
            same += 1
    return Comparison(mirror.url, same, False)


def _shown(entry: RawEntry) -> tuple[object, Part]:
    return entry.get("running_hash"), _part(entry)


def _part(entry: RawEntry) -> Part:
    try:
        chunk = ChunkInfo.model_validate(entry.get("chunk_info"))
    except ValidationError:
        # Nonsense is the submitter's, and both mirrors show it; nothing at all is a whole message.
        return () if entry.get("chunk_info") is None else ("malformed",)
    initial = chunk.initial_transaction_id
    if chunk.total == 1:
        return ()
    return (
        chunk.number,
        chunk.total,
        initial.account_id,
        initial.transaction_valid_start,
        initial.nonce or 0,
        bool(initial.scheduled),
    )
