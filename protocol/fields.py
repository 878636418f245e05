"""Typed, bounded fields, and the strict model that all input is parsed with (SPEC.md, Canonical JSON)."""

import re
from functools import lru_cache
from typing import Annotated, Any, Self

import orjson
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
)
from protocol.transfers import TransactionId

MAX_INTEGER = 2**53 - 1
"""The largest integer that canonical JSON (RFC 8785) carries exactly."""

# RFC 8785 for our values: keys are ASCII names, numbers are integers within 2^53, strings are valid Unicode.
_set = object.__setattr__
_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


class Model(BaseModel):
    """A value from outside: frozen, strict, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    @classmethod
    def known(cls, **fields: Any) -> Self:
        """A model of all its fields, which other models have checked already: they are not checked again."""
        model = cls.__new__(cls)
        _set(model, "__dict__", fields)
        _set(model, "__pydantic_fields_set__", _names(cls))
        _set(model, "__pydantic_extra__", None)
        _set(model, "__pydantic_private__", None)
        return model


@lru_cache(maxsize=256)
def _names(model: type[Model]) -> set[str]:
    return set(model.model_fields)


def canonical(value: Model) -> bytes:
    """The RFC 8785 canonical JSON of a model: the only form in which it is signed, hashed or sent."""
    return orjson.dumps(vars(value), _members, _CANONICAL)


def canonical_json(value: Any) -> bytes:
    """The RFC 8785 canonical JSON of dicts, lists, strings, booleans, None, integers, and models among them."""
    return orjson.dumps(value, _members, _CANONICAL)


def _members(value: Any) -> dict[str, Any]:
    if not isinstance(value, Model):
        raise TypeError(f"{type(value).__name__} has no canonical form")
    return vars(value)


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


# base64url without padding; the last character may only have bits that stand for something.
DigestField = Annotated[Digest, StringConstraints(pattern="^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$")]
"""32 bytes."""
SignatureField = Annotated[Signature, StringConstraints(pattern="^[A-Za-z0-9_-]{85}[AQgw]$")]
"""64 bytes."""
RunningHashField = Annotated[RunningHash, StringConstraints(pattern="^[A-Za-z0-9_-]{64}$")]
"""48 bytes."""
AccountField = Annotated[AccountId, StringConstraints(max_length=41), AfterValidator(_check_entity)]
TopicField = Annotated[TopicId, StringConstraints(max_length=41), AfterValidator(_check_entity)]
PeerField = Annotated[PeerId, StringConstraints(max_length=64), AfterValidator(_check_peer)]
TransactionField = Annotated[
    TransactionId, StringConstraints(max_length=80), AfterValidator(_check_transaction)
]
AddressField = Annotated[
    str,
    StringConstraints(
        max_length=128, pattern="^/(ip4|ip6|dns|dns4|dns6)/[A-Za-z0-9.:_-]{1,120}/tcp/[1-9][0-9]{0,4}$"
    ),
]
"""A multiaddr at which a member listens."""
RoundField = Annotated[Round, Field(ge=1, le=MAX_INTEGER)]
Place = Annotated[int, Field(ge=0, le=999)]
"""A member's place in the roster, from 0."""
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9._-]{0,63}$")]
