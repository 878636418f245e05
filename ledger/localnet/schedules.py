"""Schedules: a transaction that waits on the ledger until those who must sign it have.

It is executed in the same step as the signature that completes it, right after the transaction that brought
it, with a consensus time and a record of its own. A schedule that expires is forgotten by the network; the
mirror still shows it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from ledger.hiero import (
    ResponseCode,
    basic_types_pb2,
    schedule_create_pb2,
    schedule_sign_pb2,
    transaction_pb2,
)
from ledger.localnet.envelope import Envelope, any_transaction_key
from ledger.localnet.errors import Refused
from ledger.localnet.execution import Execution, Kind, check_memo, is_understood
from ledger.localnet.keys import CollectedSignatures, Signed, is_satisfied, is_well_formed, single_keys
from ledger.localnet.state import SECOND_NS, Account, Ledger, Schedule, Signatory

DEFAULT_LIFE_S = 1_800
MAX_LIFE_S = 5_356_800
"""Sixty-two days, as on the public networks."""
VALID_S = 120

Kinds = Mapping[str, Kind]
"""The rows of the table that can be scheduled."""


def create_schedule(kinds: Kinds, execution: Execution) -> None:
    """scheduleCreate."""
    operation = execution.envelope.body.scheduleCreate
    ledger = execution.ledger
    check_memo(operation.memo)
    check_memo(operation.scheduledTransactionBody.memo)
    schedule = _new_schedule(execution, operation)
    _check_body(kinds, schedule)
    content = _content(operation)
    same = ledger.schedule_by_content.get(content)
    if same is not None and ledger.schedules[same].expires > execution.time:
        _answer(execution, ledger.schedules[same])
        raise Refused(ResponseCode.IDENTICAL_SCHEDULE_ALREADY_CREATED)
    if schedule.admin_key is not None:
        execution.require(schedule.admin_key)
    schedule = _signed(kinds, schedule, execution)
    execution.new_entity()
    ledger.schedules[schedule.num] = schedule
    ledger.schedule_by_content[content] = schedule.num
    _answer(execution, schedule)
    _mark_when_due(kinds, schedule, execution)


def sign_schedule(kinds: Kinds, execution: Execution) -> None:
    """scheduleSign: every signature that the scheduled transaction can use, once."""
    schedule = _open_schedule(execution, execution.envelope.body.scheduleSign)
    signed = _signed(kinds, schedule, execution)
    _mark_when_due(kinds, signed, execution)
    # What it needs may have become less since it was last signed: then anybody's request has it executed.
    if signed == schedule and execution.due is None:
        raise Refused(ResponseCode.NO_NEW_VALID_SIGNATURES)
    execution.ledger.schedules[schedule.num] = signed
    execution.receipt.scheduledTransactionID.CopyFrom(schedule.transaction_id)


def delete_schedule(execution: Execution) -> None:
    """scheduleDelete, by its admin key."""
    operation = execution.envelope.body.scheduleDelete
    schedule = execution.ledger.schedule(operation.scheduleID, execution.time)
    execution.entity = schedule.num
    if schedule.admin_key is None:
        raise Refused(ResponseCode.SCHEDULE_IS_IMMUTABLE)
    execution.require(schedule.admin_key)
    _check_open(schedule)
    execution.ledger.schedules[schedule.num] = replace(schedule, deleted=execution.time)


def scheduled_envelope(schedule: Schedule) -> Envelope:
    """The transaction that a schedule holds, as signed so far."""
    kind = schedule.body.WhichOneof("data") or ""
    body = transaction_pb2.TransactionBody(
        transactionID=schedule.transaction_id,
        transactionFee=schedule.body.transactionFee,
        memo=schedule.body.memo,
    )
    body.transactionValidDuration.seconds = VALID_S
    if kind:
        getattr(body, kind).CopyFrom(getattr(schedule.body, kind))
    raw = body.SerializeToString(deterministic=True)
    key = any_transaction_key(schedule.transaction_id)
    return Envelope(
        raw=raw,
        body=body,
        kind=kind,
        signatures=CollectedSignatures({item.key: item.signature for item in schedule.signatories}),
        hash=hashlib.sha384(raw).digest(),
        payer=schedule.payer,
        key=key,
        valid_start=key[1] * SECOND_NS + key[2],
    )


def _new_schedule(
    execution: Execution, operation: schedule_create_pb2.ScheduleCreateTransactionBody
) -> Schedule:
    transaction_id = basic_types_pb2.TransactionID()
    transaction_id.CopyFrom(execution.envelope.body.transactionID)
    transaction_id.scheduled = True
    admin = operation.adminKey if operation.HasField("adminKey") else None
    if admin is not None and not is_well_formed(admin):
        raise Refused(ResponseCode.INVALID_ADMIN_KEY)
    return Schedule(
        num=execution.ledger.next_entity,
        created=execution.time,
        creator=execution.envelope.payer,
        payer=_payer(execution, operation).num,
        memo=operation.memo,
        admin_key=admin,
        body=operation.scheduledTransactionBody,
        transaction_id=transaction_id,
        expires=_expiry(execution.time, operation),
        is_expiry_given=operation.HasField("expiration_time"),
    )


def _payer(execution: Execution, operation: schedule_create_pb2.ScheduleCreateTransactionBody) -> Account:
    if not operation.HasField("payerAccountID"):
        return execution.ledger.accounts[execution.envelope.payer]
    try:
        return execution.ledger.account(operation.payerAccountID)
    except Refused:
        raise Refused(ResponseCode.INVALID_SCHEDULE_PAYER_ID) from None


def _expiry(time: int, operation: schedule_create_pb2.ScheduleCreateTransactionBody) -> int:
    if not operation.HasField("expiration_time"):
        return time + DEFAULT_LIFE_S * SECOND_NS
    expires = operation.expiration_time.seconds * SECOND_NS
    if expires <= time:
        raise Refused(ResponseCode.SCHEDULE_EXPIRATION_TIME_MUST_BE_HIGHER_THAN_CONSENSUS_TIME)
    if expires > time + MAX_LIFE_S * SECOND_NS:
        raise Refused(ResponseCode.SCHEDULE_EXPIRATION_TIME_TOO_FAR_IN_FUTURE)
    return int(expires)


def _check_body(kinds: Kinds, schedule: Schedule) -> None:
    inner = scheduled_envelope(schedule)
    kind = kinds.get(inner.kind)
    if kind is None:
        raise Refused(ResponseCode.SCHEDULED_TRANSACTION_NOT_IN_WHITELIST)
    if not is_understood(kind, inner):
        raise Refused(ResponseCode.NOT_SUPPORTED)


def _content(operation: schedule_create_pb2.ScheduleCreateTransactionBody) -> bytes:
    """Two schedules are identical when everything but who pays is; expiries are whole seconds."""
    content = schedule_create_pb2.ScheduleCreateTransactionBody()
    content.CopyFrom(operation)
    content.ClearField("payerAccountID")
    content.expiration_time.ClearField("nanos")
    if not operation.HasField("expiration_time"):
        content.ClearField("expiration_time")
    return hashlib.sha256(content.SerializeToString(deterministic=True)).digest()


def _answer(execution: Execution, schedule: Schedule) -> None:
    execution.receipt.scheduleID.scheduleNum = schedule.num
    execution.receipt.scheduledTransactionID.CopyFrom(schedule.transaction_id)


def _open_schedule(
    execution: Execution, operation: schedule_sign_pb2.ScheduleSignTransactionBody
) -> Schedule:
    schedule = execution.ledger.schedule(operation.scheduleID, execution.time)
    execution.entity = schedule.num
    _check_open(schedule)
    return schedule


def _check_open(schedule: Schedule) -> None:
    if schedule.executed is not None:
        raise Refused(ResponseCode.SCHEDULE_ALREADY_EXECUTED)
    if schedule.deleted is not None:
        raise Refused(ResponseCode.SCHEDULE_ALREADY_DELETED)


def _required(kinds: Kinds, ledger: Ledger, schedule: Schedule) -> tuple[basic_types_pb2.Key, ...]:
    """The keys that the scheduled transaction needs now, its payer's first."""
    inner = scheduled_envelope(schedule)
    signers = kinds[inner.kind].signers
    assert signers is not None  # what cannot be scheduled is not among the kinds
    try:
        return (ledger.accounts[schedule.payer].key, *signers(ledger, inner))
    except Refused:
        raise Refused(ResponseCode.UNRESOLVABLE_REQUIRED_SIGNERS) from None


def _signed(kinds: Kinds, schedule: Schedule, execution: Execution) -> Schedule:
    """The schedule with what this transaction's signatures add to it."""
    required = _required(kinds, execution.ledger, schedule)
    wanted = dict.fromkeys(raw for key in required for raw in single_keys(key))
    known = {item.key for item in schedule.signatories}
    signatures: Signed = execution.envelope.signatures
    new = tuple(
        Signatory(raw, signatures.of(raw), execution.time)
        for raw in wanted
        if raw not in known and signatures.has(raw)
    )
    return replace(schedule, signatories=schedule.signatories + new)


def _mark_when_due(kinds: Kinds, schedule: Schedule, execution: Execution) -> None:
    signatures = scheduled_envelope(schedule).signatures
    if all(is_satisfied(key, signatures) for key in _required(kinds, execution.ledger, schedule)):
        execution.due = schedule.num
