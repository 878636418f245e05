"""What the report says of each member: contradictions that are proven, and what it did and earned."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.audit import audit, report
from protocol.errors import Ignore, Invalid
from protocol.ids import SECOND, Ppm
from protocol.messages import Choice, Contributor
from protocol.motions import FaultRecord, SignedVote
from tests.ledger.chains import TOPIC
from tests.ledger.moneyed import MoneyedRun
from tests.ledger.test_audit import ENTRIES, PLAYED, ChainedRun
from tests.protocol.world import account, propose, verdict, vote_record


def found_in(run: ChainedRun) -> dict[str, Any]:
    return report(audit(TOPIC, run.entries))


def test_an_honest_run_shows_no_equivocation() -> None:
    assert report(audit(TOPIC, ENTRIES))["equivocations"] == []


def test_two_proposals_of_a_round_are_evidence_and_no_violation() -> None:
    run = ChainedRun()
    proposer = run.current.proposer
    run.put(propose(run.proposal("one")))
    run.put(propose(run.proposal("two")))
    found = found_in(run)
    assert found["equivocations"] == [
        {"kind": "proposal", "round": 1, "member": proposer, "first": 2, "second": 3}
    ]
    assert found["ok"] is True
    assert found["violations"] == []


def test_two_votes_of_a_round_are_evidence() -> None:
    run = ChainedRun()
    voter = run.voters[0]
    proposal = run.proposal()
    run.put(vote_record(proposal, run.vote(proposal, voter, Choice.APPROVE)))
    run.put(vote_record(proposal, run.vote(proposal, voter, Choice.REJECT)))
    assert found_in(run)["equivocations"] == [
        {"kind": "vote", "round": 1, "member": voter, "first": 2, "second": 3}
    ]


def test_a_vote_record_against_the_verdict_is_evidence_though_the_fold_ignores_it() -> None:
    run = ChainedRun()
    proposal = run.proposal()
    votes = run.votes(proposal, *[Choice.APPROVE] * 3)
    run.put(verdict(proposal, votes, "accepted"))
    voter = votes[0].body.voter
    sequence = run.put_wrong(vote_record(proposal, run.vote(proposal, voter, Choice.REJECT)))
    found = found_in(run)
    assert [entry["sequence"] for entry in found["ignored"]] == [sequence]
    assert found["equivocations"] == [
        {"kind": "vote", "round": 1, "member": voter, "first": 2, "second": sequence}
    ]


def test_one_invalid_record_with_both_votes_names_itself_twice() -> None:
    run = ChainedRun()
    proposal = run.proposal()
    voter = run.voters[0]
    both = [run.vote(proposal, voter), run.vote(proposal, voter, Choice.REJECT)]
    sequence = run.put_wrong(verdict(proposal, both, "accepted"))
    found = found_in(run)
    assert found["ok"] is False
    (proof,) = found["equivocations"]
    assert (proof["member"], proof["first"], proof["second"]) == (voter, sequence, sequence)


def test_a_pass_and_a_proposal_are_evidence_in_either_order() -> None:
    run = ChainedRun()
    late = propose(run.proposal())
    proposer = run.current.proposer
    run.put(run.pass_turn())
    run.put_wrong(late)
    other = run.current.proposer
    run.put(propose(run.proposal()))
    run.put_wrong(run.pass_turn())
    found = found_in(run)
    assert found["equivocations"] == [
        {"kind": "turn", "round": 1, "member": proposer, "first": 2, "second": 3},
        {"kind": "turn", "round": 2, "member": other, "first": 4, "second": 5},
    ]


def test_a_pass_by_somebody_else_proves_nothing() -> None:
    run = ChainedRun()
    run.put(propose(run.proposal()))
    run.put_wrong(run.pass_turn(by=run.voters[0]))
    assert found_in(run)["equivocations"] == []


def test_the_evidence_of_a_fault_is_shown_where_nothing_else_showed_it() -> None:
    run = ChainedRun()
    proposal, voter = run.proposal(), run.voters[0]
    votes = [run.vote(proposal, voter, choice) for choice in (Choice.APPROVE, Choice.REJECT)]
    first, second = (SignedVote(body=vote.body, sig=vote.signature) for vote in votes)
    run.put(FaultRecord(member=voter, first=first, second=second))
    found = found_in(run)
    assert found["equivocations"] == [{"kind": "vote", "round": 1, "member": voter, "first": 2, "second": 2}]
    assert [event["op"] for event in found["events"]] == ["fault"]


def test_an_old_round_is_not_forgotten() -> None:
    run = ChainedRun()
    old = run.proposal("one")
    other = run.proposal("two")
    run.put(verdict(old, run.votes(old, *[Choice.APPROVE] * 3), "accepted"))
    run.accept()
    run.accept()
    sequence = run.put_wrong(propose(other))
    (proof,) = found_in(run)["equivocations"]
    assert (proof["round"], proof["first"], proof["second"]) == (1, 2, sequence)


def test_repetitions_and_a_third_body_add_nothing() -> None:
    run = ChainedRun()
    for name in ("one", "one", "two", "two", "three"):
        try:
            run.put(propose(run.proposal(name)))
        except (Ignore, Invalid):
            continue
    assert len(found_in(run)["equivocations"]) == 1


def test_nobody_can_be_framed_with_another_signature() -> None:
    run = ChainedRun()
    thief, victim = run.voters[0], run.voters[1]
    proposal = run.proposal()
    run.put(vote_record(proposal, run.vote(proposal, victim)))
    run.put_wrong(vote_record(proposal, run.vote(proposal, victim, Choice.REJECT, by=thief)))
    run.put_wrong(propose(run.proposal("other", by=thief)))
    run.put_wrong(propose(run.proposal("far", proposer=9)))
    found = found_in(run)
    assert len(found["violations"]) == 3
    assert found["equivocations"] == []


# ---- what each member did and earned ----


def test_each_members_part_in_a_run_that_was_played() -> None:
    found = report(audit(TOPIC, ENTRIES))
    members = found["participants"]
    assert [m["member"] for m in members] == [0, 1, 2, 3]
    assert [m["peer"] for m in members] == [m.peer for m in PLAYED.genesis.roster]
    assert sum(m["turns"] for m in members) == found["rounds"]
    for ending in ("accepted", "rejected", "neutral", "closed", "passed"):
        assert sum(m[ending] for m in members) == found[ending]
    assert sum(m["proposed"] for m in members) == 3
    assert sum(m["late_votes"] for m in members) == 1
    assert sum(m["votes"]["approve"] for m in members) == 6
    assert sum(m["votes"]["reject"] for m in members) == 3
    assert [m["account_credits"] for m in members] == [found["credits"].get(m["account"], 0) for m in members]
    silent = found["timeline"][3]
    assert silent["absent"] == [silent["proposer"]], "nobody else had anything to vote on"
    assert sum(m["absences"] for m in members) == 1


def test_who_does_not_vote_is_absent() -> None:
    run = ChainedRun()
    proposal = run.proposal()
    voters = run.voters
    run.put(verdict(proposal, run.votes(proposal, *[Choice.APPROVE] * 2), "accepted"))
    found = found_in(run)
    assert found["timeline"][0]["absent"] == [voters[2]]
    assert [m["absences"] for m in found["participants"]] == [int(p == voters[2]) for p in range(4)]


def test_a_reward_that_is_shared_goes_to_the_contributors() -> None:
    run = MoneyedRun()
    shares = (
        Contributor(account=account(30), share=Ppm(250_000)),
        Contributor(account=account(0), share=Ppm(750_000)),
    )
    proposal = run.proposal(contributors=shares)
    run.put(verdict(proposal, run.votes(proposal, *[Choice.APPROVE] * 3), "accepted"))
    found = report(run.audited())
    assert found["timeline"][0]["credits"] == found["credits"]
    assert found["credits"][account(30)] == 250
    assert found["participants"][proposal.body.proposer]["proposal_credits"] == 1_000


@given(
    st.lists(st.sampled_from(["accept", "reject", "neutral", "pass", "expire", "late"]), max_size=8),
    st.sampled_from([0, 100, 30_000, 10**9]),
)
@settings(max_examples=30, deadline=None)
def test_credits_by_round_and_by_member_add_up(moves: list[str], pool: int) -> None:
    run = MoneyedRun(pool=pool, inactive_after=100, penalty_absent=7, penalty_rejected=70)
    for place in range(4):
        run.topup(place, 100)
    for move in moves:
        play(run, move)
    found = report(run.audited())
    members = found["participants"]
    total = sum(found["credits"].values())
    assert found["ok"]
    assert sum(sum(entry["credits"].values()) for entry in found["timeline"]) == total
    assert sum(m["vote_credits"] + m["proposal_credits"] for m in members) == total
    assert all(m["staked"] + m["lost_penalties"] == 100 for m in members)


def play(run: ChainedRun, move: str) -> None:
    """One round that ends in a given way."""
    if move == "pass":
        run.put(run.pass_turn())
    elif move == "expire":
        run.expire()
    elif move == "neutral":
        run.put(propose(run.proposal()))
        run.put(run.close(), at=run.current.deadline + SECOND)
    else:
        choice = Choice.REJECT if move == "reject" else Choice.APPROVE
        proposal = run.proposal()
        votes = run.votes(proposal, *[choice] * len(run.voters))
        counted = votes[:-1] if move == "late" else votes
        run.put(verdict(proposal, counted, "rejected" if move == "reject" else "accepted"))
        if move == "late":
            run.put(vote_record(proposal, votes[-1]))


@pytest.mark.parametrize("key", ["equivocations", "participants", "params", "began"])
def test_a_topic_without_a_run_has_nothing_to_tell(key: str) -> None:
    assert not report(audit(TOPIC, []))[key]
