"""settle, settled, failed: from what is owed to what was paid, once."""

import pytest

from protocol.errors import Ignore, Invalid
from protocol.ids import SECOND
from protocol.money import total_of
from protocol.settlement import EXPIRY_MARGIN, payout_of
from tests.protocol import acts
from tests.protocol.pays import POOL, RESERVE, STRANGER, opened, owing, pay, started
from tests.protocol.world import FEE, FUNDER, TREASURY, blob

# ---- settle ----


def test_a_settlement_asks_for_what_is_owed():
    run = opened()
    money, sequence = run.now.money, len(run.topic.messages)
    settlement, payout = money.settlement, payout_of(run.now)
    assert settlement.payees == money.owed
    assert (settlement.number, settlement.sequence, settlement.opened) == (1, sequence, run.time)
    assert money.pool == POOL - total_of(money.owed) - RESERVE
    assert (payout.memo, payout.fee, payout.payees) == (str(sequence), RESERVE, money.owed)
    assert (payout.treasury, payout.opened, payout.key) == (TREASURY, run.time, None)
    assert payout.expires == (run.time // SECOND + 1_800) * SECOND == settlement.expires


def test_what_is_settled_is_paid_and_costs_what_it_cost():
    run = opened()
    owed = run.now.money.owed
    state = pay(run)
    assert (state.money.owed, state.money.paid, state.money.settlement) == ((), owed, None)
    assert (state.money.fees, state.money.pool) == (FEE, POOL - total_of(owed) - FEE)
    assert payout_of(state) is None


def test_a_settlement_is_due_after_enough_rounds():
    run = started(settle_every=3)
    for _ in range(2):
        run.accept()
        with pytest.raises(Ignore, match="rounds after the last"):
            run.put(acts.settle(run))
    run.accept()
    run.put(acts.settle(run))
    pay(run)
    run.accept()
    with pytest.raises(Ignore, match="1 rounds after the last"):
        run.put(acts.settle(run))


def test_a_settlement_has_the_next_number_and_this_run():
    run = started()
    run.accept()
    with pytest.raises(Invalid, match="comes before"):
        run.put(acts.settle(run, 2))
    with pytest.raises(Invalid, match="another run"):
        run.put(acts.settle(run, 1).model_copy(update={"run": blob("another run")}))
    run.put(acts.settle(run, 1))
    for number, kind, why in ((1, Ignore, "opened before"), (2, Ignore, "still open"), (3, Invalid, "comes")):
        with pytest.raises(kind, match=why):
            run.put(acts.settle(run, number))
    pay(run)
    with pytest.raises(Ignore, match="opened before"):
        run.put(acts.settle(run, 1))


def test_nothing_is_settled_where_nothing_is_owed():
    run = started()
    acts.pass_turns(run)
    with pytest.raises(Ignore, match="of nothing"):
        run.put(acts.settle(run))


def test_a_pool_below_the_fee_pays_nobody_until_it_is_funded():
    run = started(settle_fee=POOL)
    run.accept()
    with pytest.raises(Ignore, match="fund it"):
        run.put(acts.settle(run))
    run.fund(POOL)
    run.put(acts.settle(run))
    assert pay(run).money.owed == ()


@pytest.mark.parametrize(("payees", "batches"), [(9, [9, 1]), (8, [9]), (16, [9, 8])])
def test_nine_are_paid_at_once_and_the_others_next(payees, batches):
    run = owing(payees)
    owed = run.now.money.owed
    for size in batches:
        run.put(acts.settle(run))
        assert len(run.now.money.settlement.payees) == size
        pay(run)
    assert (run.now.money.owed, run.now.money.paid) == ((), owed)


def test_what_is_earned_meanwhile_stays_owed():
    run = opened()
    run.accept()
    paid = run.now.money.settlement.payees
    before = total_of(run.now.money.owed)
    state = pay(run)
    assert state.money.paid == paid
    assert total_of(state.money.owed) == before - total_of(paid) == 5_000 + 2 * 700


# ---- settled ----


def wrong_payments(run):
    """What is on the ledger and is not the payment, and why."""
    payout = payout_of(run.now)
    right = {TREASURY: -total_of(payout.payees), **dict(payout.payees)}
    first, second = payout.payees[0][0], payout.payees[1][0]
    return [
        ("something else", {"memo": str(int(payout.memo) + 1)}),
        ("something else", {"memo": f"0{payout.memo}"}),
        ("failed", {"result": "ACCOUNT_DELETED"}),
        ("another time", {"at": payout.opened}),
        ("another time", {"at": payout.opened - 1}),
        ("another time", {"at": run.time + 3_600 * SECOND}),
        ("by a CRYPTOUPDATEACCOUNT", {"name": "CRYPTOUPDATEACCOUNT"}),
        ("cost 2001", {"fee": RESERVE + 1}),
        ("another amount", {"moves": right | {TREASURY: right[TREASURY] - 1, STRANGER: 1}}),
        ("another amount", {"moves": {**right, first: right[first] - 1, TREASURY: right[TREASURY] + 1}}),
        ("another amount", {"payer": STRANGER, "moves": right}),
        ("to others", {"moves": right | {first: right[first] - 1, second: right[second] + 1}}),
        ("to others", {"moves": {k: v for k, v in right.items() if k != first} | {STRANGER: right[first]}}),
    ]


@pytest.mark.parametrize("case", range(13))
def test_a_payment_that_differs_in_anything_is_none(case):
    run = opened()
    cases = wrong_payments(run)
    assert len(cases) == 13
    why, changes = cases[case]
    wrong = acts.pay_out(run, **changes)
    with pytest.raises(Invalid, match=why):
        run.put(acts.settled(run, wrong))
    assert run.now.money.paid == ()


def test_a_payment_by_somebody_else_is_none():
    """A payee that moves money to itself, with the memo, does not close the settlement."""
    run = opened()
    payout = payout_of(run.now)
    moves = {STRANGER: -total_of(payout.payees), **dict(payout.payees)}
    own = acts.pay_out(run, payer=STRANGER, moves=moves)
    with pytest.raises(Invalid, match="another amount"):
        run.put(acts.settled(run, own))
    with pytest.raises(Ignore, match="may still take effect"):
        run.put(acts.failed(run))
    assert pay(run).money.settlement is None


def test_an_unknown_payment_is_none():
    run = opened()
    with pytest.raises(Invalid, match="not on the ledger"):
        run.put(acts.settled(run, f"{TREASURY}-1700000000-000000099?scheduled"))


def test_a_payment_counts_once():
    run = opened()
    record = acts.settled(run, acts.pay_out(run))
    run.put(record)
    with pytest.raises(Ignore, match="is over"):
        run.put(record)
    opened(run)
    with pytest.raises(Ignore, match="is over"):
        run.put(record)
    with pytest.raises(Invalid, match="something else"):
        run.put(record.model_copy(update={"number": 2}))
    with pytest.raises(Invalid, match="never opened"):
        run.put(record.model_copy(update={"number": 3}))
    with pytest.raises(Invalid, match="another run"):
        run.put(record.model_copy(update={"run": blob("another run")}))


def test_who_collects_fees_too_may_have_got_more():
    run = opened()
    payout = payout_of(run.now)
    first, amount = payout.payees[0]
    more = {TREASURY: -total_of(payout.payees), **dict(payout.payees), first: amount + 5, STRANGER: -5}
    assert run.put(acts.settled(run, acts.pay_out(run, moves=more))).money.settlement is None


# ---- failed ----


def test_a_settlement_has_not_failed_before_it_expired():
    run = opened()
    settlement = run.now.money.settlement
    run.put(run.pass_turn())
    for at in (run.time + SECOND, settlement.expires, settlement.expires + EXPIRY_MARGIN):
        with pytest.raises(Ignore, match="may still take effect"):
            run.put(acts.failed(run), at=at)
    state = run.put(acts.failed(run), at=settlement.expires + EXPIRY_MARGIN + 1)
    assert (state.money.settlement, state.money.fees) == (None, 0)
    assert state.money.owed == settlement.payees


def test_what_was_tried_and_failed_is_over_at_once():
    run = opened()
    owed = run.now.money.owed
    acts.pay_out(run, result="ACCOUNT_DELETED", moves={}, fee=900)
    pool = run.now.money.pool
    state = run.put(acts.failed(run))
    assert (state.money.fees, state.money.pool) == (900, pool + RESERVE - 900)
    assert (state.money.owed, state.money.alone) == (owed, {name for name, _ in owed})
    with pytest.raises(Ignore, match="is over"):
        run.put(acts.failed(run))


def test_what_took_effect_has_not_failed():
    run = opened()
    settlement = run.now.money.settlement
    acts.pay_out(run, result="INVALID_SIGNATURE", moves={})
    paid = acts.pay_out(run)
    for at in (run.time + SECOND, settlement.expires + 9 * SECOND):
        with pytest.raises(Invalid, match="took effect"):
            run.put(acts.failed(run), at=at)
    assert run.put(acts.settled(run, paid)).money.owed == ()


def test_a_payment_after_the_expiry_was_made_nonetheless():
    run = opened()
    settlement = run.now.money.settlement
    run.time = settlement.expires + 5 * SECOND
    paid = acts.pay_out(run)
    assert run.put(acts.settled(run, paid)).money.settlement is None


def test_nobody_else_can_make_a_settlement_fail_early():
    run = opened()
    memo = payout_of(run.now).memo
    for result in ("SUCCESS", "INVALID_SIGNATURE"):
        run.time += SECOND
        run.ledger.put(run.time, STRANGER, {STRANGER: -1, TREASURY: 1}, memo, result=result)
    run.ledger.find = lambda wanted: tuple(run.ledger.transfers) if wanted else ()
    with pytest.raises(Ignore, match="may still take effect"):
        run.put(acts.failed(run))


def test_new_params_do_not_move_the_expiry_of_an_open_settlement():
    run = opened()
    before = payout_of(run.now)
    run.put(acts.new_params(run, settle_window=10, settle_fee=9))
    acts.next_epoch(run)
    assert run.now.params.settle_window == 10
    assert payout_of(run.now) == before
    with pytest.raises(Ignore, match="may still take effect"):
        run.put(acts.failed(run), at=run.time + 60 * SECOND)


def test_what_failed_attempts_cost_beyond_the_reserve_comes_from_the_pool():
    run = opened()
    pool = run.now.money.pool
    for _ in range(3):
        acts.pay_out(run, result="ACCOUNT_DELETED", moves={}, fee=1_500)
    state = run.put(acts.failed(run))
    assert (state.money.fees, state.money.pool) == (4_500, pool + RESERVE - 4_500)


def test_failed_and_settled_need_an_open_settlement():
    run = started()
    run.accept()
    for record in (acts.failed(run, 1), acts.settled(run, f"{FUNDER}-1-000000001", 1)):
        with pytest.raises(Invalid, match="never opened"):
            run.put(record)
