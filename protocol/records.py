"""What is written to the topic: one canonical JSON object a record, tagged by `op` (SPEC.md, records)."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import from_json

from protocol.errors import Ignore, Invalid
from protocol.fields import (
    MAX_INTEGER,
    AccountField,
    DigestField,
    Model,
    PeerField,
    Place,
    RoundField,
    SignatureField,
    TopicField,
    canonical,
)
from protocol.ids import Digest, Nanoseconds, Ppm, PublicKey, Round, RunningHash, digest_of, public_key_of
from protocol.messages import (
    Choice,
    Contributor,
    Opening,
    Proposal,
    ProposalBody,
    Vote,
    VoteBody,
    first_error,
)
from protocol.params import Params

MAX_RECORD = 64 * 1024
"""Bytes of the largest record; a longer one is nobody's record."""

Outcome = Literal["accepted", "rejected", "neutral"]
"""What a verdict can say."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where consensus put a record: of a chunked one, the chunk that completed it."""

    sequence: int
    time: Nanoseconds
    running_hash: RunningHash


class _Record(Model):
    p: Literal["roundabout"] = "roundabout"
    v: Literal[1] = 1


class Member(Model):
    """One participant in the roster."""

    peer: PeerField
    account: AccountField
    """Where its credits go."""

    @property
    def key(self) -> PublicKey:
        """The public key that its peer id embeds."""
        return public_key_of(self.peer)


class Genesis(_Record):
    """The first record: the rules and who takes part."""

    op: Literal["genesis"] = "genesis"
    topic: TopicField
    """The topic it was written for, so that a copy elsewhere is no run."""
    params: Params
    roster: Annotated[tuple[Member, ...], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _members_differ(self) -> "Genesis":
        if len({member.peer for member in self.roster}) != len(self.roster):
            raise ValueError("a peer is in the roster twice")
        return self

    def run(self) -> Digest:
        """The name of the run: the digest of this record."""
        return digest_of(canonical(self))


ContributorEntry = tuple[AccountField, Annotated[Ppm, Field(ge=1, le=1_000_000)]]
"""A contributor inside a record: account, share."""


class ProposalEntry(Model):
    """A proposal inside a record: the run goes without saying."""

    round: RoundField
    base: DigestField
    candidate: DigestField
    size: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    opening: Opening
    contributors: Annotated[tuple[ContributorEntry, ...], Field(min_length=1, max_length=16)]
    proposer: Place
    sig: SignatureField


VoteEntry = tuple[Place, Choice, Annotated[Ppm, Field(ge=-1_000_000, le=1_000_000)], SignatureField]
"""A vote inside a record: voter, choice, gain, signature. Run, round and proposal go without saying."""


class VerdictRecord(_Record):
    """A decided round: its proposal, the votes that decide it, and the outcome that follows from them."""

    op: Literal["verdict"] = "verdict"
    proposal: ProposalEntry
    votes: Annotated[tuple[VoteEntry, ...], Field(max_length=999)]
    outcome: Outcome


class VoteRecord(_Record):
    """A vote that its voter puts on the topic: near the deadline, or because the verdict left it out."""

    op: Literal["vote"] = "vote"
    proposal: ProposalEntry
    vote: VoteEntry


class ProposeRecord(_Record):
    """A proposal that its proposer puts on the topic, because too few votes came back."""

    op: Literal["propose"] = "propose"
    proposal: ProposalEntry


class CloseRecord(_Record):
    """The deadline has passed: the votes on the topic decide."""

    op: Literal["close"] = "close"
    run: DigestField
    round: RoundField


class PassBody(Model):
    """What a proposer signs that has nothing to propose."""

    run: DigestField
    round: RoundField


class PassRecord(_Record):
    """The proposer hands its turn on."""

    op: Literal["pass"] = "pass"
    body: PassBody
    sig: SignatureField


class PresentBody(Model):
    """What an inactive member signs when it is back."""

    run: DigestField
    round: RoundField
    """The round that was open when it said so."""
    member: Place


class PresentRecord(_Record):
    """An inactive member is back, and counts again from the next round."""

    op: Literal["present"] = "present"
    body: PresentBody
    sig: SignatureField


Record = Genesis | VerdictRecord | VoteRecord | ProposeRecord | CloseRecord | PassRecord | PresentRecord
_RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="op")])


def parse_record(raw: bytes) -> Record:
    """The record in a topic message.

    Raises Ignore when it does not claim to be one of ours (another application's, another version's),
    Invalid when it does and is malformed or not canonical.
    """
    if len(raw) > MAX_RECORD:
        raise Ignore(f"a foreign message of {len(raw)} bytes")
    with suppress(ValidationError):
        record = _RECORD.validate_json(raw)
        if canonical(record) == raw:
            return record
    raise _refusal(raw)


def _refusal(raw: bytes) -> Ignore | Invalid:
    """Why a message is no record, and whether it claims to be one."""
    try:
        outline: Any = from_json(raw)
    except ValueError:
        return Ignore("a foreign message: not JSON")
    if not isinstance(outline, dict) or outline.get("p") != "roundabout" or outline.get("v") != 1:
        return Ignore("a foreign message: not of this protocol and version")
    try:
        _RECORD.validate_json(raw)
    except ValidationError as error:
        return Invalid(f"malformed record: {first_error(error)}")
    return Invalid("malformed record: not in canonical form")


def entry_of(proposal: Proposal) -> ProposalEntry:
    """A signed proposal as it stands in a record."""
    body = proposal.body
    return ProposalEntry(
        round=body.round,
        base=body.base,
        candidate=body.candidate,
        size=body.size,
        opening=body.opening,
        contributors=tuple((c.account, c.share) for c in body.contributors),
        proposer=body.proposer,
        sig=proposal.signature,
    )


def proposal_of(entry: ProposalEntry, run: Digest) -> Proposal:
    """The signed proposal that an entry stands for. Raises Invalid when the shares do not add up."""
    try:
        body = ProposalBody(
            run=run,
            round=entry.round,
            base=entry.base,
            candidate=entry.candidate,
            size=entry.size,
            opening=entry.opening,
            contributors=tuple(Contributor(account=a, share=s) for a, s in entry.contributors),
            proposer=entry.proposer,
        )
    except ValidationError as error:
        raise Invalid(f"malformed proposal: {first_error(error)}") from None
    return Proposal(body=body, signature=entry.sig)


def vote_entry_of(vote: Vote) -> VoteEntry:
    """A signed vote as it stands in a record."""
    return (vote.body.voter, vote.body.choice, vote.body.gain, vote.signature)


def vote_of(entry: VoteEntry, run: Digest, round: Round, proposal: Digest) -> Vote:
    """The signed vote that an entry stands for."""
    voter, choice, gain, signature = entry
    body = VoteBody.known(run=run, round=round, proposal=proposal, voter=voter, choice=choice, gain=gain)
    return Vote.known(kind="vote", body=body, signature=signature)
