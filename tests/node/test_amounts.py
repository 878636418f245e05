"""Money as people write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.amounts import hbar, tinybar_of
from protocol.fields import MAX_INTEGER


@given(st.integers(1, MAX_INTEGER))
def test_every_amount_is_read_back_exactly(amount: int) -> None:
    assert tinybar_of(hbar(amount).removesuffix(" hbar")) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", 10**8),
        ("0.1", 10**7),
        ("0.00000001", 1),
        ("2.50", 250_000_000),
        ("90071992.54740991", MAX_INTEGER),
    ],
)
def test_decimals_are_exact(text: str, amount: int) -> None:
    assert tinybar_of(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "0",
            "0.0",
            "-1",
            "+1",
            "1.",
            ".5",
            "1,5",
            "1e3",
            "01",
            "0.000000001",
            " 1",
            "1 ",
            "1\n",
            "NaN",
        ),
        *("inf", "٣", "1_000", "0x10", "90071992.54740992", "9" * 11, "9" * 100_000),
    ],
)
def test_what_is_no_amount_is_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(ValueError, match="amount") as caught:
        tinybar_of(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0 hbar"), (-150_000_000, "-1.5 hbar"), (10**10, "100 hbar")]
)
def test_amounts_are_shown_without_zeros_at_the_end(amount: int, text: str) -> None:
    assert hbar(amount) == text
