"""How many strangers may be at the door: connections whose peer is not known yet, by where they come from. Sans I/O."""

import ipaddress
from collections import Counter, OrderedDict
from typing import Generic, TypeVar

from node.net.frames import Budget

G = TypeVar("G")

_REMEMBERED = 4_096
"""Origins whose budgets are kept; the one that came longest ago is forgotten."""
_BURST = 10
"""Seconds' worth of connections that one origin may open at once."""


class Gate(Generic[G]):
    """Guests that have not said who they are; whoever sends most makes room when there are too many.

    most: how many wait at a time. rate: guests a second from one origin in the long run.
    """

    __slots__ = ("_budgets", "_most", "_rate", "_waiting")

    def __init__(self, most: int, rate: float) -> None:
        self._most = most
        self._rate = rate
        self._waiting: dict[G, str] = {}
        self._budgets: OrderedDict[str, Budget] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def is_flooded(self, origin: str, now: float) -> bool:
        """Whether an origin sends more than its share; to be asked once for each guest. now: seconds."""
        budget = self._budgets.get(origin)
        if budget is None:
            budget = self._budgets[origin] = Budget(self._rate, _BURST * self._rate, now)
            if len(self._budgets) > _REMEMBERED:
                self._budgets.popitem(last=False)
        self._budgets.move_to_end(origin)
        return not budget.take(1, now)

    def enter(self, guest: G, origin: str) -> G | None:
        """Let a guest wait; the guest that must go for it, if any: the oldest of the origin that has most."""
        self._waiting[guest] = origin
        if len(self._waiting) <= self._most:
            return None
        crowd, _ = Counter(self._waiting.values()).most_common(1)[0]
        leaving = next(other for other, its in self._waiting.items() if its == crowd)
        del self._waiting[leaving]
        return leaving

    def leave(self, guest: G) -> None:
        """A guest waits no more: its peer is known, or it is gone."""
        self._waiting.pop(guest, None)


def origin_of(host: str) -> str:
    """What one party can be assumed to hold: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
