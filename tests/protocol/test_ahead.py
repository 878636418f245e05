"""Training for the next round while this one is decided."""

import pytest

from protocol.errors import Ignore
from protocol.ids import Round
from protocol.messages import Choice
from protocol.view import (
    Fetched,
    Scored,
    Sign,
    Train,
    Trained,
    TrainingFailed,
)
from tests.protocol.peer import HEAD, Peer, only
from tests.protocol.world import Run, blob, verdict


@pytest.fixture
def run():
    return Run(5)


@pytest.fixture
def following(run):
    """Whose turn is next."""
    return Peer(run, run.now.order[1])


def voted(run, peer, choice):
    """What a peer does once it has voted on the proposal of the round."""
    proposal = run.proposal()
    peer.hear(proposal)
    peer.feed(Fetched(proposal.body.candidate))
    body = only(peer.feed(Scored(Round(1), proposal.body.candidate, choice, 0)), Sign).body
    return proposal, peer.sign(body)


def trainings(effects):
    return [effect for effect in effects if isinstance(effect, Train)]


@pytest.mark.parametrize("choice", list(Choice))
def test_the_next_proposer_bets_on_what_it_voted_for(run, following, choice):
    proposal, effects = voted(run, following, choice)
    hopeful = choice in (Choice.APPROVE, Choice.ABSTAIN)
    assert trainings(effects) == [Train(Round(2), proposal.body.candidate if hopeful else HEAD)]


def test_nobody_else_trains_ahead(run):
    for place in (run.now.order[2], run.now.order[3]):
        assert trainings(voted(run, Peer(run, place), Choice.APPROVE)[1]) == []


def test_what_is_ready_is_proposed_as_soon_as_the_round_is_open(run, following):
    proposal, _ = voted(run, following, Choice.APPROVE)
    assert following.feed(Trained(Round(2), proposal.body.candidate, blob("ahead"), 10)) == ()
    votes = run.votes(proposal, *[Choice.APPROVE] * 4)
    run.put(verdict(proposal, votes, "accepted"))
    effects = following.sync()
    assert trainings(effects) == []
    body = only(effects, Sign).body
    assert (body.round, body.base, body.candidate) == (Round(2), proposal.body.candidate, blob("ahead"))
    assert blob("ahead") in following.view.blobs


def test_what_is_under_way_is_not_started_again(run, following):
    proposal, _ = voted(run, following, Choice.APPROVE)
    run.put(verdict(proposal, run.votes(proposal, *[Choice.APPROVE] * 4), "accepted"))
    assert trainings(following.sync()) == []
    effects = following.feed(Trained(Round(2), proposal.body.candidate, blob("ahead"), 10))
    assert only(effects, Sign).body.round == Round(2)


def test_a_bet_that_is_lost_is_thrown_away(run, following):
    proposal, _ = voted(run, following, Choice.APPROVE)
    following.feed(Trained(Round(2), proposal.body.candidate, blob("ahead"), 10))
    choices = [Choice.APPROVE if v == following.place else Choice.REJECT for v in run.voters]
    votes = run.votes(proposal, *choices)
    again = [effect for vote in votes for effect in following.hear(vote)]
    assert trainings(again) == [Train(Round(2), HEAD)], (
        "as soon as the votes have decided, not when the topic has"
    )
    run.put(verdict(proposal, votes, "rejected"))
    assert trainings(following.sync()) == [], "it is under way"
    late = following.feed
    with pytest.raises(Ignore, match="another head"):
        late(Trained(Round(2), proposal.body.candidate, blob("ahead"), 10))
    assert only(late(Trained(Round(2), HEAD, blob("anew"), 10)), Sign).body.candidate == blob("anew")


@pytest.mark.parametrize("how", ["failed", "too large"])
def test_a_training_ahead_that_fails_is_tried_again_in_its_round(run, following, how):
    proposal, _ = voted(run, following, Choice.APPROVE)
    if how == "failed":
        assert following.feed(TrainingFailed(Round(2))) == ()
    else:
        size = run.now.params.max_blob_bytes + 1
        assert following.feed(Trained(Round(2), proposal.body.candidate, blob("ahead"), size)) == ()
    run.put(verdict(proposal, run.votes(proposal, *[Choice.APPROVE] * 4), "accepted"))
    assert trainings(following.sync()) == [Train(Round(2), proposal.body.candidate)]


def test_what_was_made_for_a_turn_that_is_another_s_is_thrown_away():
    run = Run(4, inactive_after=1)
    while not run.now.inactive:
        run.put(run.close(), at=run.current.deadline + 1)
    run.accept()
    while [place in run.now.inactive for place in run.now.order[run.now.cursor :][:2]] != [True, False]:
        run.accept()
    away, following = run.now.order[run.now.cursor :][:2]
    peer = Peer(run, following)
    peer.feed(Fetched(run.now.head))
    proposal = run.proposal()
    peer.hear(proposal)
    peer.feed(Fetched(proposal.body.candidate))
    body = only(peer.feed(Scored(run.current.number, proposal.body.candidate, Choice.APPROVE, 0)), Sign).body
    (train,) = trainings(peer.sign(body))
    run.put(run.present(away))
    votes = run.votes(proposal, *[Choice.APPROVE] * len(run.voters))
    run.put(verdict(proposal, votes, "accepted"))
    assert run.current.proposer == away
    peer.sync()
    with pytest.raises(Ignore):
        peer.feed(Trained(train.round, train.head, blob("ahead"), 10))


def test_nobody_trains_for_a_round_that_will_not_be():
    run = Run(5, max_rounds=1)
    assert trainings(voted(run, Peer(run, run.now.order[1]), Choice.APPROVE)[1]) == []


def test_nobody_bets_on_an_order_that_is_not_drawn_yet():
    run = Run(2)
    while run.now.cursor != len(run.now.order):
        run.accept()
    peer = Peer(run, run.voters[0])
    proposal = run.proposal()
    peer.hear(proposal)
    peer.feed(Fetched(run.now.head))
    peer.feed(Fetched(proposal.body.candidate))
    body = only(peer.feed(Scored(run.current.number, proposal.body.candidate, Choice.APPROVE, 0)), Sign).body
    assert trainings(peer.sign(body)) == []


def test_one_candidate_a_turn_is_signed_also_where_a_bet_was_made_twice(run, following):
    proposal, _ = voted(run, following, Choice.APPROVE)
    run.put(verdict(proposal, run.votes(proposal, *[Choice.APPROVE] * 4), "accepted"))
    assert trainings(following.sync()) == []
    head = proposal.body.candidate
    assert only(following.feed(Trained(Round(2), head, blob("ahead"), 10)), Sign).body.candidate == blob(
        "ahead"
    )
    with pytest.raises(Ignore, match="made twice"):
        following.feed(Trained(Round(2), head, blob("again"), 10))
    for _ in range(2):
        with pytest.raises(Ignore, match="turn is taken"):
            following.feed(TrainingFailed(Round(2)))
