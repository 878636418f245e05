"""fold: late votes, epochs, openings and the end of a run."""

import pytest

from protocol.errors import Ignore, Invalid
from protocol.ids import SECOND, Nanoseconds
from protocol.messages import Choice
from protocol.rules import shuffled
from protocol.state import state_digest
from tests.protocol.world import (
    POOL,
    Run,
    account,
    fold,
    propose,
    total,
    verdict,
    vote_record,
)

YES, NO, GONE, DONT_KNOW = Choice.APPROVE, Choice.REJECT, Choice.UNAVAILABLE, Choice.ABSTAIN


@pytest.fixture
def run():
    """Four members, round 1 open, rewards that tell one credit from another."""
    return Run(4, pool=POOL, reward_proposal=1000, reward_vote=7)


# ---- late votes ----


@pytest.mark.parametrize(("choices", "ending"), [((YES, YES), "accepted"), ((NO, NO), "rejected")])
def test_a_late_vote_is_credited_once(run, choices, ending):
    proposal = run.proposal()
    late = run.voters[2]
    before = total(run.put(verdict(proposal, run.votes(proposal, *choices), ending)))
    record = vote_record(proposal, run.vote(proposal, late, DONT_KNOW))
    state = run.put(record)
    assert total(state) == before + 7
    assert state.earned_by(account(late)) == 7
    assert late in state.last.present
    assert state.last.counted == 2
    for again in (record, vote_record(proposal, run.vote(proposal, late, YES))):
        with pytest.raises(Ignore, match="on the topic already"):
            run.put(again)


def test_a_late_vote_is_credited_until_the_next_round_closes(run):
    proposal = run.proposal()
    late = run.vote(proposal, run.voters[2])
    run.put(verdict(proposal, run.votes(proposal, YES, YES), "accepted"))
    before = total(run.accept())
    with pytest.raises(Ignore, match="is over"):
        run.put(vote_record(proposal, late))
    assert total(run.now) == before


def test_a_late_vote_in_an_unpaid_round_counts_as_attendance_alone(run):
    proposal = run.proposal()
    run.put(propose(proposal))
    run.expire()
    state = run.put(vote_record(proposal, run.vote(proposal, 0 if proposal.body.proposer else 1)))
    assert state.money.earned == ()
    assert len(state.last.present) == 2


def test_a_wrong_late_vote_has_no_effect(run):
    proposal, other = run.proposal(), run.proposal("another")
    first, second, third = run.voters
    run.put(verdict(proposal, run.votes(proposal, YES, YES), "accepted"))
    with pytest.raises(Ignore, match="did not decide"):
        run.put(vote_record(other, run.vote(other, third)))
    with pytest.raises(Invalid, match="does not verify"):
        run.put(vote_record(proposal, run.vote(proposal, third, by=first)))
    with pytest.raises(Invalid, match="of the proposer"):
        run.put(vote_record(proposal, run.vote(proposal, proposal.body.proposer)))
    with pytest.raises(Ignore, match="on the topic already"):
        run.put(vote_record(proposal, run.vote(proposal, second, NO)))
    with pytest.raises(Invalid, match="no member"):
        run.put(vote_record(proposal, run.vote(proposal, 9)))


# ---- the end, and epochs ----


def test_max_rounds_ends_the_run():
    run = Run(3, pool=POOL, max_rounds=2, reward_vote=5)
    run.accept()
    proposal, voters = run.proposal(), run.voters
    stale = [run.close(), run.pass_turn(), run.present(0), propose(proposal)]
    late = run.vote(proposal, voters[1])
    state = run.put(verdict(proposal, run.votes(proposal, YES), "accepted"))
    assert state.open is None
    assert state.last.number == 2
    for record in [*stale, verdict(proposal, [], "accepted")]:
        with pytest.raises(Ignore):
            run.put(record)
    assert total(run.put(vote_record(proposal, late))) == total(state) + 5


def test_an_epoch_is_one_walk_and_the_next_is_drawn_from_its_last_record():
    run = Run(5)
    for epoch in (1, 2, 3):
        order, turns = run.now.order, []
        assert run.now.epoch == epoch
        for _ in range(5):
            assert run.now.order == order
            turns.append(run.current.proposer)
            run.put(run.pass_turn())
        assert turns == list(order)
        assert run.now.order == shuffled(5, run.topic.messages[-1][1].running_hash)


def test_the_opening_names_the_record_that_closed_the_round_before(run):
    state = run.accept()
    stamp = run.topic.messages[-1][1]
    opening = state.open.opening
    assert (opening.sequence, opening.running_hash) == (stamp.sequence, stamp.running_hash)
    assert opening.state == state_digest(state)
    assert state.open.deadline == Nanoseconds(stamp.time + 60 * SECOND)


def test_records_in_the_round_do_not_move_its_opening(run):
    opening = run.current.opening
    proposal = run.proposal()
    run.put(propose(proposal))
    run.put(vote_record(proposal, run.vote(proposal, run.voters[0])))
    assert run.current.opening == opening
    assert run.accept().totals.accepted == 1


def test_what_had_no_effect_can_be_left_out(run):
    run.accept()
    with pytest.raises(Invalid):
        run.put(run.pass_turn(by=run.voters[0]))
    with pytest.raises(Ignore):
        run.put(b"hello")
    run.accept()
    assert fold(run.topic.messages, run.ledger) == run.now
