"""money: what holds for every sequence of records and transfers (SPEC.md, money).

An example is a run of some two dozen acts, about forty records, each looked at by an outsider (chaos.py).
"""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.state import state_digest
from tests.protocol.chaos import Chaos, SloppyLedger
from tests.protocol.world import fold

ACTS = st.sampled_from(
    [
        *("play", "play", "play", "turn", "turn", "invest", "invest", "forge", "membership", "membership"),
        *("accuse", "pay", "pay", "pay", "again", "wind_down"),
    ]
)
QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEEDS = st.integers(0, 2**32)


def play(seed, acts):
    """Do it all, then fold the topic again in three ways."""
    chaos = Chaos(seed)
    for name, draw in acts:
        chaos.act(name, draw)
    run = chaos.run
    messages = run.topic.messages
    assert fold(messages, run.ledger) == run.now
    sloppy = SloppyLedger()
    sloppy.transfers = run.ledger.transfers
    assert fold(messages, sloppy) == run.now, "what a mirror answers beside the question counts"
    effective = [messages[0], *(messages[index] for index in chaos.effective)]
    again = fold(effective, run.ledger)
    assert again == run.now, "what is ignored or invalid leaves a trace"
    assert state_digest(again) == state_digest(run.now)
    return chaos


@given(SEEDS, st.lists(st.tuples(ACTS, SEEDS), min_size=5, max_size=40))
@settings(QUIET, max_examples=300)
def test_every_tinybar_is_accounted_for_whatever_happens(seed, acts):
    play(seed, acts)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@given(SEEDS, st.lists(st.tuples(ACTS, SEEDS), min_size=5, max_size=60))
@settings(QUIET, max_examples=5_000)
def test_the_same_in_depth(seed, acts):
    play(seed, acts)


def test_chance_gets_everywhere():
    """The acts do what they are for: every kind of record takes effect in a few dozen runs."""
    draw, kinds = random.Random(7), {}
    names = list(ACTS.elements)
    for seed in range(40):
        for kind, count in play(seed, [(draw.choice(names), draw.random()) for _ in range(60)]).kinds.items():
            kinds[kind] = kinds.get(kind, 0) + count
    wanted = {"verdict", "vote", "propose", "close", "pass", "present", "fund", "topup", "join", "leave"}
    wanted |= {"params", "upgrade", "end", "rotate", "fault", "settle", "settled", "failed"}
    assert {kind for kind, count in kinds.items() if count >= 5} >= wanted, kinds
