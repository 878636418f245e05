"""Members that contribute to each other's turns, and liars among them."""

import pytest

from node.simulation.plan import Faults
from protocol.parse import parse_record
from protocol.records import VerdictRecord
from tests.simulation.test_step_properties import calm, run

WINDOW = {"contribution_window": 15}
TRICKS = [
    "withheld updates",
    "absurd updates",
    "updates of an old head",
    "updates of another",
    "two updates",
    "late updates",
    "updates to all",
    "replay",
]


def named(world):
    """How many contributors each verdict's proposal names, by its proposer."""
    records = [parse_record(entry.recorded.raw) for entry in world.topic.entries]
    verdicts = [record for record in records if isinstance(record, VerdictRecord)]
    return [(each.proposal.proposer, len(each.proposal.contributors)) for each in verdicts]


def test_in_a_calm_run_everybody_contributes_to_every_candidate():
    world = run(calm(5, 10, params=WINDOW))
    assert [number for _, number in named(world)].count(5) >= 8, "weights are malformed now and then"
    assert world.invariants.contributed >= 4 * 8
    assert set(world.endings) <= {"accepted", "rejected", "neutral"}


def test_who_works_alone_names_nobody_else():
    assert {number for _, number in named(run(calm(5, 6)))} == {1}


@pytest.mark.parametrize("trick", TRICKS)
def test_liars_stop_nobody_and_honest_work_is_named(trick):
    liars = ((1, (trick,)), (4, (trick,)))
    world = run(calm(7, 10, params=WINDOW, liars=liars))
    honest = [number for proposer, number in named(world) if proposer not in (1, 4)]
    assert max(honest) >= 5
    assert world.endings.total() == 10
    assert not world.state.seats.expelled


def test_who_withholds_its_update_is_in_no_candidate():
    world = run(calm(5, 10, params=WINDOW, liars=((2, ("withheld updates",)),)))
    assert max(number for proposer, number in named(world) if proposer != 2) == 4


def test_with_learners_that_fail_rounds_go_on():
    faults = Faults(heal=10**15, broken_learner=0.4)
    world = run(calm(5, 12, params=WINDOW, faults=faults))
    assert world.endings["accepted"] >= 2
