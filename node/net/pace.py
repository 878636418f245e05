"""How often one peer is dialled: a back-off with full jitter that grows with the peer's absence and never gives up."""

import random

import anyio

from node.net.control import Limits
from node.net.frames import Budget

ABSENCE_SHARE = 0.1
"""Which part of its absence a peer that comes back may have to wait for a dial, once it was away for long."""


def longest_pause(tries: int, absence: float, limits: Limits) -> float:
    """Seconds that may pass before the next dial, after so many in vain and so many seconds of absence.

    It doubles from `retry` to `retry_soon`, and then grows with the absence, to `retry_most`.
    """
    soon = min(limits.retry * 2.0 ** min(tries, 64), limits.retry_soon)
    return min(max(soon, absence * ABSENCE_SHARE), limits.retry_most)


class Pace:
    """When one peer may be dialled again.

    together: how many dials this node may start in all. lag: seconds that the other side is let go first.
    """

    def __init__(self, limits: Limits, together: Budget, lag: float) -> None:
        now = anyio.current_time()
        self._limits = limits
        self._together = together
        self._own = Budget(limits.dial_rate, limits.dial_burst, now)
        self._lag = lag
        self._tries = 0
        self._since = now
        self._news = anyio.Event()

    def on_news(self) -> None:
        """Something says that the peer may be reached now: begin anew, and at once."""
        self._begin_anew()
        self._news.set()

    def on_parting(self, lasted: float) -> None:
        """A conversation of so many seconds has ended; a short one counts as a dial in vain."""
        if lasted > self._limits.settled:
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._tries = 0
        self._since = anyio.current_time()

    async def begin(self) -> None:
        """Let the other side go first, if that is its right."""
        await anyio.sleep(self._lag)

    async def news(self) -> None:
        """Wait until something says that the peer may be reached."""
        await self._news.wait()
        self._news = anyio.Event()
        await anyio.sleep(self._lag)

    async def pause(self) -> None:
        """Wait until the next dial is due, or until there is news."""
        most = longest_pause(self._tries, anyio.current_time() - self._since, self._limits)
        self._tries += 1
        # Two that are both there, and have just hindered each other, must not meet again at once.
        least = most / 2 if most <= self._limits.retry_soon else 0.0
        with anyio.move_on_after(random.uniform(least, most)):
            await self._news.wait()
            self._news = anyio.Event()
        await anyio.sleep(self._lag)

    async def turn(self) -> None:
        """Wait until one more dial exceeds neither this peer's share nor what this node dials in all."""
        for budget, rate in ((self._own, self._limits.dial_rate), (self._together, self._limits.dials)):
            while not budget.take(1, anyio.current_time()):  # noqa: ASYNC110  (it fills with time alone)
                await anyio.sleep(1 / rate)
