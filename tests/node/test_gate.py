"""Strangers at the gate: how many wait, how fast they come, and who makes room."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.net.gate import Gate, origin_of


def test_the_crowd_makes_room_and_its_oldest_first() -> None:
    gate: Gate[str] = Gate(3, 1.0)
    assert gate.enter("honest", "a") is None
    assert gate.enter("first", "b") is None
    assert gate.enter("second", "b") is None
    assert gate.enter("third", "b") == "first"
    assert gate.enter("fourth", "b") == "second"
    gate.leave("honest")
    assert gate.enter("fifth", "b") is None
    assert len(gate) == 3


def test_an_origin_has_its_rate_and_others_have_theirs() -> None:
    gate: Gate[str] = Gate(3, 2.0)
    assert [gate.is_flooded("a", 0.0) for _ in range(21)] == [False] * 20 + [True]
    assert not gate.is_flooded("b", 0.0)
    assert [gate.is_flooded("a", 1.0) for _ in range(3)] == [False, False, True]


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc"), st.booleans())))
def test_never_more_wait_than_may(moves: list[tuple[int, str, bool]]) -> None:
    gate: Gate[int] = Gate(5, 1.0)
    waiting: set[int] = set()
    for guest, origin, comes in moves:
        if comes and guest not in waiting:
            leaving = gate.enter(guest, origin)
            waiting = (waiting | {guest}) - {leaving}
        else:
            gate.leave(guest)
            waiting.discard(guest)
        assert len(gate) == len(waiting) <= 5


def test_the_memory_of_origins_is_bounded() -> None:
    gate: Gate[int] = Gate(3, 1.0)
    for number in range(10_000):
        gate.is_flooded(str(number), 0.0)
    assert len(gate._budgets) == 4_096


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("nonsense", ""),
    ],
)
def test_an_origin_is_what_one_party_holds(host: str, origin: str) -> None:
    assert origin_of(host) == origin
