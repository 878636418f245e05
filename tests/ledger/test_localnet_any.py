"""Every kind of transaction with any value in any field: applied or refused, and never a crash.

An exception that is no refusal would stop the network, so one client's strange message would end it for all.
"""

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.hiero import PrivateKey, query_pb2, response_pb2
from ledger.localnet.errors import Refused
from ledger.localnet.queries import QUERIES
from ledger.localnet.rest_json import account, schedule, topic, transaction
from ledger.localnet.state import NODE, OPERATOR, SECOND_NS, SUPPLY
from ledger.localnet.transactions import KINDS
from tests.ledger.localnet_bodies import (
    KEY,
    NOW,
    account_body,
    balances,
    body_at,
    message_body,
    new_ledger,
    run,
    signed,
    topic_body,
    transfer_body,
)

OTHER = PrivateKey.from_bytes_ecdsa(b"\7" * 32)
KEY_BYTES = [KEY.public_key().to_bytes_raw(), OTHER.public_key().to_bytes_raw()]
MAX_DEPTH = 5

numbers = st.one_of(
    st.sampled_from([0, 1, OPERATOR, NODE, *range(1001, 1008), 7_776_000, NOW // SECOND_NS + 60]),
    st.integers(0, 2**31 - 1),
    st.sampled_from([-1, 2**31, 2**63 - 1, -(2**63), 2**64 - 1]),
)
texts = st.one_of(st.just("memo"), st.sampled_from(["", "\0", "é" * 60]), st.text(max_size=10))
binaries = st.one_of(st.sampled_from([*KEY_BYTES, b"", b"x" * 1_025]), st.binary(max_size=40))
BOUNDS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


LIKELY = {
    "AccountID": {"accountNum": [OPERATOR, NODE, 1001]},
    "TopicID": {"topicNum": [1002]},
    "FileID": {"fileNum": [1003]},
    "ScheduleID": {"scheduleNum": [1004, 1005]},
    "Duration": {"seconds": [7_776_000]},
    "Timestamp": {"seconds": [NOW // SECOND_NS + 60]},
    "Key": {"ed25519": KEY_BYTES[:1], "ECDSA_secp256k1": KEY_BYTES[1:]},
}
"""By type: the field that says the most, and values that exist."""
ASKED = {
    "cryptoGetInfo": ("accountID", "accountNum"),
    "consensusGetTopicInfo": ("topicID", "topicNum"),
    "fileGetInfo": ("fileID", "fileNum"),
    "fileGetContents": ("fileID", "fileNum"),
    "scheduleGetInfo": ("scheduleID", "scheduleNum"),
}
"""Queries, and the fields that name what they ask for."""


def drawn_value(draw, field: FieldDescriptor):
    """A value for a field that is no message, or None where its type is not drawn."""
    if field.cpp_type in BOUNDS:
        low, high = BOUNDS[field.cpp_type]
        return max(low, min(high, draw(numbers)))
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return draw(st.booleans())
    if field.type == FieldDescriptor.TYPE_STRING:
        return draw(texts)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return draw(binaries)
    return None


def fill_likely(draw, message: Message) -> bool:
    """Fill a message of a known type with something that makes sense, as often as not."""
    nums = LIKELY.get(message.DESCRIPTOR.name)
    if nums is None or not draw(st.integers(0, 4)):
        return False
    name = draw(st.sampled_from(sorted(nums)))
    value = draw(st.sampled_from(nums[name]))
    setattr(message, name, value)
    return True


def fill(draw, message: Message, names: frozenset[str] | None = None, depth: int = 0) -> None:
    """Set some of a message's fields, or of those named, to anything."""
    if fill_likely(draw, message):
        return
    descriptor: Descriptor = message.DESCRIPTOR
    fields = [field for field in descriptor.fields if names is None or field.name in names]
    for field in fields:
        if not draw(st.integers(0, 3)):
            continue
        is_message = field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE
        if is_message and depth >= MAX_DEPTH:
            continue
        if field.is_repeated:
            for _ in range(draw(st.integers(0, 3))):
                if is_message:
                    fill(draw, getattr(message, field.name).add(), None, depth + 1)
                elif (value := drawn_value(draw, field)) is not None:
                    getattr(message, field.name).append(value)
        elif is_message and field.message_type.name == "SchedulableTransactionBody":
            fill_scheduled(draw, getattr(message, field.name))
        elif is_message:
            getattr(message, field.name).SetInParent()
            fill(draw, getattr(message, field.name), None, depth + 1)
        elif (value := drawn_value(draw, field)) is not None:
            setattr(message, field.name, value)


def fill_scheduled(draw, message: Message) -> None:
    message.transactionFee = draw(st.sampled_from([0, 10**9, 2**64 - 1]))
    message.memo = draw(texts)
    possible = sorted(KINDS.keys() & message.DESCRIPTOR.fields_by_name.keys())
    kind = draw(st.sampled_from(possible))
    operation = getattr(message, kind)
    operation.SetInParent()
    fill(draw, operation, KINDS[kind].fields)


@st.composite
def bodies(draw, start: int) -> bytes:
    body = body_at(start)
    kind = draw(st.sampled_from(sorted(KINDS)))
    getattr(body, kind).SetInParent()
    fill(draw, getattr(body, kind), KINDS[kind].fields)
    return signed(body, KEY, OTHER)


def opening() -> list[bytes]:
    """An account, a topic, a file, and two schedules, one of which waits: 0.0.1001 to 0.0.1005."""
    file = body_at(NOW - 8)
    file.fileCreate.keys.keys.add(ed25519=KEY_BYTES[0])
    waiting = body_at(NOW - 7)
    waiting.scheduleCreate.scheduledTransactionBody.transactionFee = 10**9
    waiting.scheduleCreate.adminKey.ed25519 = KEY_BYTES[0]
    inner = transfer_body(NOW, (1001, -5), (OPERATOR, 5)).cryptoTransfer
    waiting.scheduleCreate.scheduledTransactionBody.cryptoTransfer.CopyFrom(inner)
    ready = body_at(NOW - 6)
    ready.scheduleCreate.scheduledTransactionBody.transactionFee = 10**9
    message = message_body(NOW, 1002, b"m").consensusSubmitMessage
    ready.scheduleCreate.scheduledTransactionBody.consensusSubmitMessage.CopyFrom(message)
    key = account_body(NOW, new_ledger().accounts[OPERATOR].key).cryptoCreateAccount.key
    key.ECDSA_secp256k1 = KEY_BYTES[1]
    admin = topic_body(NOW - 9)
    admin.consensusCreateTopic.adminKey.ed25519 = KEY_BYTES[0]
    first = [account_body(NOW - 10, key, 10**9), admin, file, waiting, ready]
    return [signed(body) for body in first]


def ask_everything(ledger) -> None:
    """Every answer that shows an entity can be made, and fits on the wire."""
    for num in range(1001, ledger.next_entity):
        for name, (part, number) in ASKED.items():
            query, response = query_pb2.Query(), response_pb2.Response()
            setattr(getattr(getattr(query, name), part), number, num)
            try:
                QUERIES[name].answer(ledger, query, response)
            except Refused:
                continue
            response.SerializeToString()
    for entry in ledger.entries:
        transaction(entry)
    for value in ledger.accounts.values():
        account(ledger, value)
    for value in ledger.topics.values():
        topic(value)
    for value in ledger.schedules.values():
        schedule(value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_anything_is_applied_or_refused(data):
    ledger = new_ledger()
    for raw in opening():
        run(ledger, raw)
    assert ledger.schedules.keys() == {1004, 1005}
    for i in range(data.draw(st.integers(1, 6))):
        try:
            entry = run(ledger, data.draw(bodies(NOW + i)))
        except Refused:
            continue
        assert ledger.entries.count(entry) == 1
        held = balances(ledger)
        assert sum(held.values()) == SUPPLY
        assert min(held.values()) >= 0
    ask_everything(ledger)
