"""Money as people write it: hbar in decimals, kept exact to the tinybar."""

import re

from protocol.fields import MAX_INTEGER
from protocol.ids import Tinybar

TINYBAR_PER_HBAR = 100_000_000

_AMOUNT = re.compile(r"\A(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,8}))?\Z", re.ASCII)


def tinybar_of(text: str) -> Tinybar:
    """The tinybar that an amount of hbar stands for, such as `0.25`. Raises ValueError with one line."""
    found = _AMOUNT.match(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is no amount of hbar; it reads 25 or 0.25, with at most 8 decimals")
    amount = int(found[1]) * TINYBAR_PER_HBAR + int((found[2] or "").ljust(8, "0"))
    if not 0 < amount <= MAX_INTEGER:
        raise ValueError(f"{text} hbar cannot be an amount: it is from 0.00000001 to {hbar(MAX_INTEGER)}")
    return Tinybar(amount)


def hbar(amount: int) -> str:
    """An amount of tinybar in hbar, exact, without zeros at the end: `0.25 hbar`."""
    whole, part = divmod(abs(amount), TINYBAR_PER_HBAR)
    decimals = f".{part:08}".rstrip("0").rstrip(".")
    return f"{'-' if amount < 0 else ''}{whole}{decimals} hbar"
