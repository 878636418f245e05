"""step: early messages, repetitions, closing, coming back, and following the head."""

import pytest

from protocol.errors import Ignore, Invalid
from protocol.ids import SECOND, Nanoseconds, Ppm, Round
from protocol.messages import Choice
from protocol.records import PresentBody
from protocol.timing import CLOSE_MARGIN, alarm
from protocol.view import (
    Adopt,
    Fetch,
    Fetched,
    PeerUp,
    Received,
    Recorded,
    Scored,
    ScoringFailed,
    Send,
    Sign,
    Submit,
    Tick,
    TrainingFailed,
)
from tests.protocol.peer import Peer, only
from tests.protocol.world import PEERS, Run, blob, propose, verdict, vote_record

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


# ---- early, and again ----


def ahead(run):
    """The next round's proposal, by somebody who has read more of the topic."""
    run.accept()
    return run.proposal("next")


def test_messages_on_the_next_round_wait_for_it(run, voter):
    proposal = ahead(run)
    other = next(p for p in run.voters if p != voter.place)
    voter.hear(run.vote(proposal, other))
    voter.hear(proposal)
    assert voter.view.work.proposal is None
    voter.sync()
    if voter.place != run.current.proposer:
        assert voter.view.work.proposal == proposal
        assert [vote.body.voter for vote in voter.view.work.votes] == [other]


def test_a_repetition_takes_no_room_among_early_messages(run, voter):
    proposal = ahead(run)
    other = next(p for p in run.voters if p != voter.place)
    vote = run.vote(proposal, other)
    voter.hear(vote)
    for _ in range(3):
        with pytest.raises(Ignore):
            voter.hear(vote)
    voter.hear(proposal, sender=other)
    with pytest.raises(Ignore, match="more messages"):
        voter.hear(run.vote(proposal, other, Choice.REJECT), sender=other)
    assert len(voter.view.early) == 2


def test_a_forged_early_message_is_dropped(run, voter):
    proposal = ahead(run)
    other = next(p for p in run.voters if p != voter.place)
    voter.hear(run.vote(proposal, other, by=voter.place))
    voter.sync()
    assert voter.view.early == ()
    assert voter.view.work.waiting == ()


def test_a_peer_that_reconnects_hears_the_proposal_and_our_vote(run, voter):
    assert voter.feed(PeerUp(PEERS[3])) == ()
    proposal = run.proposal()
    voter.hear(proposal)
    vote = run.vote(proposal, voter.place)
    voter.sign(vote.body)
    sent = [e for e in voter.feed(PeerUp(PEERS[3])) if isinstance(e, Send)]
    assert sent == [Send(proposal, (PEERS[3],)), Send(vote, (PEERS[3],))]


def test_a_vote_goes_to_who_needs_it_and_to_all_once_there_is_no_verdict(run, voter):
    proposal = run.proposal()
    voter.hear(proposal)
    vote = run.vote(proposal, voter.place)
    said = only(voter.sign(vote.body), Send)
    assert said.message == vote
    assert PEERS[run.current.proposer] in said.to
    assert len(said.to) <= 2
    due = alarm(voter.view, voter.now)
    assert not [e for e in voter.feed(Tick(), at=due - 1) if isinstance(e, Send)]
    rest = only(voter.feed(Tick(), at=due), Send)
    assert rest.message == vote
    assert {*said.to, *rest.to} == set(PEERS[: len(run.state.roster)]) - {PEERS[voter.place]}
    assert not set(said.to) & set(rest.to)
    assert not [e for e in voter.feed(Tick(), at=due + 60 * SECOND) if isinstance(e, Send)]


# ---- closing, coming back, following ----


def test_whoever_is_nearest_to_the_proposer_closes_first(run, proposer, voter):
    closing = run.current.deadline + CLOSE_MARGIN
    assert only(proposer.feed(Tick(), at=closing), Submit).record == run.close()
    assert proposer.feed(Tick(), at=closing + SECOND) == ()
    assert only(proposer.feed(Tick(), at=closing + 12 * SECOND), Submit).record == run.close()
    assert voter.feed(Tick(), at=closing) == ()


def test_who_was_left_out_says_that_it_is_back():
    run = Run(4, inactive_after=1)
    quiet = run.voters[0]
    while quiet not in run.now.inactive:
        if run.current.proposer == quiet:
            run.expire()
            continue
        proposal = run.proposal()
        others = [run.vote(proposal, place) for place in run.voters if place != quiet]
        run.put(verdict(proposal, others, "accepted"))
    peer = Peer(run, quiet)
    body = only(peer.effects, Sign).body
    assert body == PresentBody(run=run.now.run, round=run.current.number, member=quiet)
    record = only(peer.sign(body), Submit).record
    assert quiet in run.put(record).returning
    assert not [e for e in peer.sync() if isinstance(e, Sign)]


def test_a_new_head_is_fetched_and_adopted(run, voter):
    proposal = run.proposal()
    run.put(verdict(proposal, [run.vote(proposal, p) for p in run.voters[1:]], "accepted"))
    fetch = only(voter.sync(), Fetch)
    assert (fetch.digest, fetch.size) == (proposal.body.candidate, 1000)
    assert PEERS[voter.place] not in fetch.sources
    effects = voter.feed(Fetched(proposal.body.candidate))
    assert only(effects, Adopt) == Adopt(Round(1), proposal.body.candidate)


def test_who_is_no_member_only_reads(run):
    peer = Peer(run, 30)
    run.put(propose(run.proposal()))
    assert peer.effects + peer.sync() + peer.feed(Tick(), at=run.current.deadline + 60 * SECOND) == ()
    assert alarm(peer.view, Nanoseconds(peer.now)) is None


def test_an_event_without_effect_changes_nothing(run, voter):
    before = voter.view
    for event in (
        Recorded(b"hello", run.topic.messages[0][1]),
        Received(PEERS[1], run.vote(run.proposal(), 9, by=1)),
        Scored(Round(7), HEAD, Choice.APPROVE, Ppm(0)),
        ScoringFailed(Round(7), HEAD),
        TrainingFailed(Round(7)),
    ):
        with pytest.raises((Ignore, Invalid)):
            voter.feed(event)
        assert voter.view is before


def test_a_vote_on_the_topic_is_learnt_from_there(run, voter):
    proposal = run.proposal()
    other = run.vote(proposal, run.voters[1])
    run.put(vote_record(proposal, other))
    voter.sync()
    assert voter.view.work.proposal == proposal
    assert voter.view.work.votes == (other,)
