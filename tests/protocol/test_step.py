"""step: what one participant does about each event."""

from dataclasses import replace

import pytest

from protocol.duties import advance
from protocol.errors import Ignore, Invalid
from protocol.ids import SECOND, Nanoseconds, Ppm, Round
from protocol.messages import Choice
from protocol.records import PassBody
from protocol.timing import alarm
from protocol.view import (
    Adopt,
    Fetch,
    Fetched,
    FetchingFailed,
    Score,
    Scored,
    ScoringFailed,
    Send,
    Sign,
    Submit,
    Tick,
    Train,
    Trained,
    TrainingFailed,
    View,
)
from tests.protocol.peer import Peer, only
from tests.protocol.world import PEERS, TOPIC, Run, blob, propose, verdict

HEAD = blob("initial")


@pytest.fixture
def run():
    return Run(4, reward_vote=1)


@pytest.fixture
def voter(run):
    return Peer(run, run.voters[0])


@pytest.fixture
def proposer(run):
    return Peer(run, run.current.proposer)


def test_who_has_left_asks_nobody_for_the_head(run):
    peer = Peer(run, run.voters[0], head=False)
    assert only(peer.effects, Fetch).digest == HEAD
    view = replace(peer.view, fetching=frozenset())
    seats = replace(view.state.seats, vacant=frozenset({peer.place}))
    assert advance(view, peer.now)[1] != ()
    assert advance(replace(view, state=replace(view.state, seats=seats)), peer.now)[1] == ()


# ---- the proposer ----


def test_the_proposer_trains_signs_and_sends(run, proposer):
    assert proposer.effects == (Adopt(Round(0), HEAD), Train(Round(1), HEAD))
    body = only(proposer.feed(Trained(Round(1), HEAD, blob("new"), 10)), Sign).body
    assert (body.base, body.candidate, body.opening) == (HEAD, blob("new"), run.current.opening)
    message = only(proposer.sign(body), Send).message
    assert message.body == body
    assert proposer.feed(Tick()) == ()


def test_nothing_is_done_before_the_topic_is_read(run):
    peer = Peer(run, run.current.proposer)
    peer.view = View(PEERS[peer.place], TOPIC, blobs=frozenset({HEAD}))
    peer.read = 0
    assert peer.sync() == ()
    assert alarm(peer.view, Nanoseconds(peer.now)) is None


def test_two_failures_of_training_pass_the_turn(run, proposer):
    assert proposer.feed(TrainingFailed(Round(1))) == (Train(Round(1), HEAD),)
    body = only(proposer.feed(TrainingFailed(Round(1))), Sign).body
    assert body == PassBody(run=run.now.run, round=Round(1))
    record = only(proposer.sign(body), Submit).record
    assert run.put(record).totals.passed == 1


def test_a_candidate_above_the_limit_is_a_failed_training():
    run = Run(4, max_blob_bytes=100)
    proposer = Peer(run, run.current.proposer)
    assert proposer.feed(Trained(Round(1), HEAD, blob("new"), 101)) == (Train(Round(1), HEAD),)
    body = only(proposer.feed(Trained(Round(1), HEAD, blob("new"), 101)), Sign).body
    assert isinstance(body, PassBody)


def test_a_candidate_for_a_round_that_is_over_is_ignored(run, proposer):
    run.expire()
    proposer.sync()
    for event in (Trained(Round(1), HEAD, blob("new"), 10), TrainingFailed(Round(1))):
        with pytest.raises(Ignore):
            proposer.feed(event)


def test_what_the_journal_holds_is_sent(run, proposer):
    """After a restart a new training ends in the proposal that was signed before."""
    earlier = run.proposal("earlier")
    proposer.feed(Trained(Round(1), HEAD, blob("new"), 10))
    assert only(proposer.sign(earlier.body), Send).message == earlier


def test_the_proposer_submits_the_verdict_at_once_and_the_others_after_a_back_off(run, proposer):
    order = run.now.order
    voter = Peer(run, order[1])  # a later one tells all others of its vote before it
    proposal = run.proposal()
    votes = run.votes(proposal, *[Choice.APPROVE] * 3)
    proposer.feed(Trained(Round(1), HEAD, proposal.body.candidate, 1000))
    proposer.sign(proposal.body)
    voter.hear(proposal)
    for vote in votes[:2]:
        assert proposer.hear(vote) == ()
    record = only(proposer.hear(votes[2]), Submit).record
    for vote in votes:
        voter.hear(vote)
    due = alarm(voter.view, Nanoseconds(voter.now))
    assert due == voter.now + 6 * SECOND
    assert only(voter.feed(Tick(), at=due), Submit).record == record
    assert run.put(record).totals.accepted == 1


# ---- a voter ----


def test_a_voter_fetches_scores_signs_and_sends(run, voter):
    proposal = run.proposal()
    fetch = only(voter.hear(proposal), Fetch)
    candidate = proposal.body.candidate
    assert (fetch.digest, fetch.size, fetch.pieces) == (candidate, 1000, None)
    assert fetch.sources[0] == PEERS[run.current.proposer]
    assert set(fetch.sources) == {PEERS[member] for member in run.current.members} - {PEERS[voter.place]}
    assert voter.feed(Fetched(candidate)) == (Score(Round(1), HEAD, candidate),)
    body = only(voter.feed(Scored(Round(1), candidate, Choice.APPROVE, Ppm(9))), Sign).body
    assert (body.voter, body.choice, body.gain) == (voter.place, Choice.APPROVE, 9)
    assert only(voter.sign(body), Send).message.body == body
    record = only(voter.feed(Tick(), at=voter.topic_time), Submit).record
    assert run.put(record).open.votes[0].body == body
    assert not [e for e in voter.feed(Tick()) if isinstance(e, Submit)]


def test_a_blob_that_nobody_serves_is_unavailable(run, voter):
    proposal = run.proposal()
    effects, asked = voter.hear(proposal), 0
    while not (signs := [effect for effect in effects if isinstance(effect, Sign)]):
        if any(isinstance(effect, Fetch) for effect in effects):
            asked += 1
            assert voter.feed(FetchingFailed(proposal.body.candidate)) == ()
        effects = voter.feed(Tick(), at=alarm(voter.view, Nanoseconds(voter.now)))
    assert signs[0].body.choice is Choice.UNAVAILABLE
    assert 5 <= asked <= 20
    assert voter.now < run.current.deadline
    effects = voter.sign(signs[0].body)
    assert {Send, Submit} <= {type(effect) for effect in effects} <= {Send, Submit, Train}


def test_a_proposal_first_seen_on_the_topic_is_fetched_before_it_is_called_unavailable(run, voter):
    proposal = run.proposal()
    run.put(propose(proposal), at=voter.topic_time + SECOND)
    assert isinstance(only(voter.sync(), Fetch), Fetch)
    due = alarm(voter.view, Nanoseconds(voter.now))
    assert only(voter.feed(Tick(), at=due), Sign).body.choice is Choice.UNAVAILABLE
    assert due <= run.current.deadline - 5 * SECOND


def test_without_the_head_a_candidate_that_is_there_is_not_called_unavailable(run):
    voter = Peer(run, run.voters[0], head=False)
    proposal = run.proposal()
    voter.hear(proposal)
    voter.feed(Fetched(proposal.body.candidate))
    late = run.current.deadline - SECOND
    assert only(voter.feed(Tick(), at=late), Sign).body.choice is Choice.ABSTAIN


def test_two_failures_of_scoring_abstain(run, voter):
    proposal = run.proposal()
    voter.hear(proposal)
    voter.feed(Fetched(proposal.body.candidate))
    again = voter.feed(ScoringFailed(Round(1), proposal.body.candidate))
    assert isinstance(only(again, Score), Score)
    body = only(voter.feed(ScoringFailed(Round(1), proposal.body.candidate)), Sign).body
    assert body.choice is Choice.ABSTAIN


def test_a_vote_that_the_verdict_left_out_goes_to_the_topic(run, voter):
    proposal = run.proposal()
    voter.hear(proposal)
    voter.sign(run.vote(proposal, voter.place).body)
    others = [run.vote(proposal, place) for place in run.voters[1:]]
    run.put(verdict(proposal, others, "accepted"))
    record = only(voter.sync(), Submit).record
    assert run.put(record).last.votes[-1].body.voter == voter.place


def test_a_comparison_that_ends_after_the_round_still_earns_its_credit(run, voter):
    proposal = run.proposal()
    voter.hear(proposal)
    voter.feed(Fetched(proposal.body.candidate))
    run.put(verdict(proposal, [run.vote(proposal, p) for p in run.voters[1:]], "accepted"))
    voter.sync()
    body = only(voter.feed(Scored(Round(1), proposal.body.candidate, Choice.REJECT, Ppm(0))), Sign).body
    record = only(voter.sign(body), Submit).record
    assert run.put(record).last.votes[-1].body == body


def test_a_vote_on_another_proposal_than_the_one_decided_is_not_put_on_the_topic(run, voter):
    """It would stand there as a forgery: the record names the proposal decided, the signature another."""
    mine, theirs = run.proposal("mine"), run.proposal("theirs")
    voter.hear(mine)
    run.put(verdict(theirs, [run.vote(theirs, p) for p in run.voters[1:]], "accepted"))
    voter.sync()
    with pytest.raises(Ignore):
        voter.sign(run.vote(mine, voter.place).body)


def test_votes_that_come_before_their_proposal_wait_for_it(run, voter):
    proposal = run.proposal()
    for place in run.voters[1:]:
        voter.hear(run.vote(proposal, place))
    assert voter.view.work.votes == ()
    voter.hear(proposal)
    assert len(voter.view.work.votes) == 2


def test_a_second_proposal_is_evidence_against_its_author_not_against_who_brings_it(run, voter):
    """The one who repeats it to us may have heard of no other."""
    first, second = run.proposal("one"), run.proposal("two")
    voter.hear(first)
    with pytest.raises(Ignore, match="know"):
        voter.hear(first, sender=run.voters[1])
    voter.hear(second, sender=run.voters[1])
    assert voter.view.work.proposal == first
    (charge,) = voter.view.charges
    assert charge.record.member == run.current.proposer
    voter.hear(run.proposal("three"))
    assert voter.view.charges == (charge,)
    run.put(charge.record)
    assert run.now.seats.expelled == {run.current.proposer}
    voter.sync()
    assert not voter.view.charges


def test_a_second_vote_is_evidence(run, voter):
    proposal, liar = run.proposal(), run.voters[1]
    voter.hear(run.vote(proposal, liar, Choice.APPROVE))
    voter.hear(run.vote(proposal, liar, Choice.APPROVE))
    assert not voter.view.charges
    voter.hear(run.vote(proposal, liar, Choice.REJECT))
    effects = voter.feed(Tick(), at=voter.now + run.genesis.params.window)
    record = only([e for e in effects if e.record.op == "fault"], Submit).record
    run.put(record)
    assert run.now.seats.expelled == {liar}


def test_a_pass_after_a_proposal_that_was_sent_is_evidence(run, voter):
    proposal, proposer = run.proposal(), run.current.proposer
    voter.hear(proposal)
    run.put(run.pass_turn())
    voter.sync()
    run.put(voter.view.charges[0].record)
    assert run.now.seats.expelled == {proposer}


def test_wrong_messages_are_invalid(run, voter):
    proposal = run.proposal()
    other = run.voters[1]
    for message in (
        run.proposal(by=other),
        run.proposal(base=blob("elsewhere")),
        run.proposal(by=other, proposer=other),
        run.proposal(run=blob("other run")),
        run.vote(proposal, other, by=voter.place),
        run.vote(proposal, run.current.proposer),
        run.vote(proposal, 9, by=other),
    ):
        with pytest.raises(Invalid):
            voter.hear(message, sender=other)
    with pytest.raises(Ignore):
        voter.hear(run.vote(proposal, other, round=Round(3)))
