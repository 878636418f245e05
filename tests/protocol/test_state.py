"""state: the digest of what a round opens on covers all that later rounds depend on."""

from dataclasses import fields, replace

import pytest

from protocol.ids import Digest, Tinybar
from protocol.state import RunState, Totals, state_digest
from tests.protocol.world import POOL, Run, account, blob, fold

STATE = Run(4, pool=POOL, reward_vote=3, reward_proposal=10).accept()
OTHER = {
    "run": blob("other run"),
    "head": blob("other head"),
    "order": STATE.order[::-1],
    "cursor": STATE.cursor + 1,
    "epoch": STATE.epoch + 1,
    "absent": (0, 1, 0, 0),
    "inactive": frozenset({2}),
    "credits": ((account(0), Tinybar(1)),),
    "totals": Totals(accepted=2),
}
# What the digest leaves out, and why that is safe.
NOT_COVERED = {
    "topic": "named by the genesis, whose digest the run is",
    "params": "named by the genesis",
    "roster": "named by the genesis",
    "head_size": "follows from the proposal that the head came from",
    "returning": "empty at every opening",
    "open": "the round in progress: the opening holds the digest, not the other way round",
    "last": "a window on late votes; what comes of it is in credits and absent at the next opening",
}


def test_every_field_of_the_state_is_in_the_digest_or_has_a_reason_not_to_be():
    assert {field.name for field in fields(RunState)} == set(OTHER) | set(NOT_COVERED)


@pytest.mark.parametrize("name", OTHER)
def test_the_digest_differs_when_a_field_does(name):
    assert getattr(STATE, name) != OTHER[name]
    assert state_digest(replace(STATE, **{name: OTHER[name]})) != state_digest(STATE)


@pytest.mark.parametrize("ending", ["accepted", "rejected", "neutral", "closed", "passed"])
def test_the_digest_differs_for_each_total(ending):
    digests = {state_digest(replace(STATE, totals=Totals(**{ending: n}))) for n in range(3)}
    assert len(digests) == 3


def test_amounts_have_no_upper_bound():
    rich = replace(STATE, credits=((account(0), Tinybar(2**70)),))
    richer = replace(STATE, credits=((account(0), Tinybar(2**70 + 1)),))
    assert state_digest(rich) != state_digest(richer)


def test_equal_states_have_equal_digests():
    run = Run(4)
    run.accept()
    again = fold(run.topic.messages)
    assert again == run.now
    assert again is not run.now
    assert state_digest(again) == state_digest(run.now)
    assert isinstance(state_digest(again), str)
    assert len(Digest(state_digest(again))) == 43


def test_the_opening_carries_the_digest():
    assert STATE.open.opening.state == state_digest(STATE)


def test_places_and_credits_of_strangers():
    assert STATE.place_of("nobody") is None
    assert [STATE.place_of(member.peer) for member in STATE.roster] == [0, 1, 2, 3]
    assert STATE.earned_by("0.0.1") == 0
