"""fold: each kind of record, valid and in each way wrong."""

import pytest

from protocol.errors import Ignore, Invalid
from protocol.fields import canonical
from protocol.fold import read
from protocol.ids import SECOND, Ppm, Round
from protocol.messages import Choice, Contributor
from protocol.rules import shuffled
from protocol.state import Totals
from tests.protocol.world import (
    POOL,
    TOPIC,
    Run,
    account,
    blob,
    genesis,
    params,
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


# ---- genesis ----


def test_the_genesis_opens_round_one(run):
    state, current = run.now, run.current
    assert state.head == params().initial
    assert current.number == 1
    assert current.members == {0, 1, 2, 3}
    stamp = run.topic.messages[0][1]
    assert state.order == shuffled(4, stamp.running_hash)
    assert (current.proposer, state.cursor, state.epoch) == (state.order[0], 1, 1)
    assert (current.opening.sequence, current.opening.running_hash) == (1, stamp.running_hash)
    assert current.deadline == stamp.time + 60 * SECOND


def test_before_the_genesis_nothing_counts(run):
    _, stamp = run.topic.messages[0]
    for record in (run.close(), run.pass_turn(), propose(run.proposal())):
        with pytest.raises(Ignore, match="before the genesis"):
            read(None, TOPIC, canonical(record), stamp)


def test_a_genesis_for_another_topic_is_no_run(run):
    raw, stamp = run.topic.messages[0]
    with pytest.raises(Invalid, match="for topic"):
        read(None, "0.0.9", raw, stamp)


def test_there_is_one_genesis(run):
    for other in (run.genesis, genesis(5)):
        with pytest.raises(Invalid, match="second genesis"):
            run.put(other)


# ---- verdict ----


def test_an_accepted_verdict_moves_the_head_and_pays(run):
    proposal = run.proposal()
    proposer, voters = run.current.proposer, run.voters
    state = run.put(verdict(proposal, run.votes(proposal, YES, NO, YES), "accepted"))
    assert (state.head, state.head_size) == (proposal.body.candidate, 1000)
    assert state.totals == Totals(accepted=1)
    assert state.earned_by(account(proposer)) == 1000
    assert [state.earned_by(account(voter)) for voter in voters] == [7, 7, 7]
    assert state.last.ending == "accepted"
    assert state.open.number == 2
    assert state.open.proposer == state.order[1]


def test_a_rejected_verdict_pays_the_votes_alone(run):
    proposal = run.proposal()
    state = run.put(verdict(proposal, run.votes(proposal, NO, GONE), "rejected"))
    assert state.head == params().initial
    assert state.totals == Totals(rejected=1)
    assert total(state) == 2 * 7


def test_a_neutral_verdict_moves_no_money():
    run = Run(4, pool=POOL, reward_proposal=1000, reward_vote=7, min_approvals=2)
    proposal = run.proposal()
    state = run.put(verdict(proposal, run.votes(proposal, YES, DONT_KNOW, DONT_KNOW), "neutral"))
    assert (state.totals, state.money.earned, state.head) == (Totals(neutral=1), (), params().initial)


def test_contributors_share_the_reward():
    run = Run(4, pool=POOL, reward_proposal=1001)
    shares = (
        Contributor(account=account(20), share=Ppm(500_000)),
        Contributor(account=account(21), share=Ppm(500_000)),
    )
    proposal = run.proposal(contributors=shares)
    state = run.put(verdict(proposal, run.votes(proposal, YES, YES), "accepted"))
    assert (state.earned_by(account(20)), state.earned_by(account(21))) == (501, 500)


@pytest.mark.parametrize(
    ("choices", "claim"),
    [
        ((YES, YES), "rejected"),
        ((YES, YES), "neutral"),
        ((NO, NO), "accepted"),
        ((YES,), "accepted"),
        ((), "accepted"),
        ((NO,), "rejected"),
        ((DONT_KNOW, DONT_KNOW), "neutral"),
    ],
)
def test_an_outcome_that_does_not_follow_is_invalid(run, choices, claim):
    proposal = run.proposal()
    with pytest.raises(Invalid, match="whose votes say"):
        run.put(verdict(proposal, run.votes(proposal, *choices), claim))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"base": blob("elsewhere")}, "not based on the head"),
        ({"size": 64 * 1024 * 1024 + 1, "pieces": blob("pieces")}, "at most"),
        ({"round": Round(2)}, "not open"),
    ],
)
def test_a_wrong_proposal_is_invalid_in_every_record(run, changes, why):
    proposal = run.proposal(**changes)
    votes = run.votes(proposal, YES, YES, YES)
    for record in (
        verdict(proposal, votes, "accepted"),
        vote_record(proposal, votes[0]),
        propose(proposal),
    ):
        with pytest.raises(Invalid, match=why):
            run.put(record)


@pytest.mark.parametrize("field", ["sequence", "running_hash", "state"])
def test_a_proposal_from_another_history_is_invalid(run, field):
    opening = run.current.opening
    value = {"sequence": 2, "running_hash": "A" * 64, "state": blob("other state")}[field]
    proposal = run.proposal(opening=opening.model_copy(update={field: value}))
    with pytest.raises(Invalid, match="another history"):
        run.put(propose(proposal))


def test_a_proposal_out_of_turn_is_invalid(run):
    for voter in run.voters:
        with pytest.raises(Invalid, match="it is the turn of"):
            run.put(propose(run.proposal(by=voter, proposer=voter)))


def test_a_forged_proposal_is_invalid(run):
    with pytest.raises(Invalid, match="does not verify"):
        run.put(propose(run.proposal(by=run.voters[0])))


def test_a_proposal_signed_for_another_run_is_invalid(run):
    with pytest.raises(Invalid, match="does not verify"):
        run.put(propose(run.proposal(run=blob("other run"))))


def test_wrong_votes_are_invalid_in_every_record(run):
    proposal = run.proposal()
    first, second, _ = run.voters
    proposer = run.current.proposer
    wrong = {
        "does not verify": [
            run.vote(proposal, first, by=second),
            run.vote(proposal, first, run=blob("other run")),
            run.vote(proposal, first, round=Round(2)),
            run.vote(proposal, first, proposal=blob("other proposal")),
        ],
        "of the proposer": [run.vote(proposal, proposer)],
        "no member": [run.vote(proposal, 4), run.vote(proposal, 999, by=first)],
    }
    for why, votes in wrong.items():
        for vote in votes:
            with pytest.raises(Invalid, match=why):
                run.put(vote_record(proposal, vote))
            with pytest.raises(Invalid, match=why):
                run.put(verdict(proposal, [run.vote(proposal, second), vote], "accepted"))


def test_a_choice_that_was_not_signed_is_invalid(run):
    proposal = run.proposal()
    votes = run.votes(proposal, NO, YES)
    turned = votes[0].model_copy(update={"body": votes[0].body.model_copy(update={"choice": YES})})
    with pytest.raises(Invalid, match="does not verify"):
        run.put(verdict(proposal, [turned, votes[1]], "accepted"))


def test_a_verdict_counts_no_vote_twice(run):
    proposal = run.proposal()
    vote = run.vote(proposal, run.voters[0])
    with pytest.raises(Invalid, match="two votes of one voter"):
        run.put(verdict(proposal, [vote, vote], "accepted"))


def test_the_first_valid_verdict_is_the_verdict(run):
    proposal = run.proposal()
    yes, no = run.votes(proposal, YES, YES, NO), run.votes(proposal, YES, YES)
    run.put(verdict(proposal, yes, "accepted"))
    for late in (verdict(proposal, no, "accepted"), verdict(proposal, [], "rejected")):
        with pytest.raises(Ignore, match="is over"):
            run.put(late)
    run.accept()
    with pytest.raises(Ignore, match="is over"):
        run.put(verdict(proposal, yes, "accepted"))


def test_a_verdict_is_in_time_up_to_the_deadline(run):
    proposal = run.proposal()
    record = verdict(proposal, run.votes(proposal, YES, YES), "accepted")
    with pytest.raises(Ignore, match="after its deadline"):
        Run(4).put(
            verdict((other := Run(4)).proposal(), other.votes(other.proposal(), YES, YES), "accepted"),
            at=run.current.deadline + 1,
        )
    assert run.put(record, at=run.current.deadline).totals.accepted == 1


def test_a_replay_in_another_run_is_invalid(run):
    other = Run(4, pool=POOL, reward_proposal=1)
    proposal = run.proposal()
    for record in (
        propose(proposal),
        vote_record(proposal, run.vote(proposal, run.voters[0])),
        verdict(proposal, run.votes(proposal, YES, YES), "accepted"),
        run.close(),
        run.pass_turn(),
        run.present(1),
    ):
        with pytest.raises(Invalid):
            other.put(record)


# ---- vote, propose ----


def test_votes_on_the_topic_are_kept_once(run):
    proposal = run.proposal()
    vote = run.vote(proposal, run.voters[0])
    state = run.put(vote_record(proposal, vote))
    assert state.open.votes == (vote,)
    assert state.open.proposals == (proposal,)
    with pytest.raises(Ignore, match="on the topic already"):
        run.put(vote_record(proposal, vote))
    with pytest.raises(Ignore, match="on the topic already"):
        run.put(propose(proposal))


def test_two_votes_of_one_voter_count_as_an_abstention(run):
    proposal = run.proposal()
    first, second, third = run.voters
    run.put(vote_record(proposal, run.vote(proposal, first, YES)))
    state = run.put(vote_record(proposal, run.vote(proposal, first, NO)))
    assert state.open.doubled == {first}
    with pytest.raises(Ignore, match="on the topic already"):
        run.put(vote_record(proposal, run.vote(proposal, first, GONE)))
    run.put(vote_record(proposal, run.vote(proposal, second, NO)))
    run.put(vote_record(proposal, run.vote(proposal, third, DONT_KNOW)))
    assert run.expire().last.ending == "rejected"  # 1 approval, 1 rejection; with the first YES 2 to 1


def test_a_verdict_cannot_use_a_vote_that_its_voter_contradicted_on_the_topic(run):
    proposal = run.proposal()
    first, second, third = run.voters
    run.put(vote_record(proposal, run.vote(proposal, first, YES)))
    votes = [run.vote(proposal, first, NO), run.vote(proposal, second, NO)]
    with pytest.raises(Ignore, match="contradicted"):  # whoever submits it may not know
        run.put(verdict(proposal, votes, "rejected"))
    with pytest.raises(Invalid, match="whose votes say"):
        run.put(verdict(proposal, votes, "accepted"))
    votes.append(run.vote(proposal, third, NO))
    assert run.put(verdict(proposal, votes, "rejected")).totals.rejected == 1


def test_a_vote_is_in_time_up_to_the_deadline(run):
    proposal = run.proposal()
    first, second, _ = run.voters
    deadline = run.current.deadline
    run.put(vote_record(proposal, run.vote(proposal, first)), at=deadline)
    for record in (vote_record(proposal, run.vote(proposal, second)), run.pass_turn()):
        with pytest.raises(Ignore, match="after its deadline"):
            run.put(record, at=deadline + 1)
    with pytest.raises(Ignore, match="after its deadline"):
        run.put(propose(run.proposal("another")), at=deadline + 1)


# ---- close ----


def test_a_close_waits_for_the_deadline(run):
    deadline = run.current.deadline
    with pytest.raises(Ignore, match="before its deadline"):
        run.put(run.close(), at=deadline)
    assert run.put(run.close(), at=deadline + 1).totals == Totals(closed=1)


def test_a_close_names_its_run_and_round(run):
    after = run.current.deadline + 1
    with pytest.raises(Invalid, match="another run"):
        run.put(run.close(run=blob("other run")), at=after)
    with pytest.raises(Invalid, match="not open"):
        run.put(run.close(round=Round(2)), at=after)
    stale = run.close()
    run.put(stale, at=after)
    with pytest.raises(Ignore, match="is over"):
        run.put(stale, at=after + 61 * SECOND)


@pytest.mark.parametrize(
    ("choices", "ending", "reward"),
    [
        ((), "closed", 0),
        ((YES,), "accepted", 1000),
        ((NO,), "rejected", 0),
        ((DONT_KNOW,), "accepted", 0),
        ((YES, NO), "accepted", 0),  # as much lost as gained
        ((GONE, NO), "rejected", 0),
    ],
)
def test_a_close_tallies_the_votes_on_the_topic(run, choices, ending, reward):
    proposal = run.proposal()
    run.put(propose(proposal))
    for vote in run.votes(proposal, *choices):
        run.put(vote_record(proposal, vote))
    state = run.expire()
    assert state.last.ending == ending
    assert total(state) == reward + 7 * len(choices)
    assert state.head == (proposal.body.candidate if ending == "accepted" else params().initial)


def test_two_proposals_decide_nothing_at_the_close(run):
    first, second, third = run.proposal("one"), run.proposal("two"), run.proposal("three")
    for vote in run.votes(first, YES, YES):
        run.put(vote_record(first, vote))
    run.put(propose(second))
    with pytest.raises(Ignore):
        run.put(propose(third))
    assert len(run.current.proposals) == 2
    state = run.expire()
    assert (state.last.ending, state.last.proposal, state.money.earned) == ("closed", None, ())


def test_a_proposer_of_two_can_still_be_judged_by_a_verdict_on_one(run):
    first, second = run.proposal("one"), run.proposal("two")
    run.put(propose(first))
    run.put(propose(second))
    assert run.put(verdict(second, run.votes(second, NO, NO), "rejected")).totals.rejected == 1


# ---- pass ----


def test_a_pass_ends_the_round_for_free(run):
    proposer = run.current.proposer
    state = run.put(run.pass_turn())
    assert state.totals == Totals(passed=1)
    assert state.money.earned == ()
    assert proposer in state.last.present
    assert state.open.number == 2


def test_only_the_proposer_passes(run):
    with pytest.raises(Invalid, match="does not verify"):
        run.put(run.pass_turn(by=run.voters[0]))
    with pytest.raises(Invalid, match="another run"):
        run.put(run.pass_turn(run=blob("other run")))
    stale = run.pass_turn()
    run.put(stale)
    with pytest.raises(Ignore, match="is over"):
        run.put(stale)


def test_there_is_no_pass_after_a_proposal(run):
    run.put(propose(run.proposal()))
    with pytest.raises(Invalid, match="after a proposal"):
        run.put(run.pass_turn())
