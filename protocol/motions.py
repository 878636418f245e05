"""Records by which members come, go and change the rules, signed by those who may (SPEC.md, motions)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from protocol.fields import (
    MAX_INTEGER,
    AccountField,
    DigestField,
    Model,
    PeerField,
    Place,
    SignatureField,
    TransactionField,
)
from protocol.messages import ProposalBody, VoteBody
from protocol.params import LearnerRef, Params, TinybarField
from protocol.records import MAX_ROSTER, PassBody, Tagged

Count = Annotated[int, Field(ge=1, le=MAX_INTEGER)]


class _Signed(Tagged):
    """A record that members sign together; one entry a member, by place."""

    signatures: Annotated[tuple[tuple[Place, SignatureField], ...], Field(max_length=MAX_ROSTER)]

    @model_validator(mode="after")
    def _in_order(self) -> "_Signed":
        places = [place for place, _ in self.signatures]
        if places != sorted(set(places)):
            raise ValueError("signatures must be in order of place, one each")
        return self


class JoinBody(Model):
    """What a participant signs that wants to take part, and what members sign that want it to."""

    run: DigestField
    peer: PeerField
    account: AccountField
    """Where its earnings go; any account but the treasury."""
    stake: TinybarField
    transaction: TransactionField | None
    """The transfer of the stake to the treasury; None without a stake."""
    term: Count
    """How often it has joined with this: 1 the first time."""

    @model_validator(mode="after")
    def _stake_is_paid(self) -> "JoinBody":
        if (self.stake > 0) != (self.transaction is not None):
            raise ValueError("a stake and its transfer go together")
        return self


class JoinRecord(_Signed):
    """A participant takes a place in the roster, and counts from the next epoch."""

    op: Literal["join"] = "join"
    body: JoinBody
    sig: SignatureField
    """Its own signature; the members' are in `signatures`."""


class LeaveBody(Model):
    """What a member signs that wants to leave."""

    run: DigestField
    member: Place
    term: Count
    """The term that ends."""


class LeaveRecord(Tagged):
    """A member leaves at the end of the epoch; its stake comes back after `unbonding_rounds`."""

    op: Literal["leave"] = "leave"
    body: LeaveBody
    sig: SignatureField


class ParamsBody(Model):
    """What members sign that want other rules."""

    run: DigestField
    number: Count
    """One more than the amendments so far, so that no signature counts twice."""
    params: Params


class ParamsRecord(_Signed):
    """New rules from the next epoch on."""

    op: Literal["params"] = "params"
    body: ParamsBody


class UpgradeBody(Model):
    """What members sign that want another learner for the same weights."""

    run: DigestField
    number: Count
    learner: LearnerRef


class UpgradeRecord(_Signed):
    """A new learner, or a new spec of it, from the next epoch on."""

    op: Literal["upgrade"] = "upgrade"
    body: UpgradeBody


class EndBody(Model):
    """What members sign that want the run to end."""

    run: DigestField
    number: Count


class EndRecord(_Signed):
    """The run ends when the open round does; then everybody is paid and stakes come back."""

    op: Literal["end"] = "end"
    body: EndBody


class RotateBody(Model):
    """What holders of the treasury's keys sign that want other ones."""

    run: DigestField
    number: Count
    """One more than the rotations so far."""
    required: Annotated[int, Field(ge=1, le=MAX_ROSTER)]
    keys: Annotated[tuple[Place, ...], Field(min_length=1, max_length=MAX_ROSTER)]
    """Whose keys the treasury's are to be, by place, increasing."""

    @model_validator(mode="after")
    def _is_shared(self) -> "RotateBody":
        if list(self.keys) != sorted(set(self.keys)):
            raise ValueError("keys must be in order of place, one each")
        if not len(self.keys) < 2 * self.required <= 2 * len(self.keys):
            raise ValueError("the treasury needs the signatures of more than half of its keys")
        return self


class RotateRecord(_Signed):
    """The treasury's keys are to change; the members then sign it on the ledger like a payment."""

    op: Literal["rotate"] = "rotate"
    body: RotateBody


class SignedProposal(Model):
    """A proposal as evidence."""

    kind: Literal["proposal"] = "proposal"
    body: ProposalBody
    sig: SignatureField


class SignedVote(Model):
    """A vote as evidence."""

    kind: Literal["vote"] = "vote"
    body: VoteBody
    sig: SignatureField


class SignedPass(Model):
    """A pass as evidence."""

    kind: Literal["pass"] = "pass"
    body: PassBody
    sig: SignatureField


Evidence = Annotated[SignedProposal | SignedVote | SignedPass, Field(discriminator="kind")]


class FaultRecord(Tagged):
    """Two things that one member signed in one round, and of which an honest one signs one."""

    op: Literal["fault"] = "fault"
    member: Place
    first: Evidence
    second: Evidence
