"""This machine's clock against the mirror's: deadlines are consensus times, and transactions carry ours."""

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import httpx

from ledger.mirror import Mirror
from ledger.topic import LedgerError
from node.doctor.findings import Finding, doubt, fine, problem, refused
from protocol.ids import SECOND

TOLERABLE = 2.0
"""Seconds: protocol/timing.py allows for one; HTTP tells whole seconds."""
INTOLERABLE = 5.0
"""Seconds: what ledger/session.py allows for, before nodes refuse a transaction as one from the future."""
_REMEDY = "synchronise this machine's clock, for example with chrony or systemd-timesyncd"


async def examine_clock(url: str, now: Callable[[], int] = time.time_ns) -> Finding:
    """How far our clock is from the mirror's. now: our clock, in nanoseconds."""
    try:
        skew, source = await skew_of(url, now)
    except LedgerError as error:
        return refused("clock", error)
    except httpx.HTTPError as error:
        return problem(
            "clock", f"the mirror at {url} does not tell the time: {error}", "check [ledger] mirror"
        )
    side = "ahead of" if skew > 0 else "behind"
    said = f"this machine's clock is {abs(skew):.1f} s {side} {source}"
    if abs(skew) < 1:
        said = f"this machine's clock agrees with {source}"
    if abs(skew) > INTOLERABLE:
        return problem("clock", said, _REMEDY)
    if abs(skew) > TOLERABLE:
        return doubt("clock", said, _REMEDY)
    return fine("clock", said)


async def skew_of(url: str, now: Callable[[], int]) -> tuple[float, str]:
    """Seconds by which our clock is ahead, and of what. Raises LedgerError, httpx.HTTPError."""
    async with Mirror(url) as mirror:
        latest = await mirror.latest()
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
        asked = now()
        answer = await client.get(f"{url}/api/v1/transactions?limit=1")
        answered = now()
    # What reached consensus is past: where it is in our future, we are behind by that much at least.
    if latest > answered:
        return (answered - latest) / SECOND, "the latest consensus time"
    try:
        told = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return 0.0, "the latest consensus time"
    # It was cut to whole seconds, at some time between question and answer.
    least, most = asked / SECOND - told - 1, answered / SECOND - told
    return least if least > 0 else min(most, 0.0), "the mirror's"
