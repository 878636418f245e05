"""Members with money come, are paid, go, and are thrown out, as people live it: real daemons, real commands."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.fields import canonical
from protocol.ids import SECOND, Ppm, digest_of
from protocol.messages import Choice, Contributor, Proposal, ProposalBody, Vote, VoteBody
from protocol.money import liabilities, total_of
from protocol.records import VoteRecord, entry_of, vote_entry_of
from protocol.signing import sign
from protocol.state import OpenRound, RunState
from tests.e2e.living import LivingRun, living, paid_to
from tests.e2e.moneyed import HBAR, Moneyed, moneyed
from tests.learners.counting import spec

RULES = {
    "round_window": 10,
    "stake_min": HBAR,
    "reward_vote": HBAR // 100,
    "reward_proposal": HBAR // 10,
    "settle_every": 3,
    "settle_window": 60,
    "unbonding_rounds": 2,
}
LIAR = 3


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moneyed]:
    with moneyed(tmp_path_factory.mktemp("life")) as world:
        yield world


def test_members_come_are_paid_and_go(world: Moneyed, tmp_path: Path) -> None:
    with living(world, tmp_path, 3, {"fund": 20 * HBAR}, **RULES) as run:
        founder = run.balances([world.localnet.operator])[0]
        run.start(0, 1, 2)
        for person in range(3):
            run.do(person, "topup", "--amount", "2")
        run.do(1, "fund", "--amount", "5")
        run.until(lambda state: state.totals.accepted >= 2)
        comes(run, str(tmp_path / "join.json"))
        is_paid(run)
        has_new_keys(run, 0, str(tmp_path / "keys.json"), signers=(2,), places=(0, 1, 2, 3))
        goes(run, str(tmp_path / "without.json"))
        ends(run, str(tmp_path / "end.json"))
        state = is_paid(run)
        assert paid_to(state, world.localnet.operator) > 0
        assert run.balances([world.localnet.operator])[0] == founder + paid_to(state, world.localnet.operator)
        treasury = str(state.money.treasury)
        assert run.balances([treasury]) == [liabilities(state.money)] == [state.money.pool]
        assert (state.money.stakes, state.money.unbonding, state.money.owed) == ((0, 0, 0, 0), (), ())
        assert run.do(0, "balance")["members"][0]["paid"] == paid_to(state, run.payees[0])
        run.stop()
        agrees(run, state, str(tmp_path / "topic.json"))
        for person in range(4):
            assert not [e for e in run.events(person) if e["level"] in ("error", "critical")]


def comes(run: LivingRun, file: str) -> None:
    """Somebody new is voted in, pays the rest of its stake, takes part, and proposes."""
    run.do(3, "motion", "join", "--stake", "0", "--account", run.payees[3], "--out", file)
    run.do(0, "motion", "sign", file)
    run.do(1, "motion", "sign", file)
    run.do(1, "motion", "submit", file)
    run.do(3, "topup", "--amount", "1")
    run.start(3)
    run.until(
        lambda state: state.last is not None and (state.last.proposer, state.last.ending) == (3, "accepted")
    )


def is_paid(run: LivingRun) -> RunState:
    """Everybody is paid, and has got what the fold says, neither more nor less."""
    paid = run.until(
        lambda state: (
            state.money.settlement is None
            and all(paid_to(state, account) for account in run.payees[:4])
            and (state.open is not None or (state.money.wound_up and not state.money.owed))
        )
    )
    before = run.state()
    while True:
        balances, after = run.balances(run.payees[:4]), run.state()
        if before.money.paid == after.money.paid and after.money.settlement is None:
            break  # no payment was under way while we looked
        before = after
    assert balances == [paid_to(after, account) for account in run.payees[:4]]
    assert after.money.settlements >= paid.money.settlements
    return after


def has_new_keys(
    run: LivingRun, drafter: int, file: str, signers: tuple[int, ...], places: tuple[int, ...]
) -> None:
    """The treasury's keys change, and what is paid from then on is signed with the new ones."""
    run.do(drafter, "motion", "rotate", "--out", file)
    for person in signers:
        run.do(person, "motion", "sign", file)
    done = run.run(drafter, "motion", "submit", file)
    assert done.exit_code == 0, done.output
    changed = run.until(lambda state: state.money.settlement is None and state.money.keys.places == places)
    keys = run.treasury_key(str(changed.money.treasury))
    assert [run.world.identity(place).public_key.hex() in keys for place in range(4)] == [
        place in places for place in range(4)
    ]
    run.until(lambda state: total_of(state.money.paid) > total_of(changed.money.paid))


def goes(run: LivingRun, file: str) -> None:
    """A member leaves and gets its stake back; its daemon ends once nobody needs its signature any more."""
    left = run.run(1, "motion", "leave")
    assert "its stake comes back 2 rounds later" in left.stdout
    assert "it holds a key of the treasury: leave its daemon running" in left.stdout
    run.until(lambda state: 1 not in state.seated)
    assert "a member has left" in [event["event"] for event in run.events(0)]
    run.expected.discard(1)
    has_new_keys(run, 0, file, signers=(2, 3), places=(0, 2, 3))
    assert run.end_of(1) == (0, [])
    assert "left the run: nothing is left to do here" in [event["event"] for event in run.events(1)]
    run.until(lambda state: not state.money.unbonding)


def ends(run: LivingRun, file: str) -> None:
    """The members end the run; the daemons say when they can be stopped."""
    run.do(0, "motion", "end", "--out", file)
    run.do(3, "motion", "sign", file)
    run.do(3, "motion", "submit", file)
    run.until(lambda state: state.open is None)
    over = "the run is over and everything is paid: this daemon can be stopped"
    for person in (0, 2, 3):
        run.until_true(lambda person=person: over in [event["event"] for event in run.events(person)])


def agrees(run: LivingRun, state: RunState, saved: str) -> None:
    """An auditor, at the mirror and with a saved history, comes to the same."""
    url = run.world.localnet.network.mirror_rest
    at_mirror = ("--topic", run.topic, "--mirror", url)
    for arguments in (at_mirror, (*at_mirror, "--save", saved), ("--pages", saved)):
        done = run.call("audit", *arguments, "--json")
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert (told["ok"], told["violations"]) == (True, [])
        assert told["credits"] == {account: state.earned_by(account) for account in run.payees[:4]}


# ---- who contradicts itself, and what the others decide then ----


def test_who_contradicts_itself_is_thrown_out_and_the_others_change_the_rules(
    world: Moneyed, tmp_path: Path
) -> None:
    rules = RULES | {"participation": 1_000_000}
    with living(world, tmp_path, 4, {"fund": 20 * HBAR}, **rules) as run:
        run.start(0, 1, 2)
        run.start(LIAR, doubt=6)  # all must vote, so that rounds wait for it
        for person in range(4):
            run.do(person, "topup", "--amount", "2")
        contradicts_itself(run)
        is_thrown_out(run)
        rules_change(run, str(tmp_path / "rules.json"))
        learner_changes(run, str(tmp_path / "upgrade.json"))


def contradicts_itself(run: LivingRun) -> None:
    """The liar signs two votes in a round, and both are put on the topic, by hand."""
    liar = run.world.identity(LIAR).peer
    run.expected.discard(LIAR)
    for person in (0, 1, 2):
        run.until_true(lambda person=person: ("connected", liar) in said_of(run, person, liar))

    def is_ours(state: RunState) -> bool:
        current = state.open
        if current is None or LIAR not in current.members or current.proposer == LIAR:
            return False
        return current.deadline - time.time_ns() > 7 * SECOND  # it has just opened: there is time for both

    for _ in range(
        5
    ):  # the round may close with the first of the two; then the second comes too late to count
        state = run.until(is_ours)
        assert state.open is not None
        number, said = state.open.number, proposal_of(run, state, state.open)
        votes = [vote_record(run, state, said, choice) for choice in (Choice.APPROVE, Choice.REJECT)]
        run.put_together([canonical(vote) for vote in votes])
        later = run.until(
            lambda state, number=number: (
                LIAR in state.seats.expelled or (state.open is not None and state.open.number > number + 1)
            )
        )
        if LIAR in later.seats.expelled:
            break


def proposal_of(run: LivingRun, state: RunState, current: OpenRound) -> Proposal:
    """What the proposer's daemon signs in this round: signing is deterministic, and the learner counts."""
    number = float(state.totals.accepted)
    assert digest_of(struct.pack("<d", number)) == state.head
    body = ProposalBody(
        run=state.run,
        round=current.number,
        base=state.head,
        candidate=digest_of(struct.pack("<d", number + 1)),
        size=8,
        opening=current.opening,
        contributors=(Contributor(account=state.roster[current.proposer].account, share=Ppm(1_000_000)),),
        proposer=current.proposer,
    )
    secret = run.world.identity(current.proposer).secret
    return Proposal(body=body, signature=sign(secret, "proposal", body))


def vote_record(run: LivingRun, state: RunState, said: Proposal, choice: Choice) -> VoteRecord:
    body = VoteBody(
        run=state.run,
        round=said.body.round,
        proposal=said.body.digest(),
        voter=LIAR,
        choice=choice,
        gain=Ppm(0),
    )
    vote = Vote(body=body, signature=sign(run.world.identity(LIAR).secret, "vote", body))
    return VoteRecord(proposal=entry_of(said), vote=vote_entry_of(vote))


def said_of(run: LivingRun, person: int, peer: str) -> list[tuple[str, str]]:
    """What a daemon has logged about another member."""
    return [(e["event"], peer) for e in run.events(person) if peer in (e.get("remote"), e.get("member"))]


def is_thrown_out(run: LivingRun) -> None:
    """An honest daemon charges it; its stake is lost, nobody talks to it, and its daemon says why it ends."""
    state = run.until(lambda state: LIAR in state.seats.expelled)
    assert state.money.stakes[LIAR] == 0
    status, (line,) = run.end_of(LIAR)
    liar = run.world.identity(LIAR).peer
    assert status == 2
    assert line == (
        f"roundabout: peer {liar} was thrown out of run {state.run} for contradicting itself: its stake is lost; "
        "use another key"
    )
    for person in (0, 1, 2):
        run.until_true(lambda person=person: ("disconnected", liar) in said_of(run, person, liar))
        assert ("a member was thrown out", liar) in said_of(run, person, liar)
    assert "is no member of this run" in run.refused(LIAR, "topup", "--amount", "1")
    assert "thrown out" in run.refused(LIAR, "motion", "join", "--out", "never.json")
    assert "thrown out" in run.run(LIAR, "balance").stdout


def rules_change(run: LivingRun, file: str) -> None:
    """New parameters act at the next epoch, in all daemons."""
    changes = ("participation=500000", "round_window=20", "settle_every=5")
    run.do(0, "motion", "params", *[word for each in changes for word in ("--set", each)], "--out", file)
    run.do(1, "motion", "sign", file)
    run.do(1, "motion", "submit", file)
    epoch = run.state().epoch
    state = run.until(lambda state: state.params.round_window == 20)
    assert state.epoch <= epoch + 1
    assert (state.params.settle_every, state.params.stake_min) == (5, HBAR)
    for person in (0, 1, 2):
        run.until_true(
            lambda person=person: (
                [
                    (event["round_window"], event["settle_every"])
                    for event in run.events(person)
                    if event["event"] == "the rules have changed"
                ]
                == [(20, 5)]
            )
        )


def learner_changes(run: LivingRun, file: str) -> None:
    """Daemons with the old learner stop, and go on with the new one."""
    new = spec("count/2").digest()
    run.do(2, "motion", "upgrade", "--learner", "counting", "--spec", new, "--out", file)
    run.do(0, "motion", "sign", file)
    run.expected.clear()
    run.do(0, "motion", "submit", file)
    ended = [run.end_of(person) for person in (0, 1, 2)]
    for status, (line,) in ended:
        assert status == 2
        assert line.startswith(f"roundabout: the run learns counting {new}, this learner is counting ")
    before = run.state()
    assert before.params.learner.spec == new
    run.start(0, 1, scorer="count/2")  # two are enough to go on
    run.until(lambda state: state.totals.accepted > before.totals.accepted)
    run.stop()
