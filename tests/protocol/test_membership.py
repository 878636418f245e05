"""join, leave, and who takes part: places, terms, epochs and stakes."""

import pytest

from protocol import membership
from protocol.errors import Ignore, Invalid
from protocol.ids import SECOND, Round
from protocol.messages import Choice
from tests.protocol import acts
from tests.protocol.world import (
    PEERS,
    POOL,
    TREASURY,
    Run,
    account,
    blob,
    fold,
    total,
    verdict,
    vote_record,
)

YES, NO = Choice.APPROVE, Choice.REJECT


@pytest.fixture
def run():
    return Run(4, pool=POOL, reward_vote=7, round_window=3_600)


def open_to_all(**changes):
    rules = {"admission": "open", "stake_min": 100, "round_window": 3_600, "unbonding_rounds": 3}
    run = Run(3, **(rules | changes))
    for place in range(3):
        run.topup(place, 100)
    acts.next_epoch(run)
    return run


# ---- join ----


def test_a_newcomer_counts_from_the_next_epoch(run):
    acts.pass_turns(run)
    state = run.put(acts.join(run, 6))
    assert (state.roster[4].peer, state.roster[4].account) == (PEERS[6], account(6))
    assert (state.seats.terms, state.seats.joining) == ((1, 1, 1, 1, 1), {4})
    assert state.open.members == {0, 1, 2, 3}
    for _ in range(3):
        assert 4 not in run.current.members
        assert len(run.now.order) == 4
        acts.pass_turns(run)
    assert run.now.epoch == 2
    assert run.current.members == {0, 1, 2, 3, 4}
    assert sorted(run.now.order) == [0, 1, 2, 3, 4]
    assert (run.now.seats.joining, run.now.seats.vacant) == (set(), set())


@pytest.mark.parametrize(("size", "enough"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_more_than_half_of_the_round_admit(size, enough):
    run = Run(size)
    with pytest.raises(Invalid, match=f"{enough - 1} of {size} signatures"):
        run.put(acts.join(run, 6, range(enough - 1)))
    assert run.put(acts.join(run, 6, range(enough))).seats.joining == {size}


def test_only_members_of_the_round_admit():
    run = Run(3, inactive_after=1)
    away = run.current.proposer
    run.expire()
    acts.pass_turns(run)
    assert away not in run.current.members
    with pytest.raises(Invalid, match="1 of 2 signatures"):
        run.put(acts.join(run, 6, {away, run.current.proposer}))
    assert run.put(acts.join(run, 6, {0, 1, 2})).seats.joining == {3}


def test_a_newcomer_signs_for_itself(run):
    record = acts.join(run, 6)
    for wrong in (
        acts.join(run, 6, by=1),
        record.model_copy(update={"body": record.body.model_copy(update={"account": account(9)})}),
        record.model_copy(update={"sig": acts.join(run, 7).sig}),
    ):
        with pytest.raises(Invalid, match="does not verify"):
            run.put(wrong)
    with pytest.raises(Invalid, match="the treasury"):
        run.put(acts.join(run, 6, account=TREASURY))
    with pytest.raises(Invalid, match="another run"):
        run.put(_of_another_run(record))


def _of_another_run(record):
    return record.model_copy(update={"body": record.body.model_copy(update={"run": blob("another run")})})


def test_signatures_for_one_newcomer_are_none_for_another(run):
    one, other = acts.join(run, 6), acts.join(run, 7)
    with pytest.raises(Invalid, match="does not verify"):
        run.put(other.model_copy(update={"signatures": one.signatures}))


def test_a_member_joins_once(run):
    record = acts.join(run, 6)
    run.put(record)
    with pytest.raises(Ignore, match="joined 1 times, for term 1"):
        run.put(record)
    with pytest.raises(Ignore, match="of a member"):
        run.put(acts.join(run, 6))
    with pytest.raises(Ignore, match="of a member"):
        run.put(acts.join(run, 2))
    acts.next_epoch(run)
    with pytest.raises(Ignore, match="of a member"):
        run.put(acts.join(run, 6))


def test_with_open_admission_a_stake_is_enough_and_needed():
    run = open_to_all()
    for stake in (0, 99):
        with pytest.raises(Invalid, match="100 are needed"):
            run.put(acts.join(run, 6, stake=stake))
    with pytest.raises(Invalid, match="nobody asked for"):
        run.put(acts.join(run, 6, {0, 1, 2}, stake=100))
    state = run.put(acts.join(run, 6, stake=100))
    assert state.money.stakes == (100, 100, 100, 100)
    acts.next_epoch(run)
    assert run.current.members == {0, 1, 2, 3}


def test_a_full_roster_takes_nobody(run, monkeypatch):
    monkeypatch.setattr(membership, "MAX_ROSTER", 5)
    run.put(acts.join(run, 6))
    with pytest.raises(Ignore, match="all 5 places are taken"):
        run.put(acts.join(run, 7))
    acts.next_epoch(run)
    run.put(acts.leave(run, 2))
    acts.next_epoch(run)
    assert run.put(acts.join(run, 2)).seats.joining == {2}, "who was here has a place"


def test_a_join_moves_nobody_in_the_round(run):
    proposal = run.proposal()
    votes = run.votes(proposal, YES, YES, YES)
    run.put(acts.join(run, 6))
    run.put(acts.join(run, 7))
    assert run.put(verdict(proposal, votes, "accepted")).last.members == {0, 1, 2, 3}


def test_a_late_vote_counts_over_the_start_of_an_epoch(run):
    run.put(acts.join(run, 6))
    acts.pass_turns(run, 3)
    proposal, late = run.proposal(), run.voters[2]
    vote, stranger = run.vote(proposal, late), run.vote(proposal, 4, by=6)
    run.put(acts.leave(run, late))
    run.put(verdict(proposal, run.votes(proposal, YES, YES), "accepted"))
    assert run.now.epoch == 2
    before = total(run.now)
    assert total(run.put(vote_record(proposal, vote))) == before + 7
    with pytest.raises(Invalid, match="no member of the round"):
        run.put(vote_record(proposal, stranger))


# ---- leave ----


def test_who_leaves_takes_part_until_the_epoch_is_over(run):
    leaver = run.now.order[3]
    state = run.put(acts.leave(run, leaver))
    assert state.seats.leaving == {leaver}
    acts.pass_turns(run, 3)
    assert run.current.proposer == leaver
    acts.pass_turns(run)
    assert leaver not in run.current.members
    assert (run.now.seats.vacant, run.now.seats.leaving) == ({leaver}, set())
    for _ in range(9):
        assert run.current.proposer != leaver
        acts.pass_turns(run)


def test_a_leave_is_signed_by_who_leaves(run):
    with pytest.raises(Invalid, match="does not verify"):
        run.put(acts.leave(run, 1, by=2))
    with pytest.raises(Invalid, match="nobody in the roster"):
        run.put(acts.leave(run, 4))
    with pytest.raises(Invalid, match="another run"):
        run.put(_of_another_run(acts.leave(run, 1)))


def test_signatures_from_before_are_void_after_a_return(run):
    leave = acts.leave(run, 1)
    run.put(leave)
    with pytest.raises(Ignore, match="has left"):
        run.put(leave)
    with pytest.raises(Ignore, match="of a member"):
        run.put(acts.join(run, 1))
    acts.next_epoch(run)
    with pytest.raises(Ignore, match="has left"):
        run.put(leave)
    join = acts.join(run, 1, account=account(30))
    state = run.put(join)
    assert (state.seats.terms[1], state.roster[1].account) == (2, account(30))
    acts.next_epoch(run)
    assert run.current.members == {0, 1, 2, 3}
    with pytest.raises(Ignore, match="term 1, which is over"):
        run.put(leave)
    with pytest.raises(Ignore, match="for term 2"):
        run.put(join)
    run.put(acts.leave(run, 1))
    acts.next_epoch(run)
    with pytest.raises(Ignore, match="for term 2"):
        run.put(join)
    assert run.put(acts.join(run, 1)).seats.terms[1] == 3


def test_who_left_while_inactive_is_active_after_a_return():
    run = Run(4, inactive_after=1, round_window=3_600)
    away = run.current.proposer
    run.expire()
    acts.pass_turns(run)
    assert run.now.inactive == {away}
    run.put(acts.leave(run, away))
    acts.next_epoch(run)
    run.put(acts.join(run, away))
    acts.next_epoch(run)
    assert (run.now.inactive, run.now.absent) == (set(), (0, 0, 0, 0))
    assert run.current.members == {0, 1, 2, 3}


def test_who_joins_and_leaves_within_an_epoch_never_takes_part(run):
    run.put(acts.join(run, 6))
    run.put(acts.leave(run, 4, by=6))
    acts.next_epoch(run)
    assert run.current.members == {0, 1, 2, 3}
    assert run.now.seats.vacant == {4}


def test_when_everybody_leaves_the_run_ends_and_pays():
    run = Run(2, pool=10**9, settle_fee=1_000)
    run.topup(0, 50)
    run.put(acts.leave(run, 0))
    run.put(acts.leave(run, 1))
    assert acts.next_epoch(run).open is None
    with pytest.raises(Ignore, match="ended"):
        run.put(acts.join(run, 6, ()))
    run.put(acts.settle(run), at=run.time + 60 * SECOND)
    assert dict(run.now.money.settlement.payees)[account(0)] == 50


# ---- stakes ----


def test_a_stake_comes_back_once_it_is_safe():
    run = open_to_all()
    run.put(acts.leave(run, 1))
    closed = acts.next_epoch(run).last.number
    (part,) = run.now.money.unbonding
    assert (part.place, part.amount, part.until) == (1, 100, Round(closed + 3))
    assert run.now.money.stakes == (100, 0, 100)
    acts.pass_turns(run, 2)
    assert run.now.money.owed == ()
    acts.pass_turns(run)
    assert (run.now.money.owed, run.now.money.unbonding) == (((account(1), 100),), ())


def test_a_fault_takes_what_is_unbonding():
    run = open_to_all()
    proposal, voter = run.proposal(), run.voters[0]
    votes = run.vote(proposal, voter, YES), run.vote(proposal, voter, NO)
    run.put(acts.leave(run, voter))
    acts.next_epoch(run)
    assert run.now.money.unbonding
    state = run.put(acts.fault(voter, *votes))
    assert (state.money.unbonding, state.money.pool, state.seats.expelled) == ((), 100, {voter})
    acts.pass_turns(run, 9)
    assert run.now.money.owed == ()


def test_who_was_thrown_out_never_returns():
    run = open_to_all()
    record = acts.equivocate(run)
    run.put(record)
    with pytest.raises(Invalid, match="thrown out"):
        run.put(acts.join(run, record.member, stake=100))
    acts.next_epoch(run)
    with pytest.raises(Invalid, match="thrown out"):
        run.put(acts.join(run, record.member, stake=100))
    with pytest.raises(Ignore, match="has left"):
        run.put(acts.leave(run, record.member))


def test_who_was_thrown_out_before_the_epoch_does_not_join():
    run = open_to_all()
    run.put(acts.join(run, 6, stake=100))
    proposal = run.proposal()
    votes = run.vote(proposal, 3, YES, by=6), run.vote(proposal, 3, NO, by=6)
    state = run.put(acts.fault(3, *votes))
    assert (state.seats.joining, state.money.stakes[3], state.money.pool) == (set(), 0, 100)
    acts.next_epoch(run)
    assert run.current.members == {0, 1, 2}


def test_a_stake_below_the_minimum_leaves_out_until_it_is_topped_up():
    run = open_to_all(penalty_rejected=1)
    proposer, proposal = run.current.proposer, run.proposal()
    run.put(verdict(proposal, run.votes(proposal, NO, NO), "rejected"))
    assert run.now.money.stakes[proposer] == 99
    assert run.current.members == {0, 1, 2} - {proposer}
    run.topup(proposer, 1)
    assert proposer not in run.current.members
    acts.pass_turns(run)
    assert run.current.members == {0, 1, 2}


def test_while_half_or_fewer_have_a_stake_all_take_part():
    """Who tops up first does not decide alone."""
    run = Run(4, admission="open", stake_min=100)
    for place, members in ((0, {0, 1, 2, 3}), (1, {0, 1, 2, 3}), (2, {0, 1, 2}), (3, {0, 1, 2, 3})):
        run.topup(place, 100)
        acts.pass_turns(run)
        assert run.current.members == members
        assert run.now.staked == members


def test_all_this_folds_the_same_again():
    run = open_to_all()
    run.put(acts.join(run, 6, stake=100))
    run.put(acts.leave(run, 0))
    acts.next_epoch(run)
    run.put(acts.equivocate(run))
    acts.pass_turns(run, 6)
    assert fold(run.topic.messages, run.ledger) == run.now
