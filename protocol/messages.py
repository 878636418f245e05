"""What members say to each other: updates, proposals and votes, each signed by its author (SPEC.md, messages)."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from protocol.errors import Invalid, shown
from protocol.fields import (
    MAX_INTEGER,
    AccountField,
    DigestField,
    Model,
    Place,
    RoundField,
    RunningHashField,
    SignatureField,
    canonical,
)
from protocol.ids import Digest, Ppm, digest_of

PIECE_BYTES = 1024 * 1024
"""A blob travels in pieces of this size, the last one smaller; each can be checked by itself."""
MAX_MESSAGE = 64 * 1024
"""Bytes of the largest message; a longer one is refused unread."""
MAX_CONTRIBUTORS = 16
"""Members whose work one candidate is made of, its proposer among them."""


class Choice(StrEnum):
    """What a voter found (SPEC.md, choice_for)."""

    APPROVE = "approve"
    """Better than the head by more than the deadband."""
    REJECT = "reject"
    """Worse by more than the deadband, or malformed."""
    UNAVAILABLE = "unavailable"
    """Nobody would serve the blob; counts as a rejection, but is no ground for a penalty."""
    ABSTAIN = "abstain"
    """No difference that the voter's data can tell."""


class Opening(Model):
    """The record that opened the round, as the author saw it: who reads another history is noticed."""

    sequence: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    running_hash: RunningHashField
    state: DigestField


class Contributor(Model):
    """An account that shares a proposal's reward."""

    account: AccountField
    share: Annotated[Ppm, Field(ge=1, le=1_000_000)]


def check_shares(contributors: Iterable[Contributor]) -> None:
    """Check that contributors share a whole reward. Raises ValueError."""
    if sum(c.share for c in contributors) != 1_000_000:
        raise ValueError("the contributors' shares must add up to 1000000 ppm")


def check_pieces(size: int, pieces: Digest | None) -> None:
    """Check that pieces are named where a blob has several, and only there. Raises ValueError."""
    if (pieces is None) != (size <= PIECE_BYTES):
        raise ValueError(f"a blob above {PIECE_BYTES} bytes, and no other, names its pieces")


class ProposalBody(Model):
    """What a proposer signs."""

    run: DigestField
    round: RoundField
    base: DigestField
    """The head it was trained from."""
    candidate: DigestField
    size: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    """Bytes of the candidate's blob."""
    pieces: DigestField | None = None
    """Digest of the digests of its pieces, one after the other; None where there is but one."""
    opening: Opening
    contributors: Annotated[tuple[Contributor, ...], Field(min_length=1, max_length=MAX_CONTRIBUTORS)]
    proposer: Place

    @model_validator(mode="after")
    def _is_whole(self) -> "ProposalBody":
        check_shares(self.contributors)
        check_pieces(self.size, self.pieces)
        return self

    def digest(self) -> Digest:
        """What votes refer to."""
        return digest_of(canonical(self))


class VoteBody(Model):
    """What a voter signs."""

    run: DigestField
    round: RoundField
    proposal: DigestField
    """Digest of the proposal's body."""
    voter: Place
    choice: Choice
    gain: Annotated[Ppm, Field(ge=-1_000_000, le=1_000_000)]
    """Mean paired gain on the voter's data; information, not counted."""


class UpdateBody(Model):
    """What a contributor signs: weights that the proposer may merge into its candidate."""

    run: DigestField
    round: RoundField
    base: DigestField
    """The head they were trained from."""
    update: DigestField
    size: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    """Bytes of the update's blob."""
    pieces: DigestField | None = None
    """As in a proposal."""
    contributor: Place

    @model_validator(mode="after")
    def _is_whole(self) -> "UpdateBody":
        check_pieces(self.size, self.pieces)
        return self


class Proposal(Model):
    """A signed proposal."""

    kind: Literal["proposal"] = "proposal"
    body: ProposalBody
    signature: SignatureField


class Vote(Model):
    """A signed vote."""

    kind: Literal["vote"] = "vote"
    body: VoteBody
    signature: SignatureField


class Update(Model):
    """A signed update, for the proposer of its round alone."""

    kind: Literal["update"] = "update"
    body: UpdateBody
    signature: SignatureField


Message = Proposal | Vote | Update
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def parse_message(raw: bytes) -> Message:
    """The message in a frame. Raises Invalid with one line unless it is well formed and canonical."""
    if len(raw) > MAX_MESSAGE:
        raise Invalid(f"a message of {len(raw)} bytes; at most {MAX_MESSAGE} are read")
    try:
        message = _MESSAGE.validate_json(raw)
    except ValidationError as error:
        raise Invalid(f"malformed message: {first_error(error)}") from None
    if canonical(message) != raw:
        raise Invalid("malformed message: not in canonical form")
    return message


def first_error(error: ValidationError) -> str:
    """The first complaint of a validation, as one bounded line; parts of it were chosen by a stranger."""
    details = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in details["loc"])[:80]
    return shown(f"{where}: {details['msg'][:120]}" if where else details["msg"][:120])
