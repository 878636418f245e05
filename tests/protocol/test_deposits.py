"""deposits: each way in which a fund, a topup or a join may name a transfer that is not what it says."""

from dataclasses import replace

import pytest

from protocol.deposits import deposit_memo, transfer_of
from protocol.errors import Ignore, Invalid
from protocol.ids import SECOND, Tinybar
from protocol.payments import FundRecord, TopupRecord
from protocol.transfers import SCHEDULED
from tests.protocol import acts
from tests.protocol.world import FEE, FUNDER, PEERS, TREASURY, Run, account, blob, fold

AMOUNT = 5_000
STRANGER = account(33)


@pytest.fixture
def run():
    return Run(3)


def by_of(op):
    return FUNDER if op == "fund" else PEERS[3] if op == "join" else PEERS[1]


def deposit(run, op, transaction, amount=AMOUNT):
    """A record that names a transfer: a fund by FUNDER, a topup of member 1, a join of PEERS[3]."""
    if op == "join":
        return _join(run, transaction, amount)
    fields = {"run": run.now.run, "amount": amount, "transaction": transaction}
    return FundRecord(account=FUNDER, **fields) if op == "fund" else TopupRecord(peer=PEERS[1], **fields)


def _join(run, transaction, amount):
    body = acts.JoinBody(
        run=run.now.run, peer=PEERS[3], account=account(3), stake=amount, transaction=transaction, term=1
    )
    sig = acts.sign(acts.SECRETS[3], "join", body)
    signed = acts.signatures(run, "join", body, run.current.members)
    return acts.JoinRecord(body=body, sig=sig, signatures=signed)


OPS = pytest.mark.parametrize("op", ["fund", "topup", "join"])


def test_a_memo_says_run_purpose_and_whose_it_is(run):
    memos = {
        deposit_memo(of, op, by)
        for of in (run.now.run, blob("other"))
        for op in ("fund", "topup", "join")
        for by in (FUNDER, PEERS[0], PEERS[1])
    }
    assert len(memos) == 18
    assert {len(memo) for memo in memos} == {43}


def test_what_comes_in_is_where_it_was_sent(run):
    state = run.fund(AMOUNT)
    assert (state.money.pool, state.money.funds) == (AMOUNT, ((FUNDER, AMOUNT),))
    state = run.topup(1, 700)
    assert state.money.stakes == (0, 700, 0)
    state = run.put(_join(run, run.pay("join", PEERS[3], 900), 900))
    assert state.money.stakes == (0, 700, 0, 900)
    assert (state.money.deposits, len(state.money.used)) == (AMOUNT + 1600, 3)
    assert run.fund(1).money.funds == ((FUNDER, AMOUNT + 1),)


@OPS
def test_a_transfer_for_something_else_is_none(run, op):
    wrong = [
        deposit_memo(blob("another run"), op, by_of(op)),
        deposit_memo(run.now.run, op, PEERS[2] if op != "fund" else STRANGER),
        deposit_memo(run.now.run, {"fund": "topup", "topup": "join", "join": "fund"}[op], by_of(op)),
        "",
        by_of(op),
    ]
    for memo in wrong:
        run.time += SECOND
        transaction = run.ledger.put(run.time, FUNDER, {FUNDER: -AMOUNT, TREASURY: AMOUNT}, memo)
        with pytest.raises(Invalid, match="its memo differs"):
            run.put(deposit(run, op, transaction))


@OPS
@pytest.mark.parametrize("claimed", [AMOUNT - 1, AMOUNT + 1, 2 * AMOUNT, 1])
def test_another_amount_is_none(run, op, claimed):
    transaction = run.pay(op, by_of(op), AMOUNT)
    with pytest.raises(Invalid, match=f"transfer of {AMOUNT}"):
        run.put(deposit(run, op, transaction, claimed))
    assert run.put(deposit(run, op, transaction)).money.deposits == AMOUNT


@OPS
def test_a_treasury_that_got_nothing_owes_nothing(run, op):
    run.time += SECOND
    memo = deposit_memo(run.now.run, op, by_of(op))
    elsewhere = run.ledger.put(run.time, FUNDER, {FUNDER: -AMOUNT, STRANGER: AMOUNT}, memo)
    backwards = run.ledger.put(run.time, STRANGER, {FUNDER: AMOUNT, STRANGER: -AMOUNT}, memo)
    for transaction in (elsewhere, backwards):
        with pytest.raises(Invalid, match="transfer of 0"):
            run.put(deposit(run, op, transaction))


@OPS
@pytest.mark.parametrize("ahead", [0, 1, SECOND])
def test_a_transfer_comes_before_its_record(run, op, ahead):
    transaction = run.pay(op, by_of(op), AMOUNT)
    run.ledger.transfers[-1] = replace(run.ledger.transfers[-1], time=run.time + SECOND + ahead)
    record = deposit(run, op, transaction)
    with pytest.raises(Invalid, match="before its transfer"):
        run.put(record, at=run.time + SECOND)
    assert run.put(record, at=run.time + 5 * SECOND).money.deposits == AMOUNT


@OPS
@pytest.mark.parametrize("result", ["INSUFFICIENT_PAYER_BALANCE", "INVALID_SIGNATURE", "success", ""])
def test_a_failed_transfer_is_none(run, op, result):
    transaction = run.pay(op, by_of(op), AMOUNT, result=result)
    with pytest.raises(Invalid, match="failed"):
        run.put(deposit(run, op, transaction))


@OPS
def test_an_unknown_transfer_is_none(run, op):
    with pytest.raises(Invalid, match="not on the ledger"):
        run.put(deposit(run, op, f"{FUNDER}-1700000000-000000009"))


@OPS
def test_a_transfer_counts_once(run, op):
    record = deposit(run, op, run.pay(op, by_of(op), AMOUNT))
    run.put(record)
    with pytest.raises(Ignore, match="counted before"):
        run.put(record)
    for other in ("fund", "topup"):
        with pytest.raises(Ignore, match="counted before"):
            run.put(deposit(run, other, record.body.transaction if op == "join" else record.transaction))
    assert run.now.money.deposits == AMOUNT


@OPS
def test_the_scheduled_transaction_is_another_than_the_one_that_scheduled_it(run, op):
    transaction = run.pay(op, by_of(op), AMOUNT)
    with pytest.raises(Invalid, match="not on the ledger"):
        run.put(deposit(run, op, transaction + SCHEDULED))
    transaction = run.pay(op, by_of(op), AMOUNT, id=f"{FUNDER}-1700000000-000000077{SCHEDULED}")
    with pytest.raises(Invalid, match="not on the ledger"):
        run.put(deposit(run, op, transaction.removesuffix(SCHEDULED)))
    assert run.put(deposit(run, op, transaction)).money.deposits == AMOUNT


@OPS
def test_of_duplicates_the_one_that_succeeded_counts_in_any_order(run, op):
    identity = run.pay(op, by_of(op), AMOUNT)
    (right,) = run.ledger.transfers
    copy = replace(right, result="DUPLICATE_TRANSACTION", moves=((FUNDER, -FEE),))
    assert transfer_of((right, copy), identity) == transfer_of((copy, right), identity) == right
    assert transfer_of((copy,), identity) == copy
    assert transfer_of((), identity) is None


def test_a_fund_is_paid_by_whom_it_says(run):
    run.time += SECOND
    memo = deposit_memo(run.now.run, "fund", FUNDER)
    for moves in (
        {STRANGER: -AMOUNT},
        {STRANGER: -AMOUNT + 1, FUNDER: -1},
        {STRANGER: -2 * AMOUNT, FUNDER: AMOUNT},
    ):
        transaction = run.ledger.put(run.time, STRANGER, {TREASURY: AMOUNT, **moves}, memo)
        with pytest.raises(Invalid, match="somebody else paid"):
            run.put(deposit(run, "fund", transaction))
    for payer in (FUNDER, STRANGER):  # of the fee
        paid = run.ledger.put(run.time, payer, {TREASURY: AMOUNT, FUNDER: -AMOUNT}, memo)
        run.put(deposit(run, "fund", paid))
    assert run.now.money.funds == ((FUNDER, 2 * AMOUNT),)


def test_the_treasury_does_not_fund_itself(run):
    run.time += SECOND
    memo = deposit_memo(run.now.run, "fund", TREASURY)
    transaction = run.ledger.put(run.time, STRANGER, {TREASURY: AMOUNT, STRANGER: -AMOUNT}, memo)
    record = deposit(run, "fund", transaction).model_copy(update={"account": TREASURY})
    with pytest.raises(Invalid, match="somebody else paid"):
        run.put(record)


def test_anybody_may_pay_a_stake_for_a_member(run):
    transaction = run.pay("topup", PEERS[1], AMOUNT, payer=STRANGER)
    assert run.put(deposit(run, "topup", transaction)).money.stakes[1] == AMOUNT


def test_a_topup_is_for_somebody_in_the_roster(run):
    record = deposit(run, "topup", run.pay("topup", PEERS[7], AMOUNT)).model_copy(update={"peer": PEERS[7]})
    with pytest.raises(Invalid, match="nobody in the roster"):
        run.put(record)


@pytest.mark.parametrize("op", ["fund", "topup"])
def test_a_deposit_names_its_run(run, op):
    transaction = run.pay(op, by_of(op), AMOUNT)
    with pytest.raises(Invalid, match="another run"):
        run.put(deposit(run, op, transaction).model_copy(update={"run": blob("another run")}))


def test_without_a_treasury_there_is_no_money():
    run = Run(3)
    genesis = run.genesis.model_copy(update={"treasury": None})
    run.genesis, run.state = genesis, None
    run.topic.messages.clear()
    run.put(genesis)
    for op in ("fund", "topup", "join"):
        with pytest.raises(Invalid, match="without a treasury"):
            run.put(deposit(run, op, run.pay(op, by_of(op), AMOUNT)))
    with pytest.raises(Invalid, match="without a treasury"):
        run.put(acts.settle(run))
    assert run.accept().money.earned == ()


def test_a_join_that_is_not_admitted_takes_no_stake(run):
    transaction = run.pay("join", PEERS[3], AMOUNT)
    record = _join(run, transaction, AMOUNT)
    with pytest.raises(Invalid, match="0 of 3 signatures"):
        run.put(record.model_copy(update={"signatures": ()}))
    assert run.now.money.deposits == 0
    assert run.put(record).money.stakes == (0, 0, 0, AMOUNT)


def test_a_topup_after_everything_was_paid_back_goes_back_too():
    run = Run(3, pool=10**9, max_rounds=1, settle_fee=1_000)
    run.topup(1, AMOUNT)
    run.accept()
    run.topup(2, AMOUNT)
    assert run.now.money.stakes == (0, AMOUNT, AMOUNT)
    run.put(acts.settle(run), at=run.time + 60 * SECOND)
    assert run.now.money.wound_up
    state = run.topup(2, 70)
    assert state.money.stakes == (0, 0, 0)
    assert dict(state.money.owed)[account(2)] == AMOUNT + 70
    assert fold(run.topic.messages, run.ledger) == state


def test_amounts_add_up_without_a_bound(run):
    run.fund(2**53 - 1)
    assert run.fund(2**53 - 1).money.pool == Tinybar(2**54 - 2)
