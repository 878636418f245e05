"""From the bytes of a topic message to a record, or to the reason why it is none (SPEC.md, records)."""

from contextlib import suppress
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from protocol.errors import Ignore, Invalid
from protocol.fields import canonical
from protocol.messages import first_error
from protocol.motions import (
    EndRecord,
    FaultRecord,
    JoinRecord,
    LeaveRecord,
    ParamsRecord,
    RotateRecord,
    UpgradeRecord,
)
from protocol.payments import FailedRecord, FundRecord, SettledRecord, SettleRecord, TopupRecord
from protocol.records import (
    AddressRecord,
    CloseRecord,
    Genesis,
    PassRecord,
    PresentRecord,
    ProposeRecord,
    VerdictRecord,
    VoteRecord,
)

MAX_RECORD = 64 * 1024
"""Bytes of the largest record; a longer one is nobody's record."""

RoundRecord = VerdictRecord | VoteRecord | ProposeRecord | CloseRecord | PassRecord
SignOfLife = PresentRecord | AddressRecord
Motion = JoinRecord | LeaveRecord | ParamsRecord | UpgradeRecord | EndRecord | RotateRecord | FaultRecord
MoneyRecord = FundRecord | TopupRecord | SettleRecord | SettledRecord | FailedRecord
Record = Genesis | RoundRecord | SignOfLife | Motion | MoneyRecord
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
