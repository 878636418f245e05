"""params, upgrade, end: what two thirds of the members can change, and when it acts."""

import pytest

from protocol.errors import Ignore, Invalid
from protocol.ids import SECOND
from protocol.payments import FundRecord
from tests.protocol import acts
from tests.protocol.world import FUNDER, POOL, Run, account, blob, fold, verdict, vote_record

KINDS = {"params": acts.new_params, "upgrade": acts.upgrade, "end": acts.end}
EACH = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def run():
    return Run(3, pool=POOL, reward_vote=7, round_window=3_600)


@EACH
@pytest.mark.parametrize(("size", "enough"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (6, 4), (7, 5)])
def test_two_thirds_decide(kind, size, enough):
    run = Run(size)
    with pytest.raises(Invalid, match=f"{enough - 1} of {size} signatures; it needs two thirds"):
        run.put(KINDS[kind](run, range(enough - 1)))
    assert run.put(KINDS[kind](run, range(enough))).seats.amendments == 1


@EACH
def test_a_signature_for_something_else_is_none(kind, run):
    record = KINDS[kind](run)
    for other in (acts.rotate(run, (0, 1, 2), 2), *(KINDS[k](run) for k in KINDS if k != kind)):
        with pytest.raises(Invalid, match="does not verify"):
            run.put(record.model_copy(update={"signatures": other.signatures}))
    elsewhere = record.body.model_copy(update={"run": blob("another run")})
    with pytest.raises(Invalid, match="another run"):
        run.put(record.model_copy(update={"body": elsewhere}))
    with pytest.raises(Invalid, match="does not verify"):
        run.put(_swapped(record))


def _swapped(record):
    (one, first), (two, second), *rest = record.signatures
    return record.model_copy(update={"signatures": ((one, second), (two, first), *rest)})


@EACH
def test_an_amendment_comes_in_order_and_once(kind, run):
    with pytest.raises(Invalid, match="comes before amendment 1"):
        run.put(KINDS[kind](run, number=2))
    one = acts.upgrade(run)
    competing = KINDS[kind](run, number=1)
    run.put(one)
    for again in (one, competing):
        with pytest.raises(Ignore, match="decided before"):
            run.put(again)
    assert run.put(KINDS[kind](run, number=2)).seats.amendments == 2


@EACH
def test_only_members_have_a_say(kind, run):
    run.put(acts.join(run, 3))
    with pytest.raises(Invalid, match="1 of 3 signatures"):
        run.put(KINDS[kind](run, {0, 3}))
    acts.next_epoch(run)
    with pytest.raises(Invalid, match="two thirds"):
        run.put(KINDS[kind](run, {0, 1}))
    assert run.put(KINDS[kind](run, {0, 1, 3})).seats.amendments == 1


@EACH
def test_only_those_with_enough_at_stake_have_a_say(kind):
    run = Run(3, stake_min=100, round_window=3_600)
    run.topup(0, 100)
    run.topup(1, 100)
    with pytest.raises(Invalid, match="1 of 2 signatures"):
        run.put(KINDS[kind](run, {0, 2}))
    assert run.put(KINDS[kind](run, {0, 1, 2})).seats.amendments == 1


@EACH
def test_who_was_thrown_out_has_no_say(kind, run):
    record = acts.equivocate(run)
    run.put(record)
    others = sorted({0, 1, 2} - {record.member})
    with pytest.raises(Invalid, match="1 of 2 signatures"):
        run.put(KINDS[kind](run, {record.member, others[0]}))
    assert run.put(KINDS[kind](run, {0, 1, 2})).seats.amendments == 1, (
        "whose signature is not counted spoils none"
    )


# ---- params, upgrade ----


def test_new_params_act_when_the_next_epoch_starts(run):
    acts.pass_turns(run)
    state = run.put(acts.new_params(run, reward_vote=9, round_window=60))
    assert state.params.reward_vote == 7
    acts.pass_turns(run)
    assert (run.now.params.reward_vote, run.now.epoch) == (7, 1)
    acts.pass_turns(run)
    state = run.now
    assert (state.params.reward_vote, state.epoch, state.seats.pending) == (9, 2, ())
    assert state.open.deadline == run.time + 60 * SECOND, "the first round by the new rules"
    run.accept()
    assert set(dict(run.now.money.earned).values()) == {9}


def test_the_last_amendment_of_an_epoch_counts(run):
    run.put(acts.new_params(run, reward_vote=8))
    run.put(acts.upgrade(run))
    run.put(acts.new_params(run, reward_vote=10))
    acts.next_epoch(run)
    assert (run.now.params.reward_vote, run.now.params.learner.spec) == (10, blob("spec 2"))


def test_an_upgrade_changes_the_learner_and_nothing_else(run):
    before = run.now
    run.put(acts.upgrade(run))
    assert run.now.params == before.params
    acts.next_epoch(run)
    assert run.now.params == before.params.model_copy(update={"learner": run.now.params.learner})
    assert (run.now.params.learner.spec, run.now.head) == (blob("spec 1"), before.head)


def test_params_change_neither_learner_nor_initial_weights(run):
    for changes in (
        {"initial": blob("other weights")},
        {"learner": run.now.params.learner.model_copy(update={"spec": blob("other spec")})},
    ):
        with pytest.raises(Invalid, match="learner or the initial weights"):
            run.put(acts.new_params(run, **changes))
    old = run.now.params.learner
    run.put(acts.upgrade(run))
    with pytest.raises(Invalid, match="learner or the initial weights"):
        run.put(acts.new_params(run, learner=old))


def test_no_stake_without_a_treasury():
    run = Run(3)
    run.state = None
    run.topic.messages.clear()
    run.put(run.genesis.model_copy(update={"treasury": None}))
    with pytest.raises(Invalid, match="without a treasury"):
        run.put(acts.new_params(run, stake_min=1))
    assert run.put(acts.new_params(run, reward_vote=1)).seats.amendments == 1


def test_a_new_minimum_leaves_out_who_has_less(run):
    for place in (0, 1, 2):
        run.topup(place, 100 + place)
    run.put(acts.new_params(run, stake_min=101))
    acts.next_epoch(run)
    assert run.current.members == {1, 2}


def test_max_rounds_below_what_was_played_ends_the_run_with_the_next_round(run):
    run.put(acts.new_params(run, max_rounds=2))
    acts.next_epoch(run)
    assert run.current.number == 4
    assert acts.pass_turns(run).open is None


# ---- end ----


def test_the_run_ends_with_the_open_round(run):
    run.put(acts.end(run))
    assert run.now.open is not None
    proposer = run.current.proposer
    state = run.accept()
    assert (state.open, state.last.ending, state.last.proposer) == (None, "accepted", proposer)
    for record in (acts.end(run), acts.new_params(run), acts.upgrade(run), acts.join(run, 7, ())):
        with pytest.raises(Ignore, match="ended"):
            run.put(record)
    with pytest.raises(Ignore, match="has left"):
        run.put(acts.leave(run, 0))


def ended(**changes):
    """A run that ended, with stakes of 100, 200 and 300 and two funders."""
    run = Run(3, pool=750_000, settle_fee=2_000, reward_vote=700, **changes)
    run.put(_fund_by(run, account(30), 250_000))
    for place in range(3):
        run.topup(place, 100 * (place + 1))
    run.put(acts.end(run))
    run.accept()
    return run


def _fund_by(run, who, amount):
    transaction = run.pay("fund", who, amount, who)
    return FundRecord(run=run.now.run, account=who, amount=amount, transaction=transaction)


def test_after_the_end_everybody_is_paid_and_stakes_and_funds_come_back():
    run = ended()
    last = run.now.last.time
    late = last + run.now.params.window // 4
    with pytest.raises(Ignore, match="may still come"):
        run.put(acts.settle(run), at=late)
    state = run.put(acts.settle(run), at=late + SECOND)
    rest = 1_000_000 - 2 * 700 - 2 * 2_000
    owed = dict(state.money.owed)
    assert [owed[account(n)] for n in range(3)] == [
        100 * (n + 1) + (700 if n != state.last.proposer else 0) for n in range(3)
    ]
    assert owed[account(30)] == rest // 4
    assert owed[FUNDER] == rest * 3 // 4
    state = run.put(acts.settled(run, acts.pay_out(run)))
    assert (state.money.owed, sum(state.money.stakes)) == ((), 0)
    assert state.money.pool + state.money.fees <= 4_001
    with pytest.raises(Ignore, match="of nothing"):
        run.put(acts.settle(run))
    assert fold(run.topic.messages, run.ledger) == state


def test_late_votes_are_credited_until_everything_is_paid_back(run):
    run.put(acts.end(run))
    proposal, voter = run.proposal(), run.voters[1]
    run.put(_verdict(run, proposal))
    record, late = _late_vote(run, proposal, voter), run.now.last.time + 15 * 60 * SECOND
    assert run.put(record, at=late).earned_by(account(voter)) == 7
    with pytest.raises(Ignore, match="on the topic already"):
        run.put(record)


def test_no_late_vote_is_credited_after_that():
    run = Run(3, pool=POOL, reward_vote=7, max_rounds=1, settle_fee=2_000)
    proposal, voter = run.proposal(), run.voters[1]
    run.put(_verdict(run, proposal))
    run.put(acts.settle(run), at=run.time + 16 * SECOND)
    with pytest.raises(Ignore, match="paid back"):
        run.put(_late_vote(run, proposal, voter))


def _verdict(run, proposal):
    return verdict(proposal, [run.vote(proposal, run.voters[0])], "accepted")


def _late_vote(run, proposal, voter):
    return vote_record(proposal, run.vote(proposal, voter))


def test_an_open_settlement_is_done_first():
    run = ended(settle_every=1)
    run.put(acts.settle(run), at=run.time + 16 * SECOND)
    with pytest.raises(Ignore, match="still open"):
        run.put(acts.settle(run))
    run.put(acts.settled(run, acts.pay_out(run)))
    assert run.now.money.wound_up


def test_who_gave_less_than_a_payment_costs_gets_nothing_back():
    run = Run(2, pool=750_000, settle_fee=2_000, max_rounds=1)
    for number in range(12):
        run.put(_fund_by(run, account(20 + number), 1_999))
    run.put(_fund_by(run, account(35), 2_000))
    run.accept()
    state = run.put(acts.settle(run), at=run.time + 16 * SECOND)
    assert {name for name, _ in state.money.owed} == {FUNDER, account(35)}
    assert len(state.money.settlement.payees) == 2
