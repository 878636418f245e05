"""Typed, bounded fields, and the strict model that all input is parsed with (SPEC.md, Canonical JSON)."""

import re
from typing import Annotated, Any

import rfc8785
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from protocol.ids import (
    AccountId,
    Digest,
    PeerId,
    Round,
    RunningHash,
    Signature,
    TopicId,
    is_entity,
    public_key_of,
    unbase64url,
)
from protocol.transfers import TransactionId

MAX_INTEGER = 2**53 - 1
"""The largest integer that canonical JSON (RFC 8785) carries exactly."""


class Model(BaseModel):
    """A value from outside: frozen, strict, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def canonical(value: Model) -> bytes:
    """The RFC 8785 canonical JSON of a model: the only form in which it is signed, hashed or sent."""
    return rfc8785.dumps(value.model_dump(mode="json"))


def canonical_json(value: Any) -> bytes:
    """The RFC 8785 canonical JSON of plain dicts, lists, strings, booleans, None and integers."""
    return rfc8785.dumps(value)


def _base64url_of(size: int) -> AfterValidator:
    def check(text: str) -> str:
        unbase64url(text, size)
        return text

    return AfterValidator(check)


def _check_entity(text: str) -> str:
    if not is_entity(text):
        raise ValueError("expected shard.realm.num, for example 0.0.1234")
    return text


def _check_peer(text: str) -> str:
    public_key_of(PeerId(text))
    return text


_TRANSACTION = re.compile(r"\A(.{5,41})-(0|[1-9][0-9]{0,18})-([0-9]{9})(\?scheduled)?\Z")


def _check_transaction(text: str) -> str:
    found = _TRANSACTION.match(text)
    if found is None or not is_entity(found[1]):
        raise ValueError("expected a transaction id, for example 0.0.1234-1700000000-000000001")
    return text


DigestField = Annotated[Digest, StringConstraints(min_length=43, max_length=43), _base64url_of(32)]
SignatureField = Annotated[Signature, StringConstraints(min_length=86, max_length=86), _base64url_of(64)]
RunningHashField = Annotated[RunningHash, StringConstraints(min_length=64, max_length=64), _base64url_of(48)]
AccountField = Annotated[AccountId, StringConstraints(max_length=41), AfterValidator(_check_entity)]
TopicField = Annotated[TopicId, StringConstraints(max_length=41), AfterValidator(_check_entity)]
PeerField = Annotated[PeerId, StringConstraints(max_length=64), AfterValidator(_check_peer)]
TransactionField = Annotated[
    TransactionId, StringConstraints(max_length=80), AfterValidator(_check_transaction)
]
RoundField = Annotated[Round, Field(ge=1, le=MAX_INTEGER)]
Place = Annotated[int, Field(ge=0, le=999)]
"""A member's place in the roster, from 0."""
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9._-]{0,63}$")]
