"""fold: who is absent, who is left out, and how they come back."""

import pytest

from protocol.errors import Ignore, Invalid
from protocol.ids import Round
from protocol.messages import Choice
from tests.protocol.world import Run, blob, propose, verdict, vote_record


def play(run, silent):
    """One round in which the silent do nothing, decided or closed."""
    proposer = run.current.proposer
    if proposer in silent:
        return run.expire()
    proposal = run.proposal()
    votes = [run.vote(proposal, voter) for voter in run.voters if voter not in silent]
    if 2 * (1 + len(votes)) > len(run.current.members):
        return run.put(verdict(proposal, votes, "accepted"))
    run.put(propose(proposal))
    for vote in votes:
        run.put(vote_record(proposal, vote))
    return run.expire()


def play_until(run, done, silent, limit=40):
    for _ in range(limit):
        if done(run):
            return
        play(run, silent)
    raise AssertionError("it did not come to that")


def test_the_silent_are_left_out_after_inactive_after_rounds():
    run = Run(5, inactive_after=3)
    quiet = run.voters[0]
    for expected in (0, 1, 2):
        assert run.now.absent[quiet] == expected
        while (before := run.now.absent[quiet]) == expected:
            play(run, {quiet})
            assert run.now.absent[quiet] in (before, before + 1)
    assert run.now.inactive == {quiet}
    assert run.current.members == set(range(5)) - {quiet}


def test_absence_is_counted_when_the_next_round_closes():
    run = Run(4, inactive_after=1)
    quiet = run.voters[0]
    proposal = run.proposal()
    late = run.vote(proposal, quiet)
    run.put(verdict(proposal, [run.vote(proposal, v) for v in run.voters[1:]], "accepted"))
    assert run.now.absent == (0, 0, 0, 0)
    run.put(vote_record(proposal, late))
    play(run, set())
    assert run.now.absent == (0, 0, 0, 0)
    assert run.now.inactive == set()


def test_attendance_starts_again_from_zero():
    run = Run(4, inactive_after=3)
    quiet = run.voters[0]
    play_until(run, lambda r: r.now.absent[quiet] == 1, {quiet})
    play(run, set())
    assert run.now.absent[quiet] == 2
    play(run, set())
    play(run, set())
    assert run.now.absent[quiet] == 0
    assert run.now.inactive == set()


def test_a_dead_proposer_is_skipped_once_it_is_left_out():
    run = Run(4, inactive_after=1)
    dead = run.now.order[3]
    play_until(run, lambda r: dead in r.now.inactive, {dead})
    turns = []
    for _ in range(9):
        turns.append(run.current.proposer)
        play(run, {dead})
    assert dead not in turns
    assert set(turns) == set(range(4)) - {dead}


def test_without_a_proposal_only_the_proposer_was_absent():
    run = Run(4, inactive_after=1)
    proposer = run.current.proposer
    run.expire()
    run.put(run.pass_turn())
    assert run.now.inactive == {proposer}


def test_in_a_passed_round_nobody_was_absent():
    run = Run(4, inactive_after=1)
    for _ in range(6):
        run.put(run.pass_turn())
    assert run.now.absent == (0, 0, 0, 0)


def test_a_proposer_whose_proposal_is_on_the_topic_was_there():
    run = Run(4, inactive_after=1)
    proposer = run.current.proposer
    run.put(propose(run.proposal()))
    run.expire()
    play(run, set())
    assert run.now.inactive == set(range(4)) - {proposer}


def test_two_silent_of_five_do_not_stop_a_run():
    run = Run(5, inactive_after=2)
    silent = set(run.now.order[:2])
    for _ in range(12):
        play(run, silent)
    assert run.now.inactive == silent
    assert run.now.totals.accepted >= 6


def test_present_brings_back_from_the_next_opening():
    run = Run(4, inactive_after=1)
    dead = run.voters[0]
    play_until(run, lambda r: dead in r.now.inactive, {dead})
    state = run.put(run.present(dead))
    assert state.returning == {dead}
    assert dead not in state.open.members
    with pytest.raises(Ignore, match="counts already"):
        run.put(run.present(dead))
    state = play(run, {dead})
    assert dead in state.open.members
    assert state.returning == set()
    assert state.inactive == set()
    assert state.absent[dead] == 0


def test_the_round_missed_before_coming_back_does_not_count_again():
    run = Run(4, inactive_after=1)
    dead = run.voters[0]
    play_until(run, lambda r: dead in r.now.inactive, {dead})
    run.put(run.present(dead))
    play(run, {dead})
    play(run, set())
    play(run, set())
    assert run.now.inactive == set()


def test_a_wrong_present_has_no_effect():
    run = Run(4, inactive_after=1)
    dead = run.voters[0]
    with pytest.raises(Ignore, match="counts already"):
        run.put(run.present(dead))
    play_until(run, lambda r: dead in r.now.inactive, {dead})
    for record, why in (
        (run.present(dead, by=run.current.proposer), "does not verify"),
        (run.present(dead, run=blob("other run")), "another run"),
        (run.present(4), "nobody"),
        (run.present(dead, round=Round(run.current.number + 1)), "not open"),
    ):
        with pytest.raises(Invalid, match=why):
            run.put(record)
    stale = run.present(dead)
    play(run, {dead})
    with pytest.raises(Ignore, match="is over"):
        run.put(stale)
    assert dead in run.now.inactive


def test_the_vote_of_one_who_is_left_out_is_invalid():
    run = Run(4, inactive_after=1)
    dead = run.voters[0]
    play_until(run, lambda r: dead in r.now.inactive, {dead})
    proposal = run.proposal()
    with pytest.raises(Invalid, match="no member"):
        run.put(vote_record(proposal, run.vote(proposal, dead)))


def test_when_nobody_is_left_everybody_is_back():
    run = Run(3, inactive_after=1)
    everybody = {0, 1, 2}
    sizes = []
    for _ in range(8):
        play(run, everybody)
        sizes.append(len(run.current.members))
        assert run.current.members
    assert sizes[:4] == [3, 2, 1, 3]


def test_the_last_one_left_goes_on_alone_and_the_others_join_in():
    run = Run(4, inactive_after=1)
    alone = run.current.proposer
    others = set(range(4)) - {alone}
    play_until(run, lambda r: r.current.members == {alone}, others)
    proposal = run.proposal()
    run.put(verdict(proposal, [], "accepted"))
    for place in others:
        run.put(run.present(place))
    play(run, others)
    assert run.current.members == set(range(4))


def test_a_vote_on_the_topic_that_the_close_counts_is_attendance():
    run = Run(5, inactive_after=1, participation=1_000_000)
    proposal = run.proposal()
    there, *gone = run.voters
    run.put(vote_record(proposal, run.vote(proposal, there, Choice.ABSTAIN)))
    run.expire()
    play(run, set())
    assert run.now.inactive == set(gone)
