"""Contradictions: two signed bodies of one kind, round and member that differ, or a proposal and a pass (SPEC.md).

An honest participant never signs two, whatever it forgets in a crash; so both signatures together are proof, and
it does not matter whether the records that carry them had an effect.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from protocol.errors import Invalid
from protocol.fields import Model
from protocol.ids import PublicKey, Round, Signature
from protocol.messages import ProposalBody, VoteBody
from protocol.motions import FaultRecord
from protocol.parse import Record
from protocol.records import (
    PassRecord,
    ProposalEntry,
    ProposeRecord,
    VerdictRecord,
    VoteEntry,
    VoteRecord,
    proposal_of,
    vote_of,
)
from protocol.signing import signing_digest, verify
from protocol.state import RunState

Kind = Literal["proposal", "vote", "pass", "turn"]
"""What was signed, or, of a contradiction, `turn`: a proposal and a pass."""
Slot = tuple[Kind, Round, int]
"""What a member may fill once: kind, round, the member's place."""
CONTRADICTIONS = {"proposal": "two proposals", "vote": "two votes", "turn": "a proposal and a pass"}
"""What a member signed that excludes each other, in words."""
Signed = ProposalBody | VoteBody
Shown = dict[Slot, tuple[bytes, int]]
"""By slot, what was signed (32 bytes), and the sequence number of the message that showed it."""


Check = tuple[Model, PublicKey, bytes, bytes]
"""A signature that the fold asked about: body, key, what is signed (32 bytes), compact signature (64 bytes)."""


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

    seen: dict[Round, Shown] = field(default_factory=dict)
    """By round and slot, the first body that verifies; of rounds in which more than one record showed any."""
    once: dict[Round, tuple[tuple[Signed, ...], int]] = field(default_factory=dict)
    """What the only record of a round that showed any has shown, and the sequence number of its message."""
    found: dict[Slot, Equivocation] = field(default_factory=dict)
    """In the order in which they came to light; one is enough for a slot."""

    def take(self, state: RunState, record: Record, sequence: int) -> None:
        """Look at all that is signed in a record, whether or not it had an effect on the state."""
        for kind, round, member, body, signature in _signed(state, record):
            slot = (kind, round, member)
            digest = signing_digest(kind, body)
            first = self._shown(round).get(slot)
            if slot in self.found or (first is not None and first[0] == digest):
                continue  # nothing that another signature could add
            try:
                verify(state.roster[member].key, kind, body, signature)
            except Invalid:
                continue  # proves nothing about this member; whether it breaks a rule is for the fold to say
            self._note(slot, digest, sequence)

    def take_verified(self, checks: Iterable[Check], sequence: int) -> None:
        """Look at what the fold has verified of a record that had an effect: all that is signed in it."""
        signed = tuple(body for body, *_ in checks if isinstance(body, Signed))
        if not signed:
            return
        round = signed[0].round
        if round not in self.once and round not in self.seen:
            self.once[round] = signed, sequence
        else:
            for body in signed:
                self._note(_slot(body), signing_digest(_slot(body)[0], body), sequence)

    def first_shown(self) -> Shown:
        """For every slot that was filled, what was signed there first, and where."""
        for round in tuple(self.once):
            self._shown(round)
        return {slot: first for shown in self.seen.values() for slot, first in shown.items()}

    def _note(self, slot: Slot, digest: bytes, sequence: int) -> None:
        first = self._shown(slot[1]).setdefault(slot, (digest, sequence))
        if first[0] != digest and slot not in self.found:
            self.found[slot] = Equivocation(*slot, first[1], sequence)
        kind, round, member = slot
        if kind == "vote":
            return
        other = self._shown(round).get(("proposal" if kind == "pass" else "pass", round, member))
        if other is not None and ("turn", round, member) not in self.found:
            self.found["turn", round, member] = Equivocation("turn", round, member, other[1], sequence)

    def _shown(self, round: Round) -> Shown:
        signed, sequence = self.once.pop(round, ((), 0))
        shown = self.seen.setdefault(round, {})
        shown.update((_slot(body), (signing_digest(_slot(body)[0], body), sequence)) for body in signed)
        return shown


def evidence_of(shown: Shown, found: Iterable[Equivocation]) -> Evidence:
    """The evidence as it was when its `first_shown` and what it had found were put aside."""
    evidence = Evidence(found={(proof.kind, proof.round, proof.member): proof for proof in found})
    for slot, first in shown.items():
        evidence.seen.setdefault(slot[1], {})[slot] = first
    return evidence


def _slot(body: Signed) -> Slot:
    if isinstance(body, VoteBody):
        return "vote", body.round, body.voter
    return "proposal", body.round, body.proposer


def _signed(state: RunState, record: Record) -> Iterator[tuple[Kind, Round, int, Model, Signature]]:
    """Kind, round, member, body and signature of what a record carries of members of the roster."""
    if isinstance(record, PassRecord):
        yield from _passed(state, record)
        return
    if isinstance(record, FaultRecord):
        if record.member < len(state.roster):
            for each in (record.first, record.second):
                yield each.kind, each.body.round, record.member, each.body, each.sig
        return
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


def _passed(state: RunState, record: PassRecord) -> Iterator[tuple[Kind, Round, int, Model, Signature]]:
    """A pass says its round, and not whose turn it was: that of the last two rounds is known."""
    body = record.body
    for turn in (state.open, state.last):
        if turn is not None and turn.number == body.round:
            yield "pass", body.round, turn.proposer, body, record.sig
