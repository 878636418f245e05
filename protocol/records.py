"""What is written to the topic: one canonical JSON object a record, tagged by `op` (SPEC.md, records).

Here are the genesis and the records of a round; those of members and money are in motions.py and payments.py.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from protocol.errors import Invalid
from protocol.fields import (
    MAX_INTEGER,
    AccountField,
    AddressField,
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
    check_pieces,
    check_shares,
)
from protocol.params import Params

MAX_ROSTER = 1000
"""Places that a roster can have, those of members who have left included."""

Outcome = Literal["accepted", "rejected", "neutral"]
"""What a verdict can say."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where consensus put a record: of a chunked one, the chunk that completed it."""

    sequence: int
    time: Nanoseconds
    running_hash: RunningHash


class Tagged(Model):
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


class TreasuryEntry(Model):
    """The account that holds the run's money; any `required` of the first members' keys sign for it."""

    account: AccountField
    required: Annotated[int, Field(ge=1, le=1000)]


class Genesis(Tagged):
    """The first record: the rules and who takes part."""

    op: Literal["genesis"] = "genesis"
    topic: TopicField
    """The topic it was written for, so that a copy elsewhere is no run."""
    params: Params
    roster: Annotated[tuple[Member, ...], Field(min_length=1, max_length=MAX_ROSTER)]
    treasury: TreasuryEntry | None = None
    """None: a run without money, in which nobody earns any."""

    @model_validator(mode="after")
    def _members_differ(self) -> "Genesis":
        if len({member.peer for member in self.roster}) != len(self.roster):
            raise ValueError("a peer is in the roster twice")
        return self

    @model_validator(mode="after")
    def _treasury_is_shared(self) -> "Genesis":
        size, treasury = len(self.roster), self.treasury
        if treasury is None and self.params.stake_min:
            raise ValueError("a run with stakes needs a treasury")
        if treasury is None:
            return self
        if not size < 2 * treasury.required <= 2 * size:
            raise ValueError(f"the treasury needs the signatures of more than half of its {size} keys")
        if any(member.account == treasury.account for member in self.roster):
            raise ValueError("the treasury cannot be a member's account")
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
    pieces: DigestField | None = None
    opening: Opening
    contributors: Annotated[tuple[ContributorEntry, ...], Field(min_length=1, max_length=16)]
    proposer: Place
    sig: SignatureField


VoteEntry = tuple[Place, Choice, Annotated[Ppm, Field(ge=-1_000_000, le=1_000_000)], SignatureField]
"""A vote inside a record: voter, choice, gain, signature. Run, round and proposal go without saying."""


class VerdictRecord(Tagged):
    """A decided round: its proposal, the votes that decide it, and the outcome that follows from them."""

    op: Literal["verdict"] = "verdict"
    proposal: ProposalEntry
    votes: Annotated[tuple[VoteEntry, ...], Field(max_length=999)]
    outcome: Outcome


class VoteRecord(Tagged):
    """A vote that its voter puts on the topic: near the deadline, or because the verdict left it out."""

    op: Literal["vote"] = "vote"
    proposal: ProposalEntry
    vote: VoteEntry


class ProposeRecord(Tagged):
    """A proposal that its proposer puts on the topic, because too few votes came back."""

    op: Literal["propose"] = "propose"
    proposal: ProposalEntry


class CloseRecord(Tagged):
    """The deadline has passed: the votes on the topic decide."""

    op: Literal["close"] = "close"
    run: DigestField
    round: RoundField


class PassBody(Model):
    """What a proposer signs that has nothing to propose."""

    run: DigestField
    round: RoundField


class PassRecord(Tagged):
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


class PresentRecord(Tagged):
    """An inactive member is back, and counts again from the next round."""

    op: Literal["present"] = "present"
    body: PresentBody
    sig: SignatureField


class AddressBody(Model):
    """What a member signs that wants to be found."""

    run: DigestField
    round: RoundField
    """The round that was open when it said so: a later one counts, an earlier one is history."""
    member: Place
    addresses: Annotated[tuple[AddressField, ...], Field(max_length=4)]
    """Where it listens now; none where it waits to be found no more."""


class AddressRecord(Tagged):
    """Where a member listens."""

    op: Literal["address"] = "address"
    body: AddressBody
    sig: SignatureField


def entry_of(proposal: Proposal) -> ProposalEntry:
    """A signed proposal as it stands in a record."""
    body = proposal.body
    return ProposalEntry(
        round=body.round,
        base=body.base,
        candidate=body.candidate,
        size=body.size,
        pieces=body.pieces,
        opening=body.opening,
        contributors=tuple((c.account, c.share) for c in body.contributors),
        proposer=body.proposer,
        sig=proposal.signature,
    )


def proposal_of(entry: ProposalEntry, run: Digest) -> Proposal:
    """The signed proposal that an entry stands for. Raises Invalid when shares or pieces are not whole."""
    contributors = tuple(Contributor.known(account=a, share=s) for a, s in entry.contributors)
    try:
        check_shares(contributors)
        check_pieces(entry.size, entry.pieces)
    except ValueError as error:
        raise Invalid(f"malformed proposal: {error}") from None
    body = ProposalBody.known(
        run=run,
        round=entry.round,
        base=entry.base,
        candidate=entry.candidate,
        size=entry.size,
        pieces=entry.pieces,
        opening=entry.opening,
        contributors=contributors,
        proposer=entry.proposer,
    )
    return Proposal.known(kind="proposal", body=body, signature=entry.sig)


def vote_entry_of(vote: Vote) -> VoteEntry:
    """A signed vote as it stands in a record."""
    return (vote.body.voter, vote.body.choice, vote.body.gain, vote.signature)


def vote_of(entry: VoteEntry, run: Digest, round: Round, proposal: Digest) -> Vote:
    """The signed vote that an entry stands for."""
    voter, choice, gain, signature = entry
    body = VoteBody.known(run=run, round=round, proposal=proposal, voter=voter, choice=choice, gain=gain)
    return Vote.known(kind="vote", body=body, signature=signature)
