"""Seeds of every run: five hundred long ones, and a hundred large and small, calm and not."""

import pytest

from node.simulation.campaign import run_seed
from node.simulation.plan import Setup

SETUPS = (
    Setup(peers=7, rounds=6, byzantine=3),
    Setup(peers=7, rounds=6, byzantine=2),
    Setup(peers=4, rounds=8, byzantine=1),
    Setup(peers=5, rounds=6, byzantine=2),
    Setup(peers=3, rounds=6, byzantine=0),
    Setup(peers=6, rounds=6, byzantine=1),
    Setup(peers=2, rounds=6, byzantine=0),
    Setup(peers=1, rounds=6, byzantine=0),
)


@pytest.mark.parametrize("start", range(0, 100, 50))
def test_nothing_that_must_hold_is_broken(start):
    for seed in range(start, start + 50):
        setup = SETUPS[seed % len(SETUPS)]
        result = run_seed(setup, seed)
        assert result.broken is None, f"{setup}: {result.broken}"
        assert result.rounds == setup.rounds


@pytest.mark.parametrize("start", range(0, 500, 50))
def test_long_runs(start):
    for seed in range(start, start + 50):
        result = run_seed(Setup(peers=7, rounds=20, byzantine=3), seed)
        assert result.broken is None, result.broken


def test_a_committee_of_many():
    setup = Setup(peers=40, rounds=3, byzantine=4, committee=21)
    for seed in range(3):
        result = run_seed(setup, seed)
        assert result.broken is None, result.broken
        assert result.rounds == setup.rounds


@pytest.mark.slow
def test_a_thousand_join_and_a_committee_decides():
    setup = Setup(peers=1000, rounds=10, byzantine=0, committee=32)
    result = run_seed(setup, 1)
    assert result.broken is None, result.broken
    assert result.rounds == setup.rounds
