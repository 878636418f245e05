"""fault: what proves that a member contradicted itself, and what it costs."""

import pytest

from protocol.errors import Ignore, Invalid
from protocol.ids import Round
from protocol.messages import Choice, Ppm
from tests.protocol import acts
from tests.protocol.world import POOL, Run, account, blob, propose, total, verdict, vote_record

YES, NO, GONE = Choice.APPROVE, Choice.REJECT, Choice.UNAVAILABLE


@pytest.fixture
def run():
    """Four members, 1000 tinybar at stake each, a long round."""
    run = Run(4, pool=POOL, reward_vote=7, round_window=3_600)
    for place in range(4):
        run.topup(place, 1000)
    return run


def test_two_proposals_of_a_round_cost_the_stake(run):
    proposer, pool = run.current.proposer, run.now.money.pool
    state = run.put(acts.equivocate(run))
    assert state.seats.expelled == {proposer}
    assert state.money.stakes[proposer] == 0
    assert state.money.pool == pool + 1000
    assert sum(state.money.stakes) == 3000
    assert proposer not in state.seated


@pytest.mark.parametrize(
    "change", [{"choice": NO}, {"gain": Ppm(1)}, {"proposal": blob("another")}, {"choice": GONE}]
)
def test_two_votes_of_a_round_that_differ_in_anything(run, change):
    proposal = run.proposal()
    voter = run.voters[0]
    votes = run.vote(proposal, voter, YES), run.vote(proposal, voter, **({"choice": YES} | change))
    assert run.put(acts.fault(voter, *votes)).seats.expelled == {voter}


def test_a_proposal_and_a_pass(run):
    proposer = run.current.proposer
    assert run.put(acts.fault(proposer, run.pass_turn(), run.proposal())).seats.expelled == {proposer}


def test_a_second_signature_on_the_same_body_is_none(run):
    proposal, voter = run.proposal(), run.voters[0]
    vote = run.vote(proposal, voter)
    for same in ((vote, vote), (proposal, proposal), (run.pass_turn(), run.pass_turn())):
        place = voter if same[0] is vote else run.current.proposer
        with pytest.raises(Invalid, match="says the same twice"):
            run.put(acts.fault(place, *same))


def test_two_rounds_are_none(run):
    proposal, voter = run.proposal(), run.voters[0]
    votes = run.vote(proposal, voter), run.vote(proposal, voter, NO, round=Round(2))
    with pytest.raises(Invalid, match="not of one round"):
        run.put(acts.fault(voter, *votes))
    proposals = run.proposal("one"), run.proposal("two", round=Round(2))
    with pytest.raises(Invalid, match="not of one round"):
        run.put(acts.fault(run.current.proposer, *proposals))


def test_another_run_is_none(run):
    proposal, voter = run.proposal(), run.voters[0]
    votes = run.vote(proposal, voter), run.vote(proposal, voter, NO, run=blob("another run"))
    for pair in (votes, votes[::-1]):
        with pytest.raises(Invalid, match="another run"):
            run.put(acts.fault(voter, *pair))


def test_a_vote_and_a_turn_are_none(run):
    place = run.current.proposer
    proposal = run.proposal()
    vote = run.vote(proposal, place)
    for pair in ((vote, proposal), (run.pass_turn(), vote)):
        with pytest.raises(Invalid, match="a vote and a turn"):
            run.put(acts.fault(place, *pair))


def test_evidence_against_somebody_else_is_none(run):
    proposal = run.proposal()
    first, second, _ = run.voters
    votes = run.vote(proposal, first), run.vote(proposal, second, NO)
    for place in (first, second):
        with pytest.raises(Invalid, match="against somebody else"):
            run.put(acts.fault(place, *votes))
    with pytest.raises(Invalid, match="against somebody else"):
        run.put(acts.fault(first, run.proposal("one"), run.proposal("two")))
    with pytest.raises(Invalid, match="nobody in the roster"):
        run.put(acts.fault(4, *votes))


def test_forged_evidence_is_none(run):
    proposal = run.proposal()
    victim, forger, _ = run.voters
    votes = run.vote(proposal, victim), run.vote(proposal, victim, NO, by=forger)
    proposals = run.proposal("one"), run.proposal("two", by=forger)
    passes = run.pass_turn(by=forger), run.proposal()
    for place, pair in ((victim, votes), (run.current.proposer, proposals), (run.current.proposer, passes)):
        for evidence in (pair, pair[::-1]):
            with pytest.raises(Invalid, match="does not verify"):
                run.put(acts.fault(place, *evidence))
    assert run.now.seats.expelled == set()


def test_a_fault_is_punished_once(run):
    record = acts.equivocate(run)
    run.put(record)
    with pytest.raises(Ignore, match="thrown out before"):
        run.put(record)
    voter = record.member
    assert run.now.money.stakes[voter] == 0
    state = run.topup(voter, 500)
    assert (state.money.stakes[voter], dict(state.money.owed)[account(voter)]) == (0, 500)


def test_evidence_does_not_age(run):
    record = acts.equivocate(run)
    acts.pass_turns(run, 9)
    assert run.put(record).seats.expelled == {record.member}


def test_who_is_thrown_out_ends_the_round_and_is_in_no_other(run):
    record = acts.equivocate(run)
    run.put(record)
    assert record.member in run.current.members, "what a round opened with stands"
    proposal = run.proposal()
    run.put(verdict(proposal, run.votes(proposal, NO, NO, NO), "rejected"))
    for _ in range(9):
        assert record.member not in run.current.members
        acts.pass_turns(run)


def test_two_votes_count_as_an_abstention_and_their_fault_is_separate(run):
    proposal, voter = run.proposal(), run.voters[0]
    votes = run.vote(proposal, voter, YES), run.vote(proposal, voter, NO)
    for vote in votes:
        run.put(vote_record(proposal, vote))
    assert run.now.seats.expelled == set()
    assert run.put(acts.fault(voter, *votes)).seats.expelled == {voter}


def test_a_proposal_on_the_topic_is_no_fault_alone(run):
    run.put(propose(run.proposal("one")))
    run.put(propose(run.proposal("two")))
    assert run.now.seats.expelled == set()
    assert total(run.now) == 0


def test_when_all_are_thrown_out_the_run_ends(run):
    proposal = run.proposal()
    run.put(acts.equivocate(run))
    for voter in run.voters:
        run.put(acts.fault(voter, run.vote(proposal, voter, YES), run.vote(proposal, voter, NO)))
    state = run.expire()
    assert (state.open, state.seated) == (None, frozenset())
    assert state.money.stakes == (0, 0, 0, 0)


def test_after_everything_was_paid_back_a_fault_takes_nothing():
    run = Run(2, pool=10**9, max_rounds=1, settle_fee=1_000)
    record = acts.equivocate(run)
    run.topup(record.member, 1000)
    run.accept()
    run.put(acts.settle(run), at=run.time + 3600 * 10**9)
    owed = run.now.money.owed
    with pytest.raises(Ignore, match="paid back"):
        run.put(record)
    assert run.now.money.owed == owed
