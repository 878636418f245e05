"""Topics: created, changed, deleted, and their messages."""

from collections.abc import Iterator
from dataclasses import replace

from ledger.hiero import ResponseCode, basic_types_pb2, consensus_update_topic_pb2
from ledger.localnet.envelope import Envelope, transaction_key
from ledger.localnet.errors import Refused
from ledger.localnet.execution import Execution, auto_renew_seconds, check_memo
from ledger.localnet.keys import is_removal, is_well_formed
from ledger.localnet.state import Ledger, Message, Topic
from ledger.running_hash import RUNNING_HASH_VERSION, next_running_hash

MAX_MESSAGE_BYTES = 1_024


def create_topic(execution: Execution) -> None:
    """consensusCreateTopic."""
    operation = execution.envelope.body.consensusCreateTopic
    check_memo(operation.memo)
    admin = operation.adminKey if operation.HasField("adminKey") else None
    submit = operation.submitKey if operation.HasField("submitKey") else None
    if admin is not None and not is_well_formed(admin):
        raise Refused(ResponseCode.BAD_ENCODING)
    if submit is not None and not is_well_formed(submit):
        raise Refused(ResponseCode.INVALID_SUBMIT_KEY)
    auto_renew = auto_renew_seconds(operation.autoRenewPeriod.seconds)
    execution.require(*create_topic_signers(execution.ledger, execution.envelope))
    num = execution.new_entity()
    execution.ledger.topics[num] = Topic(
        num=num,
        created=execution.time,
        memo=operation.memo,
        admin_key=admin,
        submit_key=submit,
        auto_renew_account=operation.autoRenewAccount.accountNum or None,
        auto_renew_seconds=auto_renew,
    )
    execution.ledger.messages[num] = []
    execution.receipt.topicID.topicNum = num


def create_topic_signers(ledger: Ledger, envelope: Envelope) -> Iterator[basic_types_pb2.Key]:
    """The admin key, and the account that renews."""
    operation = envelope.body.consensusCreateTopic
    if operation.HasField("adminKey"):
        yield operation.adminKey
    if operation.HasField("autoRenewAccount"):
        yield ledger.account(operation.autoRenewAccount).key


def update_topic(execution: Execution) -> None:
    """consensusUpdateTopic: memo, keys, renewal; an empty list takes a key away."""
    operation = execution.envelope.body.consensusUpdateTopic
    topic = execution.ledger.topic(operation.topicID)
    execution.entity = topic.num
    execution.require(*update_topic_signers(execution.ledger, execution.envelope))
    execution.ledger.topics[topic.num] = _updated(topic, operation)


def _updated(
    topic: Topic, operation: consensus_update_topic_pb2.ConsensusUpdateTopicTransactionBody
) -> Topic:
    if operation.HasField("memo"):
        check_memo(operation.memo.value)
        topic = replace(topic, memo=operation.memo.value)
    if operation.HasField("adminKey"):
        topic = replace(topic, admin_key=_new_key(operation.adminKey, ResponseCode.BAD_ENCODING))
    if operation.HasField("submitKey"):
        topic = replace(topic, submit_key=_new_key(operation.submitKey, ResponseCode.INVALID_SUBMIT_KEY))
    if operation.HasField("autoRenewPeriod"):
        seconds = auto_renew_seconds(operation.autoRenewPeriod.seconds)
        topic = replace(topic, auto_renew_seconds=seconds)
    if operation.HasField("autoRenewAccount"):
        topic = replace(topic, auto_renew_account=operation.autoRenewAccount.accountNum or None)
    return topic


def _new_key(key: basic_types_pb2.Key, status: ResponseCode) -> basic_types_pb2.Key | None:
    if is_removal(key):
        return None
    if not is_well_formed(key):
        raise Refused(status)
    return key


def update_topic_signers(ledger: Ledger, envelope: Envelope) -> Iterator[basic_types_pb2.Key]:
    """The admin key, the new one, and the account that is to renew."""
    operation = envelope.body.consensusUpdateTopic
    yield _admin_key(ledger.topic(operation.topicID))
    if operation.HasField("adminKey") and not is_removal(operation.adminKey):
        yield operation.adminKey
    if operation.HasField("autoRenewAccount") and operation.autoRenewAccount.accountNum:
        yield ledger.account(operation.autoRenewAccount).key


def delete_topic(execution: Execution) -> None:
    """consensusDeleteTopic: no more messages; the mirror keeps those there are."""
    topic = execution.ledger.topic(execution.envelope.body.consensusDeleteTopic.topicID)
    execution.entity = topic.num
    execution.require(*delete_topic_signers(execution.ledger, execution.envelope))
    execution.ledger.topics[topic.num] = replace(topic, is_deleted=True)


def delete_topic_signers(ledger: Ledger, envelope: Envelope) -> Iterator[basic_types_pb2.Key]:
    """The admin key."""
    yield _admin_key(ledger.topic(envelope.body.consensusDeleteTopic.topicID))


def _admin_key(topic: Topic) -> basic_types_pb2.Key:
    if topic.admin_key is None:
        raise Refused(ResponseCode.UNAUTHORIZED)
    return topic.admin_key


def submit_message(execution: Execution) -> None:
    """consensusSubmitMessage."""
    operation = execution.envelope.body.consensusSubmitMessage
    if not operation.message:
        raise Refused(ResponseCode.INVALID_TOPIC_MESSAGE)
    if len(operation.message) > MAX_MESSAGE_BYTES:
        raise Refused(ResponseCode.MESSAGE_SIZE_TOO_LARGE)
    topic = execution.ledger.topic(operation.topicID)
    execution.entity = topic.num
    if operation.HasField("chunkInfo"):
        _check_chunk(execution)
    execution.require(*submit_message_signers(execution.ledger, execution.envelope))
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


def submit_message_signers(ledger: Ledger, envelope: Envelope) -> Iterator[basic_types_pb2.Key]:
    """The submit key, where there is one."""
    submit_key = ledger.topic(envelope.body.consensusSubmitMessage.topicID).submit_key
    if submit_key is not None:
        yield submit_key


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
