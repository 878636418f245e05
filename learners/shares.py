"""Whose a merged candidate is: shares in ppm from what each update was worth (SPEC.md, contributions)."""

from collections.abc import Sequence

from protocol.ids import Ppm

WHOLE = 1_000_000


def shares_of(worth: Sequence[int]) -> tuple[Ppm, ...]:
    """Shares in proportion to what is above nothing, one's own first; all one's own where nothing is worth anything.

    worth: any unit, one's own first, at least one. The shares add up to a million; what rounding leaves is one's own.
    """
    above = [max(0, each) for each in worth]
    total = sum(above)
    if not total:
        return (Ppm(WHOLE), *[Ppm(0)] * (len(above) - 1))
    others = [Ppm(each * WHOLE // total) for each in above[1:]]
    return (Ppm(WHOLE - sum(others)), *others)
