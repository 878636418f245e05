"""Committees: drawn from the record that fixes the candidate, and then they are the round's members."""

import pytest

from protocol.errors import Ignore, Invalid
from protocol.ids import Round
from protocol.messages import Choice
from protocol.params import Params
from protocol.records import proposal_of
from protocol.rounds import is_undrawn
from protocol.rules import committee_for
from protocol.timing import back_off
from protocol.view import Fetched, Received, Score, Send, Sign, Submit, Tick, Trained
from tests.protocol.peer import HEAD, Peer, only
from tests.protocol.world import PEERS, Run, blob, propose, verdict, vote_record

SIZE, COMMITTEE = 30, 21


@pytest.fixture
def run():
    return Run(SIZE, committee_size=COMMITTEE)


def drawn(run):
    """A proposal, on the topic, and who votes on it."""
    proposal = run.proposal()
    run.put(propose(proposal))
    return proposal, sorted(run.current.members - {run.current.proposer})


def test_all_are_equally_likely_and_the_proposer_is_not_among_them():
    hashes = [blob(str(n)) + "A" * 21 for n in range(2_000)]
    times = [0] * 40
    for beacon in hashes:
        committee = committee_for(frozenset(range(40)), 7, 21, beacon)
        assert len(committee) == 21
        for place in committee:
            times[place] += 1
    assert times[7] == 0
    expected = 2_000 * 21 / 39
    assert all(
        abs(count - expected) < 5 * (expected * (1 - 21 / 39)) ** 0.5 for count in times[:7] + times[8:]
    )


def test_a_small_committee_can_be_bought():
    rules = Run(3).now.params.model_dump()
    with pytest.raises(ValueError, match="at least 21"):
        Params(**rules | {"committee_size": 7})


def test_nobody_votes_before_the_proposal_is_on_the_topic(run):
    assert is_undrawn(run.now, run.current)
    assert len(run.current.members) == SIZE
    proposal = run.proposal()
    votes = run.votes(proposal, *[Choice.APPROVE] * (SIZE - 1))
    for record in (verdict(proposal, votes, "accepted"), vote_record(proposal, votes[0])):
        with pytest.raises(Ignore, match="committee"):
            run.put(record)


def test_the_record_that_fixes_the_candidate_draws_who_votes(run):
    proposal, committee = drawn(run)
    assert len(committee) == COMMITTEE
    assert not is_undrawn(run.now, run.current)
    outsider = next(place for place in range(SIZE) if place not in run.current.members)
    with pytest.raises(Invalid, match="no member"):
        run.put(vote_record(proposal, run.vote(proposal, outsider)))
    votes = [run.vote(proposal, place) for place in committee]
    state = run.put(verdict(proposal, votes, "accepted"))
    assert state.head == proposal.body.candidate
    assert len(state.last.members) == COMMITTEE + 1
    assert len(state.open.members) == SIZE, "all may be drawn again"


def test_a_second_proposal_draws_nobody_else(run):
    _, committee = drawn(run)
    run.put(propose(run.proposal("two")))
    assert sorted(run.current.members - {run.current.proposer}) == committee


def test_where_nobody_proposes_only_the_proposer_was_absent(run):
    proposer = run.current.proposer
    run.put(run.close(), at=run.current.deadline + 1)
    proposal, committee = drawn(run)
    run.put(verdict(proposal, [run.vote(proposal, place) for place in committee], "accepted"))
    assert [place for place, absent in enumerate(run.now.absent) if absent] == [proposer]


def test_few_members_all_vote():
    run = Run(5, committee_size=COMMITTEE)
    assert not is_undrawn(run.now, run.current)
    run.accept()
    assert run.now.totals.accepted == 1


def test_a_proposer_goes_to_the_topic_and_voters_wait_for_it(run):
    proposer = Peer(run, run.current.proposer)
    body = only(proposer.feed(Trained(Round(1), HEAD, blob("new"), 10)), Sign).body
    effects = proposer.sign(body)
    record = only(effects, Submit).record
    assert not [effect for effect in effects if isinstance(effect, Send)]
    voters = {place: Peer(run, place) for place in range(SIZE) if place != run.current.proposer}
    run.put(record)
    proposal = proposal_of(record.proposal, run.now.run)
    committee = run.current.members - {run.current.proposer}
    # One of the committee has read the record before another, whom its vote reaches first.
    first, second = sorted(committee)[:2]
    vote = run.vote(proposal, first)
    outsider = next(place for place in voters if place not in committee)
    stray = run.vote(proposal, outsider)
    for each in (vote, stray):
        voters[second].feed(Received(PEERS[each.body.voter], each))
    assert voters[second].view.work.votes == ()
    voters[second].sync()
    assert voters[second].view.work.votes == (vote,)
    assert [e for e in voters[second].feed(Fetched(blob("new"))) if isinstance(e, Score)]
    voters[outsider].sync()
    assert not [e for e in voters[outsider].feed(Fetched(blob("new"))) if isinstance(e, Score)]


def test_a_committee_member_tells_the_committee_alone(run):
    proposal, (place, *_) = drawn(run)
    voter = Peer(run, place)
    vote = run.vote(proposal, place)
    sent = only(voter.sign(vote.body), Send)
    later = only(voter.feed(Tick(), at=voter.now + back_off(voter.view.state)), Send)
    assert PEERS[run.current.proposer] in sent.to
    assert {*sent.to, *later.to} == {PEERS[member] for member in run.current.members} - {PEERS[place]}
