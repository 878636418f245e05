"""What whole nodes do where little goes wrong, and what becomes of those who lie."""

from collections import Counter

import pytest

from node.simulation.plan import WINDOW, Faults, Plan, Setup, Span, plan_for
from node.simulation.world import World
from protocol.ids import SECOND
from protocol.parse import parse_record

DECIDED = {"accepted", "rejected", "neutral"}
CALM = {"round_window": WINDOW, "inactive_after": 3}


def calm(peers, rounds, seed=1, **changes):
    """A run in which nothing goes wrong but what is asked for."""
    params = CALM | {"max_rounds": rounds} | changes.pop("params", {})
    return Plan(seed=seed, setup=Setup(peers, rounds), params=params, **({"faults": Faults()} | changes))


def run(plan):
    world = World(plan)
    world.run()
    return world


def ops(world):
    return Counter(parse_record(entry.recorded.raw).op for entry in world.topic.entries)


@pytest.mark.parametrize("peers", [1, 2, 3, 5, 7])
def test_a_calm_run_wastes_no_records(peers):
    world = run(calm(peers, 6))
    assert set(world.endings) <= DECIDED
    written = ops(world)
    assert set(written) <= {"genesis", "verdict", "vote"}
    assert written["verdict"] <= 2 * 6
    assert not world.state.inactive


def test_a_committee_does_not_storm_the_topic():
    """Back-offs must outlast the way to the topic and back, however many take part."""
    world = run(calm(60, 4, params={"committee_size": 21}))
    written = ops(world)
    assert written["propose"] == 4
    assert written["verdict"] <= 2 * 4


@pytest.mark.parametrize("seed", range(6))
def test_the_living_decide_where_others_are_silent_and_none_of_them_is_left_out(seed):
    world = run(calm(7, 8, seed, silent=frozenset({1, 4, 6})))
    assert world.endings.total() == 8
    assert world.state.inactive <= world.plan.silent
    assert sum(world.endings[name] for name in DECIDED) >= 5


@pytest.mark.parametrize("lie", ["two votes", "two proposals", "pass after proposing"])
def test_who_says_two_things_is_thrown_out(lie):
    liars = ((2, (lie,)), (5, (lie,)))
    params = {"stake_min": 10_000, "admission": "open"}
    world = run(calm(7, 21, params=params, liars=liars, stake=1_000_000))
    assert world.state.seats.expelled == {2, 5}
    assert all(world.state.money.stakes[place] == 0 for place in (2, 5))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_owed_is_paid_once_and_stakes_come_back(seed):
    params = {
        "settle_every": 2,
        "settle_window": 60,
        "settle_fee": 10_000,
        "reward_vote": 50,
        "stake_min": 10,
    }
    faults = Faults(heal=10_000 * SECOND, payments=0.4, broken_learner=0.2)
    world = run(calm(5, 6, seed, params=params, faults=faults, pool=10**10, stake=1_000))
    money = world.state.money
    assert money.wound_up
    assert not money.owed
    assert {account for account, _ in money.paid} >= {f"0.0.{2000 + place}" for place in range(5)}
    assert all(amount > 1_000 for account, amount in money.paid)


def test_who_joins_late_reads_the_topic_and_takes_its_turn():
    params = {"stake_min": 10_000, "admission": "open"}
    world = run(calm(3, 16, params=params, stake=1_000_000, late=20 * SECOND))
    proposers = [
        record.proposal.proposer
        for record in (parse_record(entry.recorded.raw) for entry in world.topic.entries)
        if record.op == "verdict"
    ]
    assert 3 in proposers
    late = world.nodes[-1]
    assert late.core.view.state == world.state
    assert world.state.head in late.store


def test_a_blob_that_rots_is_fetched_again():
    rot = tuple(Span(n * 10 * SECOND, n * 10 * SECOND, frozenset({n % 3})) for n in range(1, 9))
    world = run(calm(3, 12, faults=Faults(heal=1_000 * SECOND, rot=rot)))
    assert set(world.endings) <= DECIDED


def test_an_ended_run_comes_to_rest():
    world = run(calm(3, 2))
    with world.memo.in_use():
        assert sum(world.scheduler.advance() for _ in range(2_000)) < 2_000
    assert all(node.core.view.adopted == world.state.head for node in world.nodes)


def test_a_deceived_member_can_propose_nothing_that_counts():
    """Its mirror shows another history: its proposals are noticed, and nobody honest is harmed."""
    for seed in range(12):
        world = run(calm(4, 8, seed, deceived=frozenset({0})))
        (mirror,) = (node.mirror for node in world.nodes if node.mirror is not None)
        if not mirror.is_false:
            continue
        pairs = zip(world.topic.entries, mirror.entries, strict=False)
        false = (true.stamp.sequence for true, shown in pairs if true.recorded != shown.recorded)
        since = next(false, len(mirror.entries) + 1)
        for entry in world.topic.entries:
            record = parse_record(entry.recorded.raw)
            if record.op == "verdict" and record.proposal.proposer == 0:
                assert record.proposal.opening.sequence < since


def test_plans_are_drawn_from_seeds_alone():
    setup = Setup(7, 20, 3)
    assert plan_for(setup, 5) == plan_for(setup, 5)
    assert plan_for(setup, 5) != plan_for(setup, 6)
    liars = [plan_for(setup, seed) for seed in range(200)]
    assert all(len(plan.faulty) == 3 for plan in liars)
    most = [len(plan.liars) for plan in liars]
    assert {0, 1, 2, 3} == set(most), "sometimes all lie, sometimes no more than a third"
