"""Every parser against almost right input: a few hundred each time, a million in the long run."""

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.ledger_targets import outbox_seeds
from tests.fuzz.local_targets import identity_seeds, journal_seeds
from tests.fuzz.mutate import mutated
from tests.fuzz.target import MAX_INPUT, peak_of
from tests.fuzz.targets import TARGETS, bend

MILLION = 1_000_000
SLOW = 0.1
"""Targets of less weight read files or open databases."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_is_taken(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    assert seeds
    for seed in seeds:
        assert len(seed) <= MAX_INPUT
        target.run(seed)


FOUND = {
    "configs": [b"seed = " + b"9" * 5_000, b'"' + b"x" * 5_000 + b'" = 1', b'"a\\nb\\u001b[2J" = 1'],
    "arguments": [b"audit\0--topic\x000.0.5\0--mirror\0no\xed\xa0\x80nse"],
    "identity": [identity_seeds()[0] + b"ENCRYPTED\n"],
    "journal": [journal_seeds()[1].replace(b"round INTEGER", b"round \xed\x7fNTEG", 1)],
    "outbox": [outbox_seeds()[1].replace(b"INTEGER NOT", b"\xed\x7fTEGER\nNOT", 1)],
}
"""Inputs that once ended in a traceback, or in an error that was no line."""


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_stays_mended(name: str) -> None:
    for data in FOUND[name]:
        TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_almost_right_input_is_taken_or_refused(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()

    @settings(
        max_examples=300 if target.weight > SLOW else 40,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(st.binary(max_size=200), st.randoms(use_true_random=False)))
    def holds(chosen: bytes | Random) -> None:
        target.run(chosen if isinstance(chosen, bytes) else mutated(chosen, seeds, target.words))

    holds()


@pytest.mark.parametrize("name", TARGETS)
def test_memory_is_bounded_by_a_multiple_of_the_input(name: str) -> None:
    target = TARGETS[name]
    target.run(target.seeds()[0])  # what is imported or cached once is not counted
    for odd in (
        b"[" * MAX_INPUT,
        b'{"a":' * (MAX_INPUT // 5),
        b"9" * MAX_INPUT,
        b"\xff" * MAX_INPUT,
        bytes(MAX_INPUT),
    ):
        assert peak_of(lambda: target.run(odd)) < 64 * MAX_INPUT + 16 * 1024 * 1024  # noqa: B023 (run at once)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", TARGETS)
def test_a_million_inputs(name: str) -> None:
    """Together they are a million: each target has its part by weight."""
    target, total = TARGETS[name], sum(target.weight for target in TARGETS.values())
    bend(target, seed=4, runs=int(MILLION * target.weight / total) + 1)
