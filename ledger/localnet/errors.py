"""Two ways for the localnet to say no.

LedgerError
  LocalnetError   the network cannot run: a port in use, a damaged journal; shown to a person
Refused           the network answers a request with a status other than success
"""

from ledger.hiero import ResponseCode
from ledger.topic import LedgerError


class LocalnetError(LedgerError):
    """The localnet cannot run; the message is one line that names cause and remedy."""


class Refused(Exception):
    """A request has no effect; carries the status that says why."""

    def __init__(self, status: ResponseCode, cost: int = 0) -> None:
        super().__init__(status.name)
        self.status = status
        self.cost = cost
        """What the request would have cost, tinybar, where that is the reason."""
