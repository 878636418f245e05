"""state: the digest of what a round opens on covers all that later rounds depend on."""

from dataclasses import fields, replace

import pytest

from protocol.ids import Digest, Nanoseconds, Round, Tinybar
from protocol.money import Refusal, Settlement, TreasuryKeys, Unbonding
from protocol.records import Member
from protocol.state import RunState, Totals, state_digest
from tests.protocol.world import PEERS, POOL, START, Run, account, blob, fold

STATE = Run(4, pool=POOL, reward_vote=3, reward_proposal=10).accept()
OTHER = {
    "run": blob("other run"),
    "head": blob("other head"),
    "order": STATE.order[::-1],
    "cursor": STATE.cursor + 1,
    "epoch": STATE.epoch + 1,
    "absent": (0, 1, 0, 0),
    "inactive": frozenset({2}),
    "params": STATE.params.model_copy(update={"reward_vote": Tinybar(4)}),
    "roster": (*STATE.roster[:3], Member(peer=PEERS[3], account=account(9))),
    "seats": replace(STATE.seats, amendments=1),
    "money": replace(STATE.money, fees=Tinybar(1)),
    "totals": Totals(accepted=2),
}
# What the digest leaves out, and why that is safe.
NOT_COVERED = {
    "topic": "named by the genesis, whose digest the run is",
    "head_size": "follows from the proposal that the head came from",
    "head_pieces": "likewise",
    "whereabouts": "nothing is decided by it",
    "returning": "empty at every opening",
    "open": "the round in progress: the opening holds the digest, not the other way round",
    "last": "a window on late votes; what comes of it is in money and absent at the next opening",
}


def test_every_field_of_the_state_is_in_the_digest_or_has_a_reason_not_to_be():
    assert {field.name for field in fields(RunState) if field.init} == set(OTHER) | set(NOT_COVERED)


@pytest.mark.parametrize("name", OTHER)
def test_the_digest_differs_when_a_field_does(name):
    assert getattr(STATE, name) != OTHER[name]
    assert state_digest(replace(STATE, **{name: OTHER[name]})) != state_digest(STATE)


SOME = ((account(0), Tinybar(1)),)
OTHER_SEATS = {
    "terms": (1, 2, 1, 1),
    "vacant": frozenset({1}),
    "joining": frozenset({1}),
    "leaving": frozenset({1}),
    "expelled": frozenset({1}),
    "amendments": 1,
    "pending": (STATE.params,),
}
OTHER_MONEY = {
    "treasury": account(7),
    "keys": TreasuryKeys(4, (0, 1, 2, 3)),
    "stakes": (Tinybar(0), Tinybar(1), Tinybar(0), Tinybar(0)),
    "deposits": Tinybar(1),
    "pool": Tinybar(1),
    "fees": Tinybar(1),
    "unbonding": (Unbonding(0, Tinybar(1), Round(3)),),
    "owed": SOME,
    "paid": SOME,
    "earned": SOME,
    "funds": SOME,
    "used": frozenset(),
    "settlement": Settlement(1, 2, START, SOME, Tinybar(1), START, None),
    "settlements": 1,
    "rotations": 1,
    "snapshot_round": 1,
    "queue": (account(0),),
    "alone": frozenset({account(0)}),
    "refusals": (Refusal(account(0), 1, Round(2)),),
}
AFTER_THE_END = {"ending", "wound_up"}
"""There is no opening that could name them."""


@pytest.mark.parametrize(("name", "others"), [("seats", OTHER_SEATS), ("money", OTHER_MONEY)])
def test_every_field_of_seats_and_money_is_in_the_digest(name, others):
    part = getattr(STATE, name)
    assert {field.name for field in fields(part)} == set(others) | (AFTER_THE_END & set(part.__slots__))
    digests = {state_digest(STATE)}
    for field, value in others.items():
        digests.add(state_digest(replace(STATE, **{name: replace(part, **{field: value})})))
    assert len(digests) == 1 + len(others)


@pytest.mark.parametrize(
    "change",
    [
        {"number": 2},
        {"sequence": 3},
        {"opened": Nanoseconds(START + 1)},
        {"payees": ()},
        {"reserve": Tinybar(2)},
        {"expires": Nanoseconds(START + 1)},
        {"keys": TreasuryKeys(3, (0, 1, 2))},
    ],
)
def test_every_field_of_an_open_settlement_is_in_the_digest(change):
    settlement = OTHER_MONEY["settlement"]
    one, other = (
        replace(STATE, money=replace(STATE.money, settlement=each))
        for each in (settlement, replace(settlement, **change))
    )
    assert state_digest(one) != state_digest(other)


@pytest.mark.parametrize("ending", ["accepted", "rejected", "neutral", "closed", "passed"])
def test_the_digest_differs_for_each_total(ending):
    digests = {state_digest(replace(STATE, totals=Totals(**{ending: n}))) for n in range(3)}
    assert len(digests) == 3


def test_amounts_have_no_upper_bound():
    rich = replace(STATE, money=replace(STATE.money, pool=Tinybar(2**70)))
    richer = replace(STATE, money=replace(STATE.money, pool=Tinybar(2**70 + 1)))
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
