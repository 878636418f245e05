"""Whatever happened, the journal leads to the same ledger again, and no tinybar is made or lost."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.hiero import PrivateKey, ResponseCode, basic_types_pb2, transaction_pb2
from ledger.localnet.errors import Refused
from ledger.localnet.journal import Genesis, Journal, Ordered
from ledger.localnet.network import replay
from ledger.localnet.state import OPERATOR, SECOND_NS, SUPPLY, Ledger
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

KEYS = [PrivateKey.from_bytes_ed25519(bytes([n]) * 32) for n in (1, 2, 3)]
TREASURY, TOPIC = 1001, 1005
PEERS = (1002, 1003, 1004)
ACCOUNTS = (OPERATOR, TREASURY, *PEERS)
WAITING = 1006


def proto(key: PrivateKey) -> basic_types_pb2.Key:
    return basic_types_pb2.Key(ed25519=key.public_key().to_bytes_raw())


def opening() -> list[bytes]:
    """A 2-of-3 treasury, its members, a topic, and a payout of the treasury that waits for signatures."""
    treasury = basic_types_pb2.Key()
    treasury.thresholdKey.threshold = 2
    treasury.thresholdKey.keys.keys.extend(proto(key) for key in KEYS)
    bodies = [account_body(NOW - 10, treasury, 10**9)]
    bodies += [account_body(NOW - 9 + i, proto(key), 10**8) for i, key in enumerate(KEYS)]
    bodies.append(topic_body(NOW - 2))
    payout = body_at(NOW - 1)
    create = payout.scheduleCreate
    create.scheduledTransactionBody.transactionFee = 10**9
    inner = transfer_body(NOW, (TREASURY, -500), (PEERS[0], 500)).cryptoTransfer
    create.scheduledTransactionBody.cryptoTransfer.CopyFrom(inner)
    create.payerAccountID.accountNum = TREASURY
    bodies.append(payout)
    return [signed(body) for body in bodies]


accounts = st.sampled_from(ACCOUNTS)
amounts = st.one_of(st.integers(0, 2_000), st.just(10**9))


@st.composite
def transfers(draw, start: int):
    source, target = draw(st.permutations(ACCOUNTS))[:2]
    amount = draw(amounts)
    body = transfer_body(start, (source, -amount), (target, amount))
    body.cryptoTransfer.transfers.accountAmounts[0].is_approval = draw(st.booleans())
    return body


@st.composite
def changes(draw, start: int):
    """An approval, an update, a deletion, or a message."""
    body = body_at(start)
    kind = draw(st.sampled_from(["approve", "update", "delete", "submit", "deleteTopic"]))
    if kind == "approve":
        item = body.cryptoApproveAllowance.cryptoAllowances.add(amount=draw(amounts))
        item.owner.accountNum, item.spender.accountNum = draw(accounts), draw(accounts)
    if kind == "update":
        body.cryptoUpdateAccount.accountIDToUpdate.accountNum = draw(accounts)
        body.cryptoUpdateAccount.receiverSigRequiredWrapper.value = draw(st.booleans())
    if kind == "delete":
        body.cryptoDelete.deleteAccountID.accountNum = draw(st.sampled_from([PEERS[2], TREASURY]))
        body.cryptoDelete.transferAccountID.accountNum = draw(accounts)
    if kind == "submit":
        return message_body(start, TOPIC, draw(st.binary(min_size=1, max_size=20)))
    if kind == "deleteTopic":
        body.consensusDeleteTopic.topicID.topicNum = TOPIC
    return body


@st.composite
def schedules(draw, start: int):
    inner = draw(st.one_of(transfers(start), changes(start)))
    body = body_at(start)
    kind = inner.WhichOneof("data")
    create = body.scheduleCreate
    create.scheduledTransactionBody.transactionFee = draw(st.sampled_from([10**9, 10**9, 0]))
    getattr(create.scheduledTransactionBody, kind).CopyFrom(getattr(inner, kind))
    create.payerAccountID.accountNum = draw(accounts)
    if not draw(st.integers(0, 4)):
        create.expiration_time.seconds = NOW // SECOND_NS + draw(st.integers(0, 10))
    return body


@st.composite
def signings(draw, start: int):
    body = body_at(start)
    body.scheduleSign.scheduleID.scheduleNum = draw(
        st.sampled_from([WAITING, WAITING, WAITING + 1, WAITING + 2])
    )
    return body


@st.composite
def histories(draw) -> list[tuple[bytes, int]]:
    """Transactions, each with the clock when it arrives, which may stand still or go back."""
    history = []
    for i in range(draw(st.integers(4, 14))):
        start = NOW + i
        choices = (transfers(start), changes(start), schedules(start), signings(start), signings(start))
        body: transaction_pb2.TransactionBody = draw(st.one_of(*choices))
        payer, key = draw(st.sampled_from([(OPERATOR, KEY), *zip(PEERS, KEYS, strict=True)]))
        body.transactionID.accountID.accountNum = payer
        others = draw(st.lists(st.sampled_from([KEY, *KEYS]), max_size=3, unique_by=id))
        keys = {id(signer): signer for signer in (key, *others)}
        history.append((signed(body, *keys.values()), NOW + draw(st.integers(0, 12)) * SECOND_NS))
    return history


def totals_hold(ledger: Ledger) -> bool:
    held = balances(ledger)
    return sum(held.values()) == SUPPLY and min(held.values()) >= 0


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_any_history_replays_to_the_same_ledger(tmp_path_factory, history):
    path = tmp_path_factory.mktemp("replay") / "journal"
    live = new_ledger()
    with Journal(path, Genesis(live.time, KEY.public_key().to_bytes_raw())) as journal:
        for raw, now in [(raw, NOW) for raw in opening()] + history:
            before = live.time, balances(live), len(live.entries)
            try:
                entry = run(live, raw, now)
            except Refused:
                assert (live.time, balances(live), len(live.entries)) == before
                continue
            journal.append([Ordered(entry.time, raw)])
            assert totals_hold(live)
    with Journal(path, Genesis(0, bytes(32))) as journal:
        replayed = replay(journal)
    assert replayed == live
    times = [entry.time for entry in live.entries]
    assert times == sorted(set(times))
    for entry in live.entries:
        assert sum(item.amount for item in entry.record.transferList.accountAmounts) == 0
    # A schedule runs at most once, and only while it is known.
    ran = [e.record.scheduleRef.scheduleNum for e in live.entries if e.record.transactionID.scheduled]
    assert len(ran) == len(set(ran))
    for num in ran:
        schedule = live.schedules[num]
        assert schedule.deleted is None
        assert schedule.executed is not None
        assert schedule.executed <= schedule.expires
    executed = {num for num, schedule in live.schedules.items() if schedule.executed is not None}
    assert executed == set(ran)
    assert all(ResponseCode(entry.record.receipt.status).name != "UNKNOWN" for entry in live.entries)
