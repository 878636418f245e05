"""The bytes of a control stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.net.frames import KEEPALIVE, BadFrame, Budget, Deframer, encoded
from node.net.transport import MAX_FRAME

BODIES = st.lists(st.binary(min_size=1, max_size=300), max_size=20)


@given(BODIES, st.lists(st.integers(1, 400)))
def test_frames_survive_any_cutting_of_the_stream(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(KEEPALIVE + encoded(body) for body in bodies)
    deframer, got, start = Deframer(), [], 0
    for cut in [*cuts, len(stream)]:
        got += deframer.feed(stream[start : start + cut])
        start += cut
    got += deframer.feed(stream[start:])
    assert got == [part for body in bodies for part in (b"", body)]


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_refused(data: bytes) -> None:
    deframer = Deframer()
    try:
        bodies = deframer.feed(data)
    except BadFrame:
        return
    assert sum(4 + len(body) for body in bodies) <= len(data)


@given(st.integers(MAX_FRAME + 1, 2**32 - 1))
def test_a_length_too_great_is_refused_before_the_body_comes(length: int) -> None:
    with pytest.raises(BadFrame, match=str(length)):
        Deframer().feed(length.to_bytes(4, "big"))


@pytest.mark.parametrize("size", [0, MAX_FRAME + 1])
def test_a_body_of_a_bad_size_is_not_framed(size: int) -> None:
    with pytest.raises(BadFrame):
        encoded(bytes(size))


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 30))))
def test_a_budget_never_gives_more_than_burst_and_rate(steps: list[tuple[float, int]]) -> None:
    budget, now, taken = Budget(rate=5.0, burst=20.0, now=0.0), 0.0, 0
    for wait, amount in steps:
        now += wait
        if budget.take(amount, now):
            taken += amount
    assert taken <= 20 + 5 * now + 1e-6


def test_a_budget_refills_up_to_its_burst() -> None:
    budget = Budget(rate=5.0, burst=20.0, now=0.0)
    assert budget.take(20, 0.0)
    assert not budget.take(1, 0.1)
    assert budget.take(5, 1.0)
    assert not budget.take(21, 100.0)
    assert budget.take(20, 100.0)
