"""Scheduled transactions: who must sign, when they run, what they cost, and what the network forgets."""

import pytest

from ledger.hiero import (
    PrivateKey,
    ResponseCode,
    basic_types_pb2,
    query_pb2,
    response_pb2,
    transaction_pb2,
)
from ledger.localnet.errors import Refused
from ledger.localnet.journal import Genesis, Journal, Ordered
from ledger.localnet.network import replay
from ledger.localnet.queries import QUERIES
from ledger.localnet.state import FEE_COLLECTOR, OPERATOR, SECOND_NS, SUPPLY, Ledger
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

KEYS = [PrivateKey.from_bytes_ed25519(bytes([n]) * 32) for n in range(1, 4)] + [
    PrivateKey.from_bytes_ecdsa(bytes([n]) * 32) for n in range(4, 6)
]
TREASURY, FIRST_PEER = 1001, 1002
CREATE, SIGN, TRANSFER = 10_000_000, 1_000_000, 100_000


def proto(key: PrivateKey) -> basic_types_pb2.Key:
    kind = "ed25519" if key.is_ed25519() else "ECDSA_secp256k1"
    return basic_types_pb2.Key(**{kind: key.public_key().to_bytes_raw()})


def three_of_five() -> basic_types_pb2.Key:
    treasury = basic_types_pb2.Key()
    treasury.thresholdKey.threshold = 3
    treasury.thresholdKey.keys.keys.extend(proto(key) for key in KEYS)
    return treasury


@pytest.fixture
def ledger() -> Ledger:
    """A 3-of-5 treasury, 0.0.1001, and its five members, 0.0.1002 to 0.0.1006."""
    ledger = new_ledger()
    run(ledger, signed(account_body(NOW, three_of_five(), 10**10)))
    for i, key in enumerate(KEYS):
        run(ledger, signed(account_body(NOW + 1 + i, proto(key), 10**9)))
    assert list(ledger.accounts)[-6:] == list(range(TREASURY, TREASURY + 6))
    return ledger


def schedule_body(
    start: int, inner: transaction_pb2.TransactionBody, payer: int = OPERATOR, **fields
) -> transaction_pb2.TransactionBody:
    body = body_at(start, payer)
    create = body.scheduleCreate
    create.memo = fields.get("memo", "")
    create.scheduledTransactionBody.memo = inner.memo
    create.scheduledTransactionBody.transactionFee = fields.get("fee", 10**8)
    kind = inner.WhichOneof("data")
    getattr(create.scheduledTransactionBody, kind).CopyFrom(getattr(inner, kind))
    if "schedule_payer" in fields:
        create.payerAccountID.accountNum = fields["schedule_payer"]
    if "admin" in fields:
        create.adminKey.CopyFrom(proto(fields["admin"]))
    if "expires" in fields:
        create.expiration_time.seconds = fields["expires"] // SECOND_NS
    return body


def payout(amount: int = 1_000, memo: str = "round 7") -> transaction_pb2.TransactionBody:
    body = transfer_body(NOW, (TREASURY, -amount), (FIRST_PEER, amount - 300), (FIRST_PEER + 1, 300))
    body.memo = memo
    return body


def sign(ledger: Ledger, start: int, schedule: int, *keys: PrivateKey, payer: int = OPERATOR, now: int = NOW):
    body = body_at(start, payer)
    body.scheduleSign.scheduleID.scheduleNum = schedule
    signers = keys if payer != OPERATOR else (KEY, *keys)
    return run(ledger, signed(body, *signers), now)


def status(entry) -> ResponseCode:
    return ResponseCode(entry.record.receipt.status)


def test_a_scheduled_payout_runs_at_the_third_of_five_signatures(ledger):
    body = schedule_body(NOW + 10, payout(), FIRST_PEER, schedule_payer=TREASURY, memo="settle 7")
    created = run(ledger, signed(body, KEYS[0]))
    num = created.record.receipt.scheduleID.scheduleNum
    scheduled_id = created.record.receipt.scheduledTransactionID
    assert (status(created), created.entity, num) == (ResponseCode.SUCCESS, num, TREASURY + 6)
    assert scheduled_id.scheduled
    assert scheduled_id.transactionValidStart == created.record.transactionID.transactionValidStart
    before = balances(ledger)

    second = sign(ledger, NOW + 11, num, KEYS[3], payer=FIRST_PEER + 3)
    assert status(second) == ResponseCode.SUCCESS
    assert ledger.schedules[num].executed is None
    third = sign(ledger, NOW + 12, num, KEYS[1], payer=FIRST_PEER + 1)
    run_entry = ledger.entries[-1]
    assert ledger.entries[-2] is third
    assert run_entry.time == third.time + 1 == ledger.schedules[num].executed == ledger.time
    assert run_entry.record.scheduleRef.scheduleNum == num
    assert run_entry.record.transactionID == scheduled_id == third.record.receipt.scheduledTransactionID
    assert (status(run_entry), run_entry.record.memo) == (ResponseCode.SUCCESS, "round 7")
    after = balances(ledger)
    # The treasury pays the payout and its fee; each co-signer only the fee of its own signature.
    assert after[TREASURY] == before[TREASURY] - 1_000 - TRANSFER
    assert after[FIRST_PEER] == before[FIRST_PEER] + 700
    assert after[FIRST_PEER + 1] == before[FIRST_PEER + 1] + 300 - SIGN
    assert after[FIRST_PEER + 3] == before[FIRST_PEER + 3] - SIGN
    assert after[FEE_COLLECTOR] == before[FEE_COLLECTOR] + 2 * SIGN + TRANSFER
    late = sign(ledger, NOW + 13, num, KEYS[2], payer=FIRST_PEER + 2)
    assert status(late) == ResponseCode.SCHEDULE_ALREADY_EXECUTED
    assert balances(ledger)[TREASURY] == after[TREASURY]


def test_all_signatures_at_creation_run_it_at_once(ledger):
    body = schedule_body(NOW + 10, payout())
    created = run(ledger, signed(body, KEY, *KEYS[:3]))
    assert ledger.entries[-2] is created
    assert status(ledger.entries[-1]) == ResponseCode.SUCCESS
    assert ledger.by_id[(*created_key(created)[:3], True)] is ledger.entries[-1]


def created_key(entry):
    start = entry.record.transactionID.transactionValidStart
    return entry.record.transactionID.accountID.accountNum, start.seconds, start.nanos


def test_one_signature_counts_once_and_a_stranger_s_not_at_all(ledger):
    num = run(ledger, signed(schedule_body(NOW + 10, payout()), KEY, KEYS[0])).entity
    assert status(sign(ledger, NOW + 11, num, KEYS[0])) == ResponseCode.NO_NEW_VALID_SIGNATURES
    stranger = PrivateKey.generate_ed25519()
    assert status(sign(ledger, NOW + 12, num, stranger)) == ResponseCode.NO_NEW_VALID_SIGNATURES
    assert status(sign(ledger, NOW + 13, num, KEYS[0], KEYS[4])) == ResponseCode.SUCCESS
    assert ledger.schedules[num].executed is None
    assert {item.key for item in ledger.schedules[num].signatories} == {
        key.public_key().to_bytes_raw() for key in (KEY, KEYS[0], KEYS[4])
    }


def test_the_payer_s_own_signature_is_needed(ledger):
    body = schedule_body(NOW + 10, payout(), schedule_payer=FIRST_PEER + 4)
    num = run(ledger, signed(body, KEY, *KEYS[:3])).entity
    assert ledger.schedules[num].executed is None
    sign(ledger, NOW + 11, num, KEYS[4])
    assert ledger.schedules[num].executed == ledger.time


def test_an_identical_schedule_answers_with_the_one_there_is(ledger):
    first = run(ledger, signed(schedule_body(NOW + 10, payout(), memo="a"), KEY))
    # Who creates it and who pays make no difference; the memo, the body and the expiry do.
    again = schedule_body(NOW + 11, payout(), FIRST_PEER, schedule_payer=TREASURY, memo="a")
    second = run(ledger, signed(again, KEYS[0]))
    assert status(second) == ResponseCode.IDENTICAL_SCHEDULE_ALREADY_CREATED
    assert second.record.receipt.scheduleID == first.record.receipt.scheduleID
    assert second.record.receipt.scheduledTransactionID == first.record.receipt.scheduledTransactionID
    assert len(ledger.schedules) == 1
    others = [
        schedule_body(NOW + 12, payout(), memo="b"),
        schedule_body(NOW + 13, payout(1_001), memo="a"),
        schedule_body(NOW + 14, payout(), memo="a", expires=NOW + 60 * SECOND_NS),
    ]
    assert [status(run(ledger, signed(body))) for body in others] == [ResponseCode.SUCCESS] * 3


def test_an_expired_schedule_never_runs_and_its_content_is_free_again(ledger):
    soon = NOW + 60 * SECOND_NS
    num = run(ledger, signed(schedule_body(NOW + 10, payout(), expires=soon), KEY, *KEYS[:2])).entity
    before = balances(ledger)[TREASURY]
    late = sign(ledger, soon - 1, num, KEYS[2], now=soon)
    assert status(late) == ResponseCode.INVALID_SCHEDULE_ID
    assert balances(ledger)[TREASURY] == before
    default = run(ledger, signed(schedule_body(soon, payout(), memo="d")), soon).entity
    end = ledger.schedules[default].expires
    assert end == ledger.schedules[default].created + 1_800 * SECOND_NS
    again = run(ledger, signed(schedule_body(end - 1, payout(), memo="d")), end)
    assert (status(again), again.entity) == (ResponseCode.SUCCESS, default + 1)


def test_the_expiry_is_bounded(ledger):
    past = schedule_body(NOW + 10, payout(), expires=NOW)
    far = schedule_body(NOW + 11, payout(), expires=NOW + 5_356_802 * SECOND_NS)
    assert [status(run(ledger, signed(body))) for body in (past, far)] == [
        ResponseCode.SCHEDULE_EXPIRATION_TIME_MUST_BE_HIGHER_THAN_CONSENSUS_TIME,
        ResponseCode.SCHEDULE_EXPIRATION_TIME_TOO_FAR_IN_FUTURE,
    ]


def delete(ledger: Ledger, start: int, num: int, *keys: PrivateKey):
    body = body_at(start)
    body.scheduleDelete.scheduleID.scheduleNum = num
    return run(ledger, signed(body, KEY, *keys))


def test_only_the_admin_key_deletes(ledger):
    fixed = run(ledger, signed(schedule_body(NOW + 10, payout()))).entity
    assert status(delete(ledger, NOW + 11, fixed)) == ResponseCode.SCHEDULE_IS_IMMUTABLE
    body = schedule_body(NOW + 12, payout(), memo="admin", admin=KEYS[0])
    assert status(run(ledger, signed(body, KEY))) == ResponseCode.INVALID_SIGNATURE
    body = schedule_body(NOW + 13, payout(), memo="admin", admin=KEYS[0])
    num = run(ledger, signed(body, KEY, KEYS[0])).entity
    assert status(delete(ledger, NOW + 14, num)) == ResponseCode.INVALID_SIGNATURE
    assert status(delete(ledger, NOW + 15, num, KEYS[0])) == ResponseCode.SUCCESS
    assert status(delete(ledger, NOW + 16, num, KEYS[0])) == ResponseCode.SCHEDULE_ALREADY_DELETED
    signing = sign(ledger, NOW + 17, num, *KEYS[1:3])
    assert status(signing) == ResponseCode.SCHEDULE_ALREADY_DELETED
    assert status(delete(ledger, NOW + 18, 9_999)) == ResponseCode.INVALID_SCHEDULE_ID


def test_a_submission_waits_for_the_submit_key(ledger):
    topic = run(ledger, signed(topic_body(NOW + 10, submitKey=proto(KEYS[0])))).entity
    num = run(ledger, signed(schedule_body(NOW + 11, message_body(NOW, topic, b"later")))).entity
    assert ledger.topics[topic].sequence == 0
    sign(ledger, NOW + 12, num, KEYS[0])
    (message,) = ledger.messages[topic]
    assert (message.body, message.payer, message.time) == (b"later", OPERATOR, ledger.time)


def test_a_rotation_of_the_treasury_needs_old_and_new_keys(ledger):
    new = PrivateKey.generate_ed25519()
    update = body_at(NOW)
    update.cryptoUpdateAccount.accountIDToUpdate.accountNum = TREASURY
    update.cryptoUpdateAccount.key.CopyFrom(proto(new))
    num = run(ledger, signed(schedule_body(NOW + 10, update), KEY, *KEYS[:3])).entity
    assert ledger.accounts[TREASURY].key == three_of_five()
    sign(ledger, NOW + 11, num, new)
    assert ledger.accounts[TREASURY].key == proto(new)


def test_a_scheduled_transaction_that_fails_has_a_record_and_is_over(ledger):
    too_much = payout(amount=10**11)
    num = run(ledger, signed(schedule_body(NOW + 10, too_much), KEY, *KEYS[:3])).entity
    assert status(ledger.entries[-1]) == ResponseCode.INSUFFICIENT_ACCOUNT_BALANCE
    assert ledger.entries[-1].record.transactionFee == TRANSFER
    assert ledger.schedules[num].executed == ledger.time


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"fee": TRANSFER - 1}, ResponseCode.INSUFFICIENT_TX_FEE),
        ({"schedule_payer": TREASURY + 6}, ResponseCode.INSUFFICIENT_PAYER_BALANCE),
    ],
)
def test_a_fee_that_cannot_be_paid_stops_it_for_nothing(ledger, fields, expected):
    run(ledger, signed(account_body(NOW + 9, proto(KEY), 0)))  # poor, 0.0.1007
    run(ledger, signed(schedule_body(NOW + 10, payout(), **fields), KEY, *KEYS[:3]))
    last = ledger.entries[-1]
    assert (status(last), last.record.transactionFee) == (expected, 0)
    assert balances(ledger)[TREASURY] == 10**10


def test_what_cannot_be_scheduled_is_refused(ledger):
    deleting = body_at(NOW)
    deleting.scheduleDelete.scheduleID.scheduleNum = 5
    unknown = transfer_body(NOW, (TREASURY, -1), (77, 1))
    empty = body_at(NOW + 14)
    empty.scheduleCreate.memo = "nothing in it"
    waiting = schedule_body(NOW + 15, payout())
    waiting.scheduleCreate.wait_for_expiry = True
    with pytest.raises(Refused, match="NOT_SUPPORTED"):
        run(ledger, signed(waiting))
    answers = [
        run(ledger, signed(schedule_body(NOW + 11, deleting))),
        run(ledger, signed(schedule_body(NOW + 12, unknown))),
        run(ledger, signed(schedule_body(NOW + 13, payout(), schedule_payer=77))),
        run(ledger, signed(empty)),
    ]
    assert [status(answer) for answer in answers] == [
        ResponseCode.SCHEDULED_TRANSACTION_NOT_IN_WHITELIST,
        ResponseCode.UNRESOLVABLE_REQUIRED_SIGNERS,
        ResponseCode.INVALID_SCHEDULE_PAYER_ID,
        ResponseCode.SCHEDULED_TRANSACTION_NOT_IN_WHITELIST,
    ]
    assert not ledger.schedules


def test_replay_runs_the_schedules_again_at_the_same_times(tmp_path):
    path = tmp_path / "journal"
    live = new_ledger()
    with Journal(path, Genesis(live.time, KEY.public_key().to_bytes_raw())) as journal:
        raws = [signed(account_body(NOW, three_of_five(), 10**10))]
        raws += [signed(account_body(NOW + 1 + i, proto(key), 10**9)) for i, key in enumerate(KEYS)]
        raws += [signed(schedule_body(NOW + 10, payout()), KEY, KEYS[0])]
        for i, keys in enumerate([KEYS[1:2], KEYS[1:2], KEYS[2:4], KEYS[4:5]]):
            body = body_at(NOW + 11 + i)
            body.scheduleSign.scheduleID.scheduleNum = TREASURY + 6
            raws.append(signed(body, KEY, *keys))
        for raw in raws:
            journal.append([Ordered(run(live, raw).time, raw)])
    with Journal(path, Genesis(0, bytes(32))) as journal:
        assert replay(journal) == live
    assert live.schedules[TREASURY + 6].executed is not None
    assert sum(balances(live).values()) == SUPPLY


def test_the_query_shows_the_body_and_who_signed(ledger):
    num = run(ledger, signed(schedule_body(NOW + 10, payout()), KEY, KEYS[3])).entity
    query, response = query_pb2.Query(), response_pb2.Response()
    query.scheduleGetInfo.scheduleID.scheduleNum = num
    QUERIES["scheduleGetInfo"].answer(ledger, query, response)
    info = response.scheduleGetInfo.scheduleInfo
    assert info.scheduledTransactionBody.cryptoTransfer == payout().cryptoTransfer
    assert list(info.signers.keys) == [proto(KEY), proto(KEYS[3])]
    assert not info.HasField("execution_time")
    assert info.scheduledTransactionID.scheduled


def test_a_transfer_to_a_deleted_account_is_scheduled_and_fails_once_it_is_executed(ledger):
    deleting = body_at(NOW + 10)
    deleting.cryptoDelete.deleteAccountID.accountNum = FIRST_PEER + 1
    deleting.cryptoDelete.transferAccountID.accountNum = OPERATOR
    assert status(run(ledger, signed(deleting, KEY, KEYS[1]))) == ResponseCode.SUCCESS
    body = schedule_body(NOW + 11, payout(), schedule_payer=TREASURY)
    run(ledger, signed(body, KEY, KEYS[0], *KEYS[2:4]))
    last = ledger.entries[-1]
    assert (status(last), last.record.transactionFee) == (ResponseCode.ACCOUNT_DELETED, TRANSFER)
    assert balances(ledger)[TREASURY] == 10**10 - TRANSFER
    assert balances(ledger)[FIRST_PEER] == 10**9


def test_an_expiry_is_in_whole_seconds(ledger):
    bodies = [schedule_body(NOW + 10 + i, payout(), expires=NOW + 60 * SECOND_NS) for i in range(2)]
    bodies[1].scheduleCreate.expiration_time.nanos = 5
    first, second = (run(ledger, signed(body)) for body in bodies)
    assert status(second) == ResponseCode.IDENTICAL_SCHEDULE_ALREADY_CREATED
    assert second.record.receipt.scheduleID.scheduleNum == first.entity
    assert ledger.schedules[first.entity].expires == NOW + 60 * SECOND_NS


def test_what_needs_less_than_before_runs_when_anybody_signs(ledger):
    def require(start: int, is_required: bool) -> None:
        update = body_at(start)
        update.cryptoUpdateAccount.accountIDToUpdate.accountNum = FIRST_PEER
        update.cryptoUpdateAccount.receiverSigRequiredWrapper.value = is_required
        assert status(run(ledger, signed(update, KEY, KEYS[0]))) == ResponseCode.SUCCESS

    require(NOW + 10, True)
    num = run(ledger, signed(schedule_body(NOW + 11, payout()), KEY, *KEYS[1:4])).entity
    assert ledger.schedules[num].executed is None
    assert status(sign(ledger, NOW + 12, num)) == ResponseCode.NO_NEW_VALID_SIGNATURES
    require(NOW + 13, False)
    assert status(sign(ledger, NOW + 14, num)) == ResponseCode.SUCCESS
    assert ledger.schedules[num].executed == ledger.time
