"""The ledger without any I/O: what is refused, what is charged, and that replay leads to the same state."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.hiero import (
    PrivateKey,
    ResponseCode,
    basic_types_pb2,
    transaction_pb2,
)
from ledger.localnet.errors import Refused
from ledger.localnet.journal import Genesis, Journal, Ordered
from ledger.localnet.keys import Signatures, is_satisfied, is_well_formed
from ledger.localnet.network import replay
from ledger.localnet.precheck import precheck
from ledger.localnet.state import FEE_COLLECTOR, NODE, NODES, OPERATOR, SECOND_NS, SUPPLY, Ledger
from ledger.running_hash import INITIAL_RUNNING_HASH, next_running_hash
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

KEYS_OF_KINDS = (
    "cryptoCreateAccount",
    "cryptoTransfer",
    "consensusCreateTopic",
    "consensusSubmitMessage",
)


def refusal(ledger: Ledger, raw: bytes, now: int = NOW) -> ResponseCode:
    with pytest.raises(Refused) as refused:
        precheck(ledger, raw, NODE, now)
    return refused.value.status


def holders(ledger: Ledger) -> dict[int, int]:
    return {num: balance for num, balance in balances(ledger).items() if balance}


def test_a_topic_chains_its_messages_with_the_published_hash():
    ledger = new_ledger()
    topic = run(ledger, signed(topic_body())).record.receipt.topicID.topicNum
    running = INITIAL_RUNNING_HASH
    for i in range(3):
        entry = run(ledger, signed(message_body(NOW + 1 + i, topic, b"m%d" % i)))
        running = next_running_hash(running, "0.0.2", f"0.0.{topic}", entry.time, i + 1, b"m%d" % i)
        assert entry.record.receipt.topicRunningHash == running
        assert entry.record.receipt.topicSequenceNumber == i + 1
    assert ledger.topics[topic].running_hash == running


def test_consensus_time_grows_even_when_the_clock_does_not():
    ledger = new_ledger()
    times = [run(ledger, signed(topic_body(NOW + i))).time for i in range(5)]
    assert times == [NOW + i for i in range(5)]


def test_a_failed_transaction_costs_its_fee_and_nothing_more():
    ledger = new_ledger()
    entry = run(ledger, signed(transfer_body(NOW, (OPERATOR, 5), (NODE, -5))))
    # The node's account has the operator's key, but no money.
    assert entry.record.receipt.status == ResponseCode.INSUFFICIENT_ACCOUNT_BALANCE
    assert holders(ledger) == {OPERATOR: SUPPLY - 100_000, FEE_COLLECTOR: 100_000}


@pytest.mark.parametrize(
    ("amounts", "status"),
    [
        ([(OPERATOR, -5), (NODE, 4)], ResponseCode.INVALID_ACCOUNT_AMOUNTS),
        ([(OPERATOR, -5), (OPERATOR, 5)], ResponseCode.ACCOUNT_REPEATED_IN_ACCOUNT_AMOUNTS),
        ([(OPERATOR, -5), (999, 5)], ResponseCode.INVALID_ACCOUNT_ID),
        ([(OPERATOR, -SUPPLY), (NODE, SUPPLY)], ResponseCode.INSUFFICIENT_ACCOUNT_BALANCE),
        ([(OPERATOR, 0)] * 11, ResponseCode.TRANSFER_LIST_SIZE_LIMIT_EXCEEDED),
    ],
)
def test_a_transfer_that_does_not_add_up_moves_nothing(amounts, status):
    ledger = new_ledger()
    entry = run(ledger, signed(transfer_body(NOW, *amounts)))
    assert entry.record.receipt.status == status
    assert holders(ledger) == {OPERATOR: SUPPLY - 100_000, FEE_COLLECTOR: 100_000}


def test_precheck_refuses_before_anything_is_charged():
    ledger = new_ledger()
    once = signed(topic_body())
    run(ledger, once)
    before = balances(ledger)
    stranger = PrivateKey.generate_ed25519()
    other_node = topic_body(NOW + 1)
    other_node.nodeAccountID.accountNum = 4
    long_memo = topic_body(NOW + 1)
    long_memo.memo = "é" * 51
    endless = topic_body(NOW + 1)
    endless.transactionValidDuration.seconds = 181
    cheap = topic_body(NOW + 1)
    cheap.transactionFee = 9_999_999
    unknown = body_at(NOW + 1)
    unknown.tokenCreation.memo = "not here"
    half_known = topic_body(NOW + 1)
    half_known.consensusCreateTopic.fee_schedule_key.ed25519 = bytes(32)
    scheduled = topic_body(NOW + 1)
    scheduled.transactionID.scheduled = True
    cases = [
        (once, ResponseCode.DUPLICATE_TRANSACTION),
        (signed(topic_body(NOW - 121 * SECOND_NS)), ResponseCode.TRANSACTION_EXPIRED),
        (signed(topic_body(NOW + 11 * SECOND_NS)), ResponseCode.INVALID_TRANSACTION_START),
        (signed(topic_body(NOW + 1), stranger), ResponseCode.INVALID_SIGNATURE),
        (signed(transfer_body(NOW + 1, (OPERATOR, 0), payer=77)), ResponseCode.PAYER_ACCOUNT_NOT_FOUND),
        (signed(other_node), ResponseCode.INVALID_NODE_ACCOUNT),
        (signed(long_memo), ResponseCode.MEMO_TOO_LONG),
        (signed(endless), ResponseCode.INVALID_TRANSACTION_DURATION),
        (signed(cheap), ResponseCode.INSUFFICIENT_TX_FEE),
        (signed(unknown), ResponseCode.NOT_SUPPORTED),
        (signed(half_known), ResponseCode.NOT_SUPPORTED),
        (signed(body_at(NOW + 1)), ResponseCode.NOT_SUPPORTED),
        (signed(scheduled), ResponseCode.TRANSACTION_ID_FIELD_NOT_ALLOWED),
        (signed(b"\xff\xff"), ResponseCode.INVALID_TRANSACTION_BODY),
        (b"\xff\xff", ResponseCode.INVALID_TRANSACTION),
        (b"", ResponseCode.INVALID_TRANSACTION_BODY),
    ]
    assert [refusal(ledger, raw) for raw, _ in cases] == [status for _, status in cases]
    assert balances(ledger) == before


def test_the_size_limit_is_6144_bytes_exactly():
    ledger = new_ledger()
    spare = 6_144 - len(signed(message_body(NOW, 1001, b"x" * 5_900)))
    full = signed(message_body(NOW, 1001, b"x" * (5_900 + spare)))
    assert len(full) == 6_144
    assert precheck(ledger, full, NODE, NOW).payer == OPERATOR
    oversize = signed(message_body(NOW, 1001, b"x" * (5_901 + spare)))
    assert refusal(ledger, oversize) == ResponseCode.TRANSACTION_OVERSIZE


def test_messages_and_chunks_are_bounded():
    ledger = new_ledger()
    run(ledger, signed(topic_body()))
    cases = []
    for start, number, total, payer, is_own, size in [
        (NOW + 1, 1, 2, OPERATOR, True, 1_024),
        (NOW + 2, 2, 2, OPERATOR, False, 1_024),
        (NOW + 3, 3, 2, OPERATOR, False, 1),
        (NOW + 4, 0, 2, OPERATOR, True, 1),
        (NOW + 5, 1, 2, OPERATOR, False, 1),
        (NOW + 6, 2, 2, NODE, False, 1),
        (NOW + 7, 1, 1, OPERATOR, True, 1_025),
        (NOW + 8, 1, 1, OPERATOR, True, 0),
    ]:
        body = message_body(start, 1001, b"x" * size)
        chunk = body.consensusSubmitMessage.chunkInfo
        chunk.number, chunk.total = number, total
        chunk.initialTransactionID.CopyFrom(body.transactionID)
        chunk.initialTransactionID.accountID.accountNum = payer
        if not is_own:
            chunk.initialTransactionID.transactionValidStart.seconds -= 1
        cases.append(ResponseCode(run(ledger, signed(body)).record.receipt.status))
    assert cases == [
        ResponseCode.SUCCESS,
        ResponseCode.SUCCESS,
        ResponseCode.INVALID_CHUNK_NUMBER,
        ResponseCode.INVALID_CHUNK_NUMBER,
        ResponseCode.INVALID_CHUNK_TRANSACTION_ID,
        ResponseCode.INVALID_CHUNK_TRANSACTION_ID,
        ResponseCode.MESSAGE_SIZE_TOO_LARGE,
        ResponseCode.INVALID_TOPIC_MESSAGE,
    ]
    assert ledger.topics[1001].sequence == 2


def test_keys_that_nobody_could_satisfy_are_refused():
    ledger = new_ledger()
    one = basic_types_pb2.Key(ed25519=KEY.public_key().to_bytes_raw())
    too_many = basic_types_pb2.Key()
    too_many.thresholdKey.threshold = 2
    too_many.thresholdKey.keys.keys.append(one)
    empty = basic_types_pb2.Key()
    empty.keyList.SetInParent()
    deep = one
    for _ in range(15):
        outer = basic_types_pb2.Key()
        outer.keyList.keys.append(deep)
        deep = outer
    bad = [
        basic_types_pb2.Key(ed25519=b"short"),
        basic_types_pb2.Key(ECDSA_secp256k1=b"\x02" + b"\xff" * 32),
        too_many,
        empty,
        deep,
    ]
    for i, key in enumerate(bad):
        entry = run(ledger, signed(account_body(NOW + i, key)))
        assert entry.record.receipt.status == ResponseCode.BAD_ENCODING
    assert set(ledger.accounts) == {OPERATOR, *NODES, FEE_COLLECTOR}
    assert is_well_formed(deep.keyList.keys[0])


def test_a_shortened_prefix_still_names_its_key():
    key, other = PrivateKey.generate_ed25519(), PrivateKey.generate_ecdsa()
    pairs = [
        basic_types_pb2.SignaturePair(
            pubKeyPrefix=key.public_key().to_bytes_raw()[:4], ed25519=key.sign(b"b")
        ),
        basic_types_pb2.SignaturePair(
            pubKeyPrefix=other.public_key().to_bytes_raw()[:4], ECDSA_secp256k1=other.sign(b"b")
        ),
    ]
    both = basic_types_pb2.Key()
    both.keyList.keys.add(ed25519=key.public_key().to_bytes_raw())
    both.keyList.keys.add(ECDSA_secp256k1=other.public_key().to_bytes_raw())
    assert is_satisfied(both, Signatures(b"b", pairs))
    assert not is_satisfied(both, Signatures(b"c", pairs))
    assert not is_satisfied(both, Signatures(b"b", pairs[:1]))


def test_replay_leads_to_the_same_ledger(tmp_path):
    path = tmp_path / "journal"
    live = new_ledger()
    with Journal(path, Genesis(live.time, KEY.public_key().to_bytes_raw())) as journal:
        key = basic_types_pb2.Key(ECDSA_secp256k1=PrivateKey.generate_ecdsa().public_key().to_bytes_raw())
        raws = [signed(topic_body()), signed(account_body(NOW + 1, key, 500))]
        raws += [signed(message_body(NOW + 2 + i, 1001, b"%d" % i)) for i in range(20)]
        raws += [signed(transfer_body(NOW + 50, (OPERATOR, -9), (1002, 9)))]
        raws += [signed(transfer_body(NOW + 51, (OPERATOR, 9), (1002, -9)))]  # not signed by 0.0.1002
        for raw in raws:
            journal.append([Ordered(run(live, raw).time, raw)])
    with Journal(path, Genesis(0, bytes(32))) as journal:
        replayed = replay(journal)
    assert replayed == live
    assert replayed.entries[-1].record.receipt.status == ResponseCode.INVALID_SIGNATURE


entity_nums = st.sampled_from([-1, 0, OPERATOR, NODE, FEE_COLLECTOR, 1001, 1002, 1003, 2**62])
amounts = st.one_of(st.integers(-1_000, 1_000), st.integers(-(2**63), 2**63 - 1))


@st.composite
def operations(draw):
    """A transaction body with every part drawn freely, or the bytes of one with some bytes changed."""
    body = body_at(NOW + draw(st.integers(-200, 20)) * SECOND_NS + draw(st.integers(0, 999)))
    kind = draw(st.sampled_from(KEYS_OF_KINDS))
    operation = getattr(body, kind)
    operation.SetInParent()
    if kind == "cryptoTransfer":
        for num, amount in draw(st.lists(st.tuples(entity_nums, amounts), max_size=12)):
            operation.transfers.accountAmounts.add(amount=amount).accountID.accountNum = num
        if draw(st.booleans()) and len(operation.transfers.accountAmounts) == 2:
            first, second = operation.transfers.accountAmounts
            second.amount = max(-(2**63) + 1, min(2**63 - 1, -first.amount))
    if kind == "cryptoCreateAccount":
        operation.initialBalance = draw(st.integers(0, 2**64 - 1))
        operation.autoRenewPeriod.seconds = draw(st.sampled_from([0, -1, 7_776_000]))
        operation.receiverSigRequired = draw(st.booleans())
    if kind == "consensusCreateTopic":
        operation.autoRenewPeriod.seconds = draw(st.sampled_from([0, 7_776_000]))
        operation.memo = draw(st.text(max_size=101))
    if kind == "consensusSubmitMessage":
        operation.topicID.topicNum = draw(entity_nums)
        operation.message = draw(st.binary(max_size=1_100))
        operation.chunkInfo.number = draw(st.integers(-(2**31), 2**31 - 1))
    if kind in ("cryptoCreateAccount", "consensusCreateTopic") and draw(st.booleans()):
        name = "key" if kind == "cryptoCreateAccount" else draw(st.sampled_from(["adminKey", "submitKey"]))
        getattr(operation, name).ed25519 = draw(st.sampled_from([b"", KEY.public_key().to_bytes_raw()]))
    raw = bytearray(body.SerializeToString())
    for index, byte in draw(st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 255)), max_size=3)):
        raw[index % len(raw)] = byte
    return bytes(raw)


@settings(max_examples=150, deadline=None)
@given(st.lists(operations(), max_size=8))
def test_any_signed_body_is_applied_or_refused_and_money_is_conserved(bodies):
    ledger = new_ledger()
    run(ledger, signed(topic_body(NOW - 7)))
    for body in bodies:
        before = (ledger.time, balances(ledger), len(ledger.entries))
        try:
            entry = run(ledger, signed(body))
        except Refused:
            assert (ledger.time, balances(ledger), len(ledger.entries)) == before
            continue
        assert entry.time > before[0]
        assert sum(balances(ledger).values()) == SUPPLY
        assert min(balances(ledger).values()) >= 0
        assert sum(item.amount for item in entry.record.transferList.accountAmounts) == 0
        content = transaction_pb2.Transaction.FromString(signed(body)).signedTransactionBytes
        assert entry.record.transactionHash == hashlib.sha384(content).digest()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_junk_is_refused(junk):
    refusal(new_ledger(), junk)
    wrapped = transaction_pb2.Transaction(signedTransactionBytes=junk or b"\0").SerializeToString()
    refusal(new_ledger(), wrapped)
    refusal(new_ledger(), signed(junk))
