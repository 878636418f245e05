"""What each kind of transaction does, as a table: one row a kind, one small function a row.

A function checks everything before it changes anything, so that a refused transaction costs its fee, no more.
"""

from dataclasses import replace
from functools import partial

from ledger.hiero import (
    ResponseCode,
    basic_types_pb2,
    timestamp_pb2,
    transaction_receipt_pb2,
    transaction_record_pb2,
)
from ledger.localnet import accounts, schedules, stored_files, topics
from ledger.localnet.envelope import Envelope
from ledger.localnet.errors import Refused
from ledger.localnet.execution import Execution, Kind
from ledger.localnet.keys import count_keys
from ledger.localnet.schedules import scheduled_envelope
from ledger.localnet.state import FEE_COLLECTOR, SECOND_NS, Entry, Ledger


def apply(ledger: Ledger, envelope: Envelope, time: int) -> Entry:
    """Carry out a transaction that passed precheck, at a time later than any before, and charge its fee.

    A scheduled transaction that it completes follows in the next nanosecond.
    """
    execution = _execution(ledger, envelope, time)
    entry = _carried_out(execution, fee_for(ledger, envelope))
    if execution.due is not None:
        _run_scheduled(ledger, execution.due, time + 1)
    return entry


def fee_for(ledger: Ledger, envelope: Envelope) -> int:
    """What a transaction of a known kind costs its payer, tinybar, whether it succeeds or not."""
    topic = envelope.body.consensusCreateTopic  # empty when it is of another kind
    return ledger.fees.price(
        envelope.kind,
        size=len(envelope.raw),
        signatures=len(envelope.signatures),
        topic_keys=count_keys(topic.adminKey) + count_keys(topic.submitKey),
    )


def _execution(ledger: Ledger, envelope: Envelope, time: int) -> Execution:
    receipt = transaction_receipt_pb2.TransactionReceipt(exchangeRate=ledger.fees.exchange_rates())
    return Execution(ledger, envelope, time, receipt)


def _carried_out(execution: Execution, fee: int) -> Entry:
    execution.move(execution.envelope.payer, -fee)
    execution.move(FEE_COLLECTOR, fee)
    try:
        KINDS[execution.envelope.kind].run(execution)
        execution.receipt.status = ResponseCode.SUCCESS.value
    except Refused as refused:
        execution.receipt.status = refused.status.value
    return _entered(execution, fee)


def _run_scheduled(ledger: Ledger, num: int, time: int) -> None:
    schedule = ledger.schedules[num]
    ledger.schedules[num] = replace(schedule, executed=time)
    envelope = scheduled_envelope(schedule)
    execution = _execution(ledger, envelope, time)
    execution.schedule = num
    fee = fee_for(ledger, envelope)
    payer = ledger.accounts[schedule.payer]
    # What a node's precheck asks of any other transaction; here nobody is left to refuse it for nothing.
    if payer.is_deleted:
        execution.receipt.status = ResponseCode.PAYER_ACCOUNT_DELETED.value
    elif envelope.body.transactionFee < fee:
        execution.receipt.status = ResponseCode.INSUFFICIENT_TX_FEE.value
    elif payer.balance < fee:
        execution.receipt.status = ResponseCode.INSUFFICIENT_PAYER_BALANCE.value
    else:
        _carried_out(execution, fee)
        return
    _entered(execution, fee=0)


def _entered(execution: Execution, fee: int) -> Entry:
    """The transaction, with its record, as the ledger keeps it."""
    envelope, ledger = execution.envelope, execution.ledger
    entry = Entry(
        kind=envelope.kind,
        time=execution.time,
        record=_record(execution, fee),
        entity=execution.entity,
        node=envelope.body.nodeAccountID.accountNum,
        max_fee=envelope.body.transactionFee,
        valid_seconds=envelope.body.transactionValidDuration.seconds,
    )
    ledger.time = execution.time
    ledger.entries.append(entry)
    ledger.by_id[envelope.key] = entry
    # As mirrors do: a scheduled transaction is also listed for whoever created its schedule.
    moved = {item.accountID.accountNum for item in entry.record.transferList.accountAmounts}
    for num in moved | {envelope.body.transactionID.accountID.accountNum}:
        ledger.by_account.setdefault(num, []).append(entry)
    return entry


def _record(execution: Execution, fee: int) -> transaction_record_pb2.TransactionRecord:
    body = execution.envelope.body
    seconds, nanos = divmod(execution.time, SECOND_NS)
    moved = sorted(execution.moved.items())
    record = transaction_record_pb2.TransactionRecord(
        receipt=execution.receipt,
        transactionHash=execution.envelope.hash,
        consensusTimestamp=timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos),
        transactionID=body.transactionID,
        memo=body.memo,
        transactionFee=fee,
        transferList=basic_types_pb2.TransferList(
            accountAmounts=[
                basic_types_pb2.AccountAmount(
                    accountID=basic_types_pb2.AccountID(accountNum=num), amount=amount
                )
                for num, amount in moved
                if amount
            ]
        ),
    )
    if execution.schedule is not None:
        record.scheduleRef.scheduleNum = execution.schedule
    return record


# Without effect on any network that is left: the SDKs still set them.
_IGNORED_OF_ACCOUNTS = frozenset(
    {
        "sendRecordThreshold",
        "receiveRecordThreshold",
        "max_automatic_token_associations",
        "decline_reward",
    }
)

_PLAIN: dict[str, Kind] = {
    "cryptoCreateAccount": Kind(
        "CRYPTOCREATEACCOUNT",
        accounts.create_account,
        frozenset({"key", "initialBalance", "receiverSigRequired", "autoRenewPeriod", "memo"})
        | _IGNORED_OF_ACCOUNTS,
        accounts.create_account_signers,
    ),
    "cryptoUpdateAccount": Kind(
        "CRYPTOUPDATEACCOUNT",
        accounts.update_account,
        frozenset({"accountIDToUpdate", "key", "memo", "receiverSigRequiredWrapper", "autoRenewPeriod"})
        | _IGNORED_OF_ACCOUNTS,
        accounts.update_account_signers,
    ),
    "cryptoDelete": Kind(
        "CRYPTODELETE",
        accounts.delete_account,
        frozenset({"deleteAccountID", "transferAccountID"}),
        accounts.delete_account_signers,
    ),
    "cryptoTransfer": Kind(
        "CRYPTOTRANSFER",
        accounts.transfer,
        frozenset({"transfers"}),
        accounts.transfer_signers,
    ),
    "cryptoApproveAllowance": Kind(
        "CRYPTOAPPROVEALLOWANCE",
        accounts.approve_allowance,
        frozenset({"cryptoAllowances"}),
        accounts.approve_allowance_signers,
    ),
    "consensusCreateTopic": Kind(
        "CONSENSUSCREATETOPIC",
        topics.create_topic,
        frozenset({"memo", "adminKey", "submitKey", "autoRenewPeriod", "autoRenewAccount"}),
        topics.create_topic_signers,
    ),
    "consensusUpdateTopic": Kind(
        "CONSENSUSUPDATETOPIC",
        topics.update_topic,
        frozenset({"topicID", "memo", "adminKey", "submitKey", "autoRenewPeriod", "autoRenewAccount"}),
        topics.update_topic_signers,
    ),
    "consensusDeleteTopic": Kind(
        "CONSENSUSDELETETOPIC",
        topics.delete_topic,
        frozenset({"topicID"}),
        topics.delete_topic_signers,
    ),
    "consensusSubmitMessage": Kind(
        "CONSENSUSSUBMITMESSAGE",
        topics.submit_message,
        frozenset({"topicID", "message", "chunkInfo"}),
        topics.submit_message_signers,
    ),
    "fileCreate": Kind(
        "FILECREATE",
        stored_files.create_file,
        frozenset({"expirationTime", "keys", "contents", "memo"}),
        stored_files.create_file_signers,
    ),
    "fileAppend": Kind(
        "FILEAPPEND",
        stored_files.append_file,
        frozenset({"fileID", "contents"}),
        stored_files.append_file_signers,
    ),
    # Any one key is enough: not a list of those that must sign, so it is not scheduled here.
    "fileDelete": Kind("FILEDELETE", stored_files.delete_file, frozenset({"fileID"})),
}

_SCHEDULABLE = {name: kind for name, kind in _PLAIN.items() if kind.signers is not None}

KINDS: dict[str, Kind] = _PLAIN | {
    "scheduleCreate": Kind(
        "SCHEDULECREATE",
        partial(schedules.create_schedule, _SCHEDULABLE),
        frozenset({"scheduledTransactionBody", "memo", "adminKey", "payerAccountID", "expiration_time"}),
    ),
    "scheduleSign": Kind(
        "SCHEDULESIGN",
        partial(schedules.sign_schedule, _SCHEDULABLE),
        frozenset({"scheduleID"}),
    ),
    "scheduleDelete": Kind("SCHEDULEDELETE", schedules.delete_schedule, frozenset({"scheduleID"})),
}
