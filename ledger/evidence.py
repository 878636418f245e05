"""Contradictions: two signed bodies of one kind, round and member that differ (SPEC.md, step).

An honest participant never signs two, whatever it forgets in a crash; so both signatures together are proof, and
it does not matter whether the records that carry them had an effect.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from protocol.errors import Invalid
from protocol.fields import Model, canonical
from protocol.ids import Digest, Round, Signature, digest_of
from protocol.parse import Record
from protocol.records import (
    ProposalEntry,
    ProposeRecord,
    VerdictRecord,
    VoteEntry,
    VoteRecord,
    proposal_of,
    vote_of,
)
from protocol.signing import verify
from protocol.state import RunState

Kind = Literal["proposal", "vote"]
Slot = tuple[Kind, Round, int]
"""What a member may fill once: kind, round, the member's place."""


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Proof that a member contradicted itself: where its two signed bodies stand."""

    kind: Kind
    round: Round
    member: int
    """Its place in the roster."""
    first: int
    """The sequence number of the message that showed the first body."""
    second: int
    """That of the first message that showed another; the same where one message has both."""


@dataclass(slots=True)
class Evidence:
    """The signed proposals and votes that a topic has shown, and the contradictions among them."""

    seen: dict[Slot, tuple[Digest, int]] = field(default_factory=dict)
    """Digest of the first body that verifies, and the sequence number of its message."""
    found: dict[Slot, Equivocation] = field(default_factory=dict)
    """In the order in which they came to light; one is enough for a slot."""

    def take(self, state: RunState, record: Record, sequence: int) -> None:
        """Look at all that is signed in a record, whether or not the record will have an effect."""
        for kind, round, member, body, signature in _signed(state, record):
            slot = (kind, round, member)
            digest = digest_of(canonical(body))
            first = self.seen.get(slot)
            if slot in self.found or (first is not None and first[0] == digest):
                continue  # nothing that another signature could add
            try:
                verify(state.roster[member].key, kind, body, signature)
            except Invalid:
                continue  # proves nothing about this member; whether it breaks a rule is for the fold to say
            if first is None:
                self.seen[slot] = (digest, sequence)
            else:
                self.found[slot] = Equivocation(kind, round, member, first[1], sequence)


def _signed(state: RunState, record: Record) -> Iterator[tuple[Kind, Round, int, Model, Signature]]:
    """Kind, round, member, body and signature of what a record carries of members of the roster."""
    entry: ProposalEntry
    votes: tuple[VoteEntry, ...] = ()
    if isinstance(record, VerdictRecord):
        entry, votes = record.proposal, record.votes
    elif isinstance(record, VoteRecord):
        entry, votes = record.proposal, (record.vote,)
    elif isinstance(record, ProposeRecord):
        entry = record.proposal
    else:
        return
    try:
        proposal = proposal_of(entry, state.run)
    except Invalid:
        return  # nobody's proposal, so nobody's votes
    size, round = len(state.roster), proposal.body.round
    if proposal.body.proposer < size:
        yield "proposal", round, proposal.body.proposer, proposal.body, proposal.signature
    digest = proposal.body.digest()
    for vote in (vote_of(given, state.run, round, digest) for given in votes):
        if vote.body.voter < size:
            yield "vote", round, vote.body.voter, vote.body, vote.signature
