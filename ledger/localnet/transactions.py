"""What each kind of transaction does, as a table: one row a kind, one small function a row.

A function checks everything before it changes anything, so that a refused transaction costs its fee, no more.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ledger.hiero import (
    ResponseCode,
    basic_types_pb2,
    timestamp_pb2,
    transaction_receipt_pb2,
    transaction_record_pb2,
)
from ledger.localnet.envelope import Envelope, transaction_key
from ledger.localnet.errors import Refused
from ledger.localnet.fees import EXTRA_KEY, EXTRA_SIGNATURE, dollars, exchange_rates
from ledger.localnet.keys import count_keys, is_satisfied, is_well_formed
from ledger.localnet.state import FEE_COLLECTOR, SECOND_NS, Account, Entry, Ledger, Message, Topic
from ledger.running_hash import RUNNING_HASH_VERSION, next_running_hash

MAX_MEMO_BYTES = 100
MAX_MESSAGE_BYTES = 1_024
MAX_TRANSFERS = 10
AUTO_RENEW_SECONDS = range(2_592_000, 8_000_002)
"""Thirty days to ninety-two and a bit, as the public networks allow."""


@dataclass(slots=True)
class Execution:
    """One transaction in the middle of being applied."""

    ledger: Ledger
    envelope: Envelope
    time: int
    receipt: transaction_receipt_pb2.TransactionReceipt
    moved: dict[int, int] = field(default_factory=dict)
    """Net tinybar by account number."""
    entity: int | None = None

    def move(self, num: int, amount: int) -> None:
        """Change a balance, and note it for the record's transfer list."""
        account = self.ledger.accounts[num]
        self.ledger.accounts[num] = replace(account, balance=account.balance + amount)
        self.moved[num] = self.moved.get(num, 0) + amount

    def require(self, key: basic_types_pb2.Key) -> None:
        """Raises Refused, INVALID_SIGNATURE, unless the transaction's signatures satisfy a key."""
        if not is_satisfied(key, self.envelope.signatures):
            raise Refused(ResponseCode.INVALID_SIGNATURE)

    def new_entity(self) -> int:
        """The next free entity number."""
        self.entity = self.ledger.next_entity
        self.ledger.next_entity += 1
        return self.entity


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table."""

    name: str
    """What the mirror calls it."""
    run: Callable[[Execution], None]
    price: int
    """Tinybar, with one signature and no keys."""
    fields: frozenset[str]
    """The fields of its body that are understood; one that sets another is refused, never half obeyed."""


def apply(ledger: Ledger, envelope: Envelope, time: int) -> Entry:
    """Carry out a transaction that passed precheck, at a time later than any before, and charge its fee."""
    receipt = transaction_receipt_pb2.TransactionReceipt(exchangeRate=exchange_rates())
    execution = Execution(ledger, envelope, time, receipt)
    fee = fee_for(envelope)
    execution.move(envelope.payer, -fee)
    execution.move(FEE_COLLECTOR, fee)
    try:
        KINDS[envelope.kind].run(execution)
        receipt.status = ResponseCode.SUCCESS.value
    except Refused as refused:
        receipt.status = refused.status.value
    entry = Entry(
        kind=envelope.kind,
        time=time,
        record=_record(execution, fee),
        entity=execution.entity,
        node=envelope.body.nodeAccountID.accountNum,
        max_fee=envelope.body.transactionFee,
        valid_seconds=envelope.body.transactionValidDuration.seconds,
    )
    ledger.time = time
    ledger.entries.append(entry)
    ledger.by_id[envelope.key] = entry
    for item in entry.record.transferList.accountAmounts:
        ledger.by_account.setdefault(item.accountID.accountNum, []).append(entry)
    return entry


def fee_for(envelope: Envelope) -> int:
    """What a transaction of a known kind costs its payer, tinybar, whether it succeeds or not."""
    fee = KINDS[envelope.kind].price + EXTRA_SIGNATURE * max(0, len(envelope.signatures) - 1)
    if envelope.kind == "consensusCreateTopic":
        topic = envelope.body.consensusCreateTopic
        fee += EXTRA_KEY * (count_keys(topic.adminKey) + count_keys(topic.submitKey))
    return fee


def check_memo(memo: str) -> None:
    """Raises Refused: MEMO_TOO_LONG, INVALID_ZERO_BYTE_IN_STRING."""
    if len(memo.encode()) > MAX_MEMO_BYTES:
        raise Refused(ResponseCode.MEMO_TOO_LONG)
    if "\0" in memo:
        raise Refused(ResponseCode.INVALID_ZERO_BYTE_IN_STRING)


def _record(execution: Execution, fee: int) -> transaction_record_pb2.TransactionRecord:
    body = execution.envelope.body
    seconds, nanos = divmod(execution.time, SECOND_NS)
    moved = sorted(execution.moved.items())
    return transaction_record_pb2.TransactionRecord(
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


def _create_account(execution: Execution) -> None:
    operation = execution.envelope.body.cryptoCreateAccount
    check_memo(operation.memo)
    if not operation.HasField("key"):
        raise Refused(ResponseCode.KEY_REQUIRED)
    if not is_well_formed(operation.key):
        raise Refused(ResponseCode.BAD_ENCODING)
    auto_renew = _auto_renew_seconds(operation.autoRenewPeriod.seconds)
    if operation.receiverSigRequired:
        execution.require(operation.key)
    if operation.initialBalance >= 1 << 63:
        raise Refused(ResponseCode.INVALID_INITIAL_BALANCE)
    payer = execution.envelope.payer
    if execution.ledger.accounts[payer].balance < operation.initialBalance:
        raise Refused(ResponseCode.INSUFFICIENT_PAYER_BALANCE)
    num = execution.new_entity()
    execution.ledger.accounts[num] = Account(
        num=num,
        key=operation.key,
        balance=0,
        created=execution.time,
        memo=operation.memo,
        receiver_signature_required=operation.receiverSigRequired,
        auto_renew_seconds=auto_renew,
    )
    execution.move(payer, -operation.initialBalance)
    execution.move(num, operation.initialBalance)
    execution.receipt.accountID.accountNum = num


def _transfer(execution: Execution) -> None:
    amounts = execution.envelope.body.cryptoTransfer.transfers.accountAmounts
    if len(amounts) > MAX_TRANSFERS:
        raise Refused(ResponseCode.TRANSFER_LIST_SIZE_LIMIT_EXCEEDED)
    transfers = [(execution.ledger.account(item.accountID), item.amount) for item in amounts]
    if any({part.name for part, _ in item.ListFields()} - {"accountID", "amount"} for item in amounts):
        raise Refused(ResponseCode.NOT_SUPPORTED)
    if sum(amount for _, amount in transfers) != 0:
        raise Refused(ResponseCode.INVALID_ACCOUNT_AMOUNTS)
    if len({account.num for account, _ in transfers}) != len(transfers):
        raise Refused(ResponseCode.ACCOUNT_REPEATED_IN_ACCOUNT_AMOUNTS)
    for account, amount in transfers:
        if amount < 0 or (amount > 0 and account.receiver_signature_required):
            execution.require(account.key)
        if account.balance + amount < 0:
            raise Refused(ResponseCode.INSUFFICIENT_ACCOUNT_BALANCE)
    for account, amount in transfers:
        execution.move(account.num, amount)


def _create_topic(execution: Execution) -> None:
    operation = execution.envelope.body.consensusCreateTopic
    check_memo(operation.memo)
    admin = operation.adminKey if operation.HasField("adminKey") else None
    submit = operation.submitKey if operation.HasField("submitKey") else None
    if admin is not None and not is_well_formed(admin):
        raise Refused(ResponseCode.BAD_ENCODING)
    if submit is not None and not is_well_formed(submit):
        raise Refused(ResponseCode.INVALID_SUBMIT_KEY)
    auto_renew = _auto_renew_seconds(operation.autoRenewPeriod.seconds)
    if admin is not None:
        execution.require(admin)
    renewer = None
    if operation.HasField("autoRenewAccount"):
        renewer = execution.ledger.account(operation.autoRenewAccount)
        execution.require(renewer.key)
    num = execution.new_entity()
    execution.ledger.topics[num] = Topic(
        num=num,
        created=execution.time,
        memo=operation.memo,
        admin_key=admin,
        submit_key=submit,
        auto_renew_account=None if renewer is None else renewer.num,
        auto_renew_seconds=auto_renew,
    )
    execution.ledger.messages[num] = []
    execution.receipt.topicID.topicNum = num


def _submit_message(execution: Execution) -> None:
    operation = execution.envelope.body.consensusSubmitMessage
    if not operation.message:
        raise Refused(ResponseCode.INVALID_TOPIC_MESSAGE)
    if len(operation.message) > MAX_MESSAGE_BYTES:
        raise Refused(ResponseCode.MESSAGE_SIZE_TOO_LARGE)
    topic = execution.ledger.topic(operation.topicID)
    execution.entity = topic.num
    if operation.HasField("chunkInfo"):
        _check_chunk(execution)
    if topic.submit_key is not None:
        execution.require(topic.submit_key)
    sequence = topic.sequence + 1
    payer = execution.envelope.payer
    running_hash = next_running_hash(
        topic.running_hash, (0, 0, payer), (0, 0, topic.num), execution.time, sequence, operation.message
    )
    execution.ledger.topics[topic.num] = replace(topic, sequence=sequence, running_hash=running_hash)
    execution.ledger.messages[topic.num].append(
        Message(
            sequence=sequence,
            time=execution.time,
            payer=payer,
            body=operation.message,
            running_hash=running_hash,
            chunk=operation.chunkInfo if operation.HasField("chunkInfo") else None,
        )
    )
    execution.receipt.topicSequenceNumber = sequence
    execution.receipt.topicRunningHash = running_hash
    execution.receipt.topicRunningHashVersion = RUNNING_HASH_VERSION


def _check_chunk(execution: Execution) -> None:
    chunk = execution.envelope.body.consensusSubmitMessage.chunkInfo
    if not 1 <= chunk.number <= chunk.total:
        raise Refused(ResponseCode.INVALID_CHUNK_NUMBER)
    try:
        initial = transaction_key(chunk.initialTransactionID)
    except Refused:
        raise Refused(ResponseCode.INVALID_CHUNK_TRANSACTION_ID) from None
    is_own = initial[0] == execution.envelope.payer
    if not is_own or (chunk.number == 1 and initial != execution.envelope.key):
        raise Refused(ResponseCode.INVALID_CHUNK_TRANSACTION_ID)


def _auto_renew_seconds(seconds: int) -> int:
    if seconds not in AUTO_RENEW_SECONDS:
        raise Refused(ResponseCode.AUTORENEW_DURATION_NOT_IN_RANGE)
    return seconds


KINDS: dict[str, Kind] = {
    "cryptoCreateAccount": Kind(
        "CRYPTOCREATEACCOUNT",
        _create_account,
        dollars("0.05"),
        frozenset(
            {
                "key",
                "initialBalance",
                "receiverSigRequired",
                "autoRenewPeriod",
                "memo",
                # Without effect on any network that is left: the SDKs still set them.
                "sendRecordThreshold",
                "receiveRecordThreshold",
                "max_automatic_token_associations",
                "decline_reward",
            }
        ),
    ),
    "cryptoTransfer": Kind("CRYPTOTRANSFER", _transfer, dollars("0.0001"), frozenset({"transfers"})),
    "consensusCreateTopic": Kind(
        "CONSENSUSCREATETOPIC",
        _create_topic,
        dollars("0.01"),
        frozenset({"memo", "adminKey", "submitKey", "autoRenewPeriod", "autoRenewAccount"}),
    ),
    "consensusSubmitMessage": Kind(
        "CONSENSUSSUBMITMESSAGE",
        _submit_message,
        dollars("0.0008"),
        frozenset({"topicID", "message", "chunkInfo"}),
    ),
}
