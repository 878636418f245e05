"""step: several participants under virtual time; what holds whatever goes wrong (SPEC.md, Properties)."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.ids import SECOND
from protocol.money import liabilities
from protocol.step import MAX_FAILURES
from protocol.timing import CLOSE_MARGIN
from tests.protocol.simulation import LATENCY, Schedule, Simulation
from tests.protocol.world import POOL, START, TREASURY, fold, is_conserved

WINDOW = 60 * SECOND
DECIDED = ("accepted", "rejected", "neutral")
QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def schedules(draw, faults=True, lies=False):
    size = draw(st.integers(1, 7))
    silent = draw(st.sets(st.integers(0, size - 1), max_size=(size + 1) // 2 - 1))
    seed = draw(st.integers(0, 2**32))
    rules = {"inactive_after": draw(st.integers(1, 3)), "reward_vote": 1, "reward_proposal": 10}
    liars = sorted(set(range(size)) - silent)[: max(0, (size - 1) // 3 - len(silent))] if lies else []
    if not faults:
        return Schedule(seed=seed, size=size, silent=frozenset(silent), params=rules)
    return Schedule(
        seed=seed,
        size=size,
        silent=frozenset(silent),
        faulty=frozenset(liars),
        loss=draw(st.integers(0, 70)),
        duplication=draw(st.integers(0, 50)),
        delay=draw(st.integers(1, 40)),
        failures=draw(st.integers(0, 60)),
        restarts=tuple(draw(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 6)), max_size=5))),
        heal=draw(st.integers(0, 400)),
        params=rules,
    )


def margin(size):
    """How long after the deadline the last back-off, and consensus, may take."""
    return CLOSE_MARGIN + WINDOW // 10 * (size - 1) + 2 * LATENCY + SECOND


def check(simulation):
    """What holds in every simulation."""
    schedule = simulation.schedule
    for number, ending, _, _, late in simulation.endings():
        assert late <= margin(schedule.size), f"round {number} {ending} too late"
        assert (late > 0) == (ending == "closed") or ending in DECIDED
    assert fold(simulation.topic.messages, simulation.ledger) == simulation.state
    assert is_conserved(simulation.state)
    assert simulation.state.seats.expelled <= schedule.faulty
    for node in simulation.alive:
        for (_, number, name), times in node.done.items():
            most = {"Train": MAX_FAILURES + 2, "Score": MAX_FAILURES, "Sign": 3, "Adopt": 2, "Fetch": 60}
            most |= {"propose": 1, "vote": 3, "pass": 1, "present": 1, "verdict": 8, "close": 8, "Send": 30}
            most |= {"fault": 8 * schedule.size, "settle": 60, "settled": 60, "failed": 60, "Cosign": 40}
            assert times <= most[name], f"{times} {name} of {node.place} in round {number}"
    return simulation


@given(schedules())
@settings(QUIET, max_examples=25)
def test_every_round_ends_in_time_and_after_healing_rounds_are_decided(schedule):
    simulation = check(Simulation(schedule).run(4))
    while not simulation.healed:
        simulation.run(simulation.rounds() + 1)
    simulation.run(simulation.rounds() + 2 * schedule.size + 2)
    check(simulation)
    healed = START + schedule.heal * SECOND
    # A learner may still be at work on something it was given before everything healed.
    after = [e for e in simulation.endings() if e[3] > healed + schedule.delay * SECOND + WINDOW]
    assert all(ending in DECIDED for _, ending, proposer, _, _ in after if proposer not in schedule.silent)


@given(schedules(lies=True))
@settings(QUIET, max_examples=25)
def test_with_a_third_that_lie_every_round_ends_in_time_and_no_honest_one_is_blamed(schedule):
    check(Simulation(schedule).run(8))


def test_who_lies_to_some_is_thrown_out():
    schedule = Schedule(size=7, faulty=frozenset({2, 5}), params={"stake_min": 5})
    simulation = Simulation(schedule).run(14)
    assert simulation.state.seats.expelled == schedule.faulty


@given(schedules(lies=True), st.integers(0, 40))
@settings(QUIET, max_examples=25)
def test_what_is_owed_is_paid_once_and_stakes_come_back(schedule, refusals):
    """Also when the ledger fails payments, and when members crash, lie, or hear of little."""
    params = schedule.params | {"settle_every": 2, "max_rounds": 6, "settle_window": 60}
    schedule = replace(schedule, params=params, pool=POOL, refusals=refusals)
    simulation = check(Simulation(schedule).run(6))
    while simulation.state.money.owed or not simulation.state.money.wound_up:
        assert simulation.advance(), "somebody is owed for ever"
    money = simulation.state.money
    paid = [t for t in simulation.ledger.transfers if t.succeeded and t.moved(TREASURY) < 0]
    assert len({t.memo for t in paid}) == len(paid)
    assert {t.memo for t in paid} <= {str(stamp.sequence) for stamp, _ in simulation.states}
    balance = sum(t.moved(TREASURY) for t in simulation.ledger.transfers)
    assert balance == liabilities(money)
    for account, amount in money.paid:
        assert amount == sum(t.moved(account) for t in paid)
    check(simulation)


@pytest.mark.slow
@given(schedules())
@settings(QUIET, max_examples=100)
def test_the_same_in_depth(schedule):
    test_every_round_ends_in_time_and_after_healing_rounds_are_decided.hypothesis.inner_test(schedule)


@given(schedules(faults=False))
@settings(QUIET, max_examples=20)
def test_without_faults_the_living_decide_and_nobody_alive_is_left_out(schedule):
    simulation = check(Simulation(schedule).run(8))
    for number, ending, proposer, _, _ in simulation.endings():
        if proposer in schedule.silent:
            assert ending == "closed", number
        else:
            assert ending in DECIDED, number
    assert simulation.state.inactive <= schedule.silent


def test_a_calm_run_wastes_no_records():
    simulation = check(Simulation(Schedule(size=5)).run(6))
    ops = [record.op for _, _, record in simulation.submitted]
    assert set(ops) <= {"verdict", "vote"}
    assert ops.count("verdict") <= 2 * 7
    assert all(late < -WINDOW // 4 for *_, late in simulation.endings())


def test_an_ended_run_comes_to_rest():
    simulation = Simulation(Schedule(size=3, params={"max_rounds": 2})).run(2)
    assert simulation.state.open is None
    assert sum(simulation.advance() for _ in range(1000)) < 1000
    assert all(node.view.adopted == simulation.state.head for node in simulation.nodes)
