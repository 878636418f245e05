"""Every parser against almost right input: a few hundred each time, a million in the long run."""

import time
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.fields import canonical
from protocol.parse import MAX_RECORD
from protocol.records import Member
from tests.fuzz.ledger_targets import outbox_seeds
from tests.fuzz.local_targets import identity_seeds, journal_seeds
from tests.fuzz.mutate import mutated
from tests.fuzz.reach_targets import remembered_seeds
from tests.fuzz.target import MAX_INPUT, peak_of
from tests.fuzz.targets import TARGETS, bend
from tests.fuzz.topic_targets import third_round
from tests.protocol.world import PEERS, account, verdict

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
    "remembered": [remembered_seeds()[1].replace(b"address TEXT", b"\xed\x7fdress TEX", 1)],
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


def worst_records() -> dict[str, bytes]:
    """Records near the greatest length that ask for as much work as such a record can."""
    run = third_round()
    proposal = run.proposal()
    votes = [run.vote(proposal, voter) for voter in run.voters]
    right = verdict(proposal, votes, "accepted")
    many = right.model_copy(update={"votes": tuple(right.votes) * 140})
    scattered = tuple((place, *right.votes[place % 3][1:]) for place in range(420))
    members = tuple(Member(peer=peer, account=account(place)) for place, peer in enumerate(PEERS))
    roster = canonical(run.genesis.model_copy(update={"roster": members * 9}))
    return {
        "the same votes again and again": canonical(many),
        "votes of nobody": canonical(right.model_copy(update={"votes": scattered})),
        "a roster of doubles": roster,
        "deep lists": b'{"op":"verdict","p":"roundabout","v":1,"x":' + b"[" * 60_000,
        "deep objects": b'{"op":"verdict","p":"roundabout","v":1,"x":' + b'{"a":' * 12_000,
        "many keys": b'{"op":"verdict","p":"roundabout","v":1'
        + b"".join(b',"k%d":0' % n for n in range(6_000))
        + b"}",
        "one key again": b'{"op":"verdict","p":"roundabout","v":1' + b',"v":1' * 10_000 + b"}",
        "an endless number": b'{"op":"close","p":"roundabout","round":' + b"9" * 60_000 + b',"v":1}',
        "an endless string": b'{"op":"close","p":"roundabout","run":"' + b"A" * 60_000 + b'","v":1}',
    }


@pytest.mark.parametrize("name", list(worst_records()))
def test_no_record_takes_long(name: str) -> None:
    raw = worst_records()[name]
    assert 20_000 < len(raw) <= MAX_RECORD
    began = time.process_time()
    TARGETS["fold"].run(raw)
    TARGETS["record"].run(raw)
    # A few milliseconds of the processor; a quadratic way through 64 KiB would be minutes.
    assert time.process_time() - began < 2.0


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", TARGETS)
def test_a_million_inputs(name: str) -> None:
    """Together they are a million: each target has its part by weight."""
    target, total = TARGETS[name], sum(target.weight for target in TARGETS.values())
    bend(target, seed=4, runs=int(MILLION * target.weight / total) + 1)
