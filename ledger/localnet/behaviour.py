"""How the network may misbehave on purpose: late finality, busy and absent nodes, a mirror that lags.

By default it does none of it. What is drawn is drawn from a seed, so that a run can be had again.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Self

from ledger.localnet.errors import LocalnetError
from ledger.localnet.state import NODES, SECOND_NS

MILLISECOND_NS = 1_000_000
_OUTAGE = re.compile(r"0\.0\.([0-9]{1,9}):([0-9]{1,9})-([0-9]{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Outage:
    """A time during which a node does not answer, in nanoseconds since the network began to serve."""

    node: int
    begin: int
    end: int
    """Excluded."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """`0.0.4:10-20` is node 0.0.4 from its tenth second to its twentieth. Raises LocalnetError."""
        match = _OUTAGE.fullmatch(text)
        if match is None or int(match[1]) not in NODES or int(match[2]) >= int(match[3]):
            raise LocalnetError(
                f"{text!r} is no outage: write NODE:FROM-TO with seconds, such as 0.0.{NODES[0]}:10-20"
            )
        return cls(int(match[1]), int(match[2]) * SECOND_NS, int(match[3]) * SECOND_NS)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the network does besides being correct."""

    finality_ns: int = 0
    """From a node's acceptance to consensus; until then a receipt says UNKNOWN."""
    busy_ppm: int = 0
    """Of a node's transactions, how many it answers with BUSY before it looks at them."""
    mirror_lag_ns: int = 0
    """From consensus to when the mirror shows it."""
    outages: tuple[Outage, ...] = ()
    seed: int = 0
    """Decides which transactions meet a busy node."""

    def is_busy(self, node: int, count: int) -> bool:
        """Whether a node's transaction number `count` is answered with BUSY."""
        draw = hashlib.sha256(f"{self.seed}/{node}/{count}".encode()).digest()
        return int.from_bytes(draw[:8], "big") % 1_000_000 < self.busy_ppm

    def is_out(self, node: int, elapsed: int) -> bool:
        """Whether a node is out, `elapsed` nanoseconds after the network began to serve."""
        return any(outage.node == node and outage.begin <= elapsed < outage.end for outage in self.outages)
