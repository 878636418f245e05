"""What a mirror's pages say, strictly typed, and the file in which such pages are kept for a later audit.

A saved history is one JSON object, `{"messages": [...], "transactions": [...]}`, each entry as the mirror returned it;
of a run with a treasury it has `"accounts": [...]` too, where it was saved from a mirror.
"""

import base64
import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NewType

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ledger.files import read_bounded
from ledger.topic import LedgerError
from protocol.ids import Nanoseconds, is_entity

MAX_FILE = 256 * 1024 * 1024
"""Bytes of the largest saved history that is read."""

ScheduleId = NewType("ScheduleId", str)
"""A scheduled transaction that waits on the ledger, `shard.realm.num`."""
RawEntry = Mapping[str, Any]
"""One entry of a page as the mirror returned it."""


_START = re.compile(r"(0|[1-9][0-9]{0,9})-([0-9]{9})", re.ASCII)


@lru_cache(maxsize=1024)
def _entity(text: str) -> str:
    # Numbers are 64 bits, signed, wherever they are packed.
    if not is_entity(text) or int(text.rpartition(".")[2]) >= 2**63:
        raise ValueError("not a Hedera id like 0.0.1234")
    return text


def is_transaction_id(text: str) -> bool:
    """Whether a text is a transaction id, `0.0.payer-seconds-nanos`, that a mirror can be asked for.

    Mirrors count its nanoseconds in 64 bits, and some fail over a number that needs more.
    """
    payer, _, start = text.partition("-")
    match = _START.fullmatch(start)
    return match is not None and int(match[1] + match[2]) < 2**63 and is_entity(payer)


def _transaction(text: str) -> str:
    if not is_transaction_id(text):
        raise ValueError("not a transaction id like 0.0.1234-1700000000-000000001")
    return text


def _base64(text: str) -> str:
    base64.b64decode(text, validate=True)  # its error is a ValueError
    return text


# A mirror may add fields at any time, so unknown ones pass; those we use are held to their exact type.
_STRICT = ConfigDict(frozen=True, strict=True, extra="ignore")
_Entity = Annotated[str, StringConstraints(max_length=42), AfterValidator(_entity)]
_Time = Annotated[str, StringConstraints(pattern=r"\A(0|[1-9][0-9]{0,9})\.[0-9]{9}\z")]
_Base64 = Annotated[str, StringConstraints(max_length=12_288)]
_Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_Word = Annotated[str, StringConstraints(pattern=r"\A[ -~]{1,100}\z")]


class InitialTransaction(BaseModel):
    """The transaction id that all chunks of one message share."""

    model_config = _STRICT

    account_id: _Entity
    # Mirrors show null for both in what they stored long ago.
    nonce: int | None = None
    scheduled: bool | None = None
    transaction_valid_start: _Time


class ChunkInfo(BaseModel):
    """Which part of a longer message an entry is: the submitter's word, not covered by the running hash."""

    model_config = _STRICT

    initial_transaction_id: InitialTransaction
    number: int = Field(ge=1, lt=2**31)
    """From 1."""
    total: int = Field(ge=1, lt=2**31)


class MessageEntry(BaseModel):
    """One entry of `/api/v1/topics/{id}/messages`."""

    model_config = _STRICT

    topic_id: _Entity
    sequence_number: int = Field(ge=1)
    consensus_timestamp: _Time
    payer_account_id: _Entity
    message: _Base64
    running_hash: _Base64
    running_hash_version: int
    chunk_info: dict[str, Any] | None = None
    """Parsed apart: nonsense in it is the submitter's doing, and must not break the history for everybody."""


class Balance(BaseModel):
    """An account's balance at a consensus time."""

    model_config = _STRICT

    balance: int = Field(ge=0, lt=2**63)
    """Tinybars."""
    timestamp: _Time | None = None


class KeyEntry(BaseModel):
    """A key as a mirror shows it: raw hex for simple keys, a protobuf in hex for key lists."""

    model_config = _STRICT

    type: str = Field(alias="_type")
    """ED25519, ECDSA_SECP256K1 or ProtobufEncoded."""
    key: Annotated[str, StringConstraints(pattern=r"\A([0-9a-f]{2})*\z", max_length=65_536)]


class AccountEntry(BaseModel):
    """`/api/v1/accounts/{id}`."""

    model_config = _STRICT

    account: _Entity
    balance: Balance
    key: KeyEntry | None = None
    deleted: bool | None = None
    memo: str = ""


class TopicEntry(BaseModel):
    """`/api/v1/topics/{id}`."""

    model_config = _STRICT

    topic_id: _Entity
    memo: str = ""
    admin_key: KeyEntry | None = None
    submit_key: KeyEntry | None = None
    created_timestamp: _Time | None = None
    deleted: bool | None = None


class Movement(BaseModel):
    """One line of a transfer list."""

    model_config = _STRICT

    account: _Entity
    amount: _Int64
    """Tinybars; negative for the sender."""


class TransactionEntry(BaseModel):
    """One entry of `/api/v1/transactions`."""

    model_config = _STRICT

    transaction_id: Annotated[str, AfterValidator(_transaction)]
    """`0.0.payer-seconds-nanos`; a scheduled transaction and what it calls up share their creator's."""
    consensus_timestamp: _Time
    result: _Word
    name: _Word
    memo_base64: Annotated[_Base64, AfterValidator(_base64)] | None = None
    charged_tx_fee: int = Field(default=0, ge=0, lt=2**63)
    scheduled: bool = False
    nonce: int = Field(default=0, ge=0, lt=2**31)
    """0 for what somebody submitted or scheduled; others for what it called up."""
    transfers: tuple[Movement, ...] = Field(default=(), strict=False)


class Signatory(BaseModel):
    """One signature that a schedule has collected."""

    model_config = _STRICT

    public_key_prefix: _Base64


class ScheduleEntry(BaseModel):
    """`/api/v1/schedules/{id}`."""

    model_config = _STRICT

    schedule_id: _Entity
    payer_account_id: _Entity | None = None
    memo: str = ""
    admin_key: KeyEntry | None = None
    expiration_time: _Time | None = None
    wait_for_expiry: bool = False
    deleted: bool = False
    executed_timestamp: _Time | None = None
    transaction_body: _Base64
    """The scheduled transaction, a SchedulableTransactionBody."""
    signatures: tuple[Signatory, ...] = Field(default=(), strict=False)


class Endpoint(BaseModel):
    """Where a consensus node listens."""

    model_config = _STRICT

    domain_name: str = ""
    ip_address_v4: str = ""
    port: int


class NodeEntry(BaseModel):
    """One entry of `/api/v1/network/nodes`."""

    model_config = _STRICT

    node_account_id: _Entity
    service_endpoints: tuple[Endpoint, ...] = Field(default=(), strict=False)


def cause_of(error: ValidationError) -> str:
    """The first thing that is wrong, in one line: where, and what."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'entry'}: {first['msg']}"


def nanoseconds(timestamp: str) -> Nanoseconds:
    """The integer behind a mirror's `seconds.nanoseconds`, which has nine decimals."""
    seconds, _, nanos = timestamp.partition(".")
    return Nanoseconds(int(seconds) * 1_000_000_000 + int(nanos))


@dataclass(frozen=True, slots=True)
class SavedHistory:
    """A topic's messages and the transactions that its records name, as a mirror returned them."""

    messages: tuple[RawEntry, ...]
    """In order, from sequence number 1."""
    transactions: tuple[RawEntry, ...] = ()
    accounts: tuple[RawEntry, ...] = ()
    """The treasury's account, when all that is kept here was read."""


def write_history(
    path: Path,
    messages: Sequence[RawEntry],
    transactions: Sequence[RawEntry] = (),
    accounts: Sequence[RawEntry] = (),
    limit: int = MAX_FILE,
) -> None:
    """Save entries as the mirror returned them; the file appears whole or not at all.

    Raises LedgerError, also when the file would be too long to be read again.
    """
    content: dict[str, Sequence[RawEntry]] = {"messages": list(messages), "transactions": list(transactions)}
    if accounts:
        content["accounts"] = list(accounts)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as out:
            json.dump(content, out, indent=1)
            out.write("\n")
            size = out.tell()
        if size > limit:
            draft.unlink()
            raise LedgerError(
                f"the history has {size} bytes, and no more than {limit} are read again; audit the mirror itself"
            )
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise LedgerError(
            f"cannot write the history to {path}: {error.strerror}; choose another place"
        ) from error


def read_history(path: Path, limit: int = MAX_FILE) -> SavedHistory:
    """A saved history of at most `limit` bytes, its entries not checked yet. Raises LedgerError."""
    try:
        with path.open("rb") as source:
            data = read_bounded(source, limit)
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror}; check the path") from error
    if len(data) > limit:
        raise LedgerError(
            f"{path} is longer than {limit} bytes; it is no saved history, or give the mirror itself"
        )
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LedgerError(f"{path} is not JSON ({error}); save the history again") from error
    if (
        not isinstance(content, dict)
        or set(content) - {"messages", "transactions", "accounts"}
        or "messages" not in content
    ):
        raise LedgerError(
            f'{path} is no saved history: expected {{"messages": [...], "transactions": [...]}}'
        )
    return SavedHistory(
        _entries(path, content, "messages"),
        _entries(path, content, "transactions"),
        _entries(path, content, "accounts"),
    )


def _entries(path: Path, content: Mapping[str, Any], name: str) -> tuple[RawEntry, ...]:
    entries = content.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise LedgerError(f"{path} is no saved history: {name} must be a list of objects")
    return tuple(entries)
