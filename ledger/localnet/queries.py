"""What each kind of query answers, as a table: one row a kind, one small function a row."""

from collections.abc import Callable
from dataclasses import dataclass

from ledger.hiero import ResponseCode, basic_types_pb2, query_pb2, response_pb2, timestamp_pb2
from ledger.localnet.envelope import any_transaction_key
from ledger.localnet.errors import Refused
from ledger.localnet.keys import ED25519_BYTES
from ledger.localnet.state import SECOND_NS, Entry, Ledger

LEDGER_ID = b"\x03"
"""The id that SDKs give a network of one's own."""
EXPIRES_S = 4_102_444_800
"""Nothing expires before the year 2100."""


@dataclass(frozen=True, slots=True)
class QueryKind:
    """One row of the table."""

    response: str
    """The field of Response that carries the answer."""
    is_paid: bool
    answer: Callable[[Ledger, query_pb2.Query, response_pb2.Response], None]
    """Fill in the answer. Raises Refused."""


def _balance(ledger: Ledger, query: query_pb2.Query, response: response_pb2.Response) -> None:
    account = ledger.account(query.cryptogetAccountBalance.accountID)
    answer = response.cryptogetAccountBalance
    answer.accountID.accountNum = account.num
    answer.balance = account.balance


def _account_info(ledger: Ledger, query: query_pb2.Query, response: response_pb2.Response) -> None:
    account = ledger.account(query.cryptoGetInfo.accountID)
    info = response.cryptoGetInfo.accountInfo
    info.accountID.accountNum = account.num
    info.contractAccountID = account.num.to_bytes(20, "big").hex()
    info.key.CopyFrom(account.key)
    info.balance = account.balance
    info.memo = account.memo
    info.receiverSigRequired = account.receiver_signature_required
    info.autoRenewPeriod.seconds = account.auto_renew_seconds
    info.expirationTime.seconds = EXPIRES_S
    info.ledger_id = LEDGER_ID


def _topic_info(ledger: Ledger, query: query_pb2.Query, response: response_pb2.Response) -> None:
    topic = ledger.topic(query.consensusGetTopicInfo.topicID)
    answer = response.consensusGetTopicInfo
    answer.topicID.topicNum = topic.num
    info = answer.topicInfo
    info.memo = topic.memo
    info.runningHash = topic.running_hash
    info.sequenceNumber = topic.sequence
    info.expirationTime.seconds = EXPIRES_S
    info.autoRenewPeriod.seconds = topic.auto_renew_seconds
    info.ledger_id = LEDGER_ID
    if topic.admin_key is not None:
        info.adminKey.CopyFrom(topic.admin_key)
    if topic.submit_key is not None:
        info.submitKey.CopyFrom(topic.submit_key)
    if topic.auto_renew_account is not None:
        info.autoRenewAccount.accountNum = topic.auto_renew_account


def _file_info(ledger: Ledger, query: query_pb2.Query, response: response_pb2.Response) -> None:
    file = ledger.file(query.fileGetInfo.fileID)
    info = response.fileGetInfo.fileInfo
    info.fileID.fileNum = file.num
    info.size = len(file.contents)
    info.memo = file.memo
    info.deleted = file.is_deleted
    info.expirationTime.CopyFrom(_timestamp(file.expires))
    info.keys.keys.extend(file.keys)
    info.ledger_id = LEDGER_ID


def _file_contents(ledger: Ledger, query: query_pb2.Query, response: response_pb2.Response) -> None:
    file = ledger.file(query.fileGetContents.fileID)
    if file.is_deleted:
        raise Refused(ResponseCode.FILE_DELETED)
    answer = response.fileGetContents.fileContents
    answer.fileID.fileNum = file.num
    answer.contents = file.contents


def _schedule_info(ledger: Ledger, query: query_pb2.Query, response: response_pb2.Response) -> None:
    schedule = ledger.schedule(query.scheduleGetInfo.scheduleID, ledger.time)
    info = response.scheduleGetInfo.scheduleInfo
    info.scheduleID.scheduleNum = schedule.num
    info.creatorAccountID.accountNum = schedule.creator
    info.payerAccountID.accountNum = schedule.payer
    info.scheduledTransactionBody.CopyFrom(schedule.body)
    info.scheduledTransactionID.CopyFrom(schedule.transaction_id)
    info.memo = schedule.memo
    info.expirationTime.CopyFrom(_timestamp(schedule.expires))
    info.ledger_id = LEDGER_ID
    info.signers.SetInParent()
    for item in schedule.signatories:
        key = info.signers.keys.add()
        setattr(key, "ed25519" if len(item.key) == ED25519_BYTES else "ECDSA_secp256k1", item.key)
    if schedule.admin_key is not None:
        info.adminKey.CopyFrom(schedule.admin_key)
    if schedule.executed is not None:
        info.execution_time.CopyFrom(_timestamp(schedule.executed))
    if schedule.deleted is not None:
        info.deletion_time.CopyFrom(_timestamp(schedule.deleted))


def _timestamp(time: int) -> timestamp_pb2.Timestamp:
    return timestamp_pb2.Timestamp(seconds=time // SECOND_NS, nanos=time % SECOND_NS)


def _receipt(ledger: Ledger, query: query_pb2.Query, response: response_pb2.Response) -> None:
    entry = _find(ledger, query.transactionGetReceipt.transactionID, ResponseCode.RECEIPT_NOT_FOUND)
    response.transactionGetReceipt.receipt.CopyFrom(entry.record.receipt)


def _record(ledger: Ledger, query: query_pb2.Query, response: response_pb2.Response) -> None:
    entry = _find(ledger, query.transactionGetRecord.transactionID, ResponseCode.RECORD_NOT_FOUND)
    response.transactionGetRecord.transactionRecord.CopyFrom(entry.record)


def _find(ledger: Ledger, transaction_id: basic_types_pb2.TransactionID, missing: ResponseCode) -> Entry:
    try:
        key = any_transaction_key(transaction_id)
    except Refused:
        raise Refused(ResponseCode.INVALID_TRANSACTION_ID) from None
    entry = ledger.by_id.get(key)
    if entry is None:
        raise Refused(missing)
    return entry


QUERIES: dict[str, QueryKind] = {
    "cryptogetAccountBalance": QueryKind("cryptogetAccountBalance", False, _balance),
    "cryptoGetInfo": QueryKind("cryptoGetInfo", True, _account_info),
    "consensusGetTopicInfo": QueryKind("consensusGetTopicInfo", True, _topic_info),
    "fileGetInfo": QueryKind("fileGetInfo", True, _file_info),
    "fileGetContents": QueryKind("fileGetContents", True, _file_contents),
    "scheduleGetInfo": QueryKind("scheduleGetInfo", True, _schedule_info),
    "transactionGetReceipt": QueryKind("transactionGetReceipt", False, _receipt),
    "transactionGetRecord": QueryKind("transactionGetRecord", True, _record),
}
