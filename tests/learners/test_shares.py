"""Whose a merged candidate is."""

from hypothesis import given
from hypothesis import strategies as st

from learners.shares import WHOLE, shares_of

WORTH = st.lists(st.integers(-(10**7), 10**7), min_size=1, max_size=17)


@given(WORTH)
def test_shares_are_a_whole_and_nobody_has_one_for_nothing(worth: list[int]) -> None:
    shares = shares_of(worth)
    assert len(shares) == len(worth)
    assert sum(shares) == WHOLE
    assert all(share >= 0 for share in shares)
    assert all(share == 0 for share, each in zip(shares[1:], worth[1:], strict=True) if each <= 0)


@given(WORTH)
def test_who_is_worth_more_has_no_less(worth: list[int]) -> None:
    others = sorted(zip(worth[1:], shares_of(worth)[1:], strict=True))
    assert [share for _, share in others] == sorted(share for _, share in others)


def test_what_nobody_made_better_is_ones_own() -> None:
    assert shares_of([-5, 0, -1]) == (WHOLE, 0, 0)
    assert shares_of([1, 1, 0, 1]) == (333_334, 333_333, 0, 333_333)
