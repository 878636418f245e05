"""Seeing a settlement through: sign it on the ledger, and wait for what becomes of it (SPEC.md, settle)."""

from collections.abc import Callable
from typing import Protocol

import anyio
import structlog

from ledger.topic import LedgerError
from protocol.ids import Nanoseconds
from protocol.settlement import EXPIRY_MARGIN
from protocol.transfers import Payout, Transfer
from protocol.view import Executed

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds between looks at the mirror."""

log = structlog.get_logger("node.cosigner")


class TreasuryPort(Protocol):
    """The treasury as one of its signers uses it (ledger/treasury.py), or a stub in tests."""

    async def sign(self, payout: Payout) -> object:
        """Schedule and sign a payout, as often as one likes. Raises LedgerError."""

    async def outcome(self, payout: Payout) -> Transfer | None:
        """What the treasury did for a payout, or None. Raises LedgerError."""


async def see_through(
    treasury: TreasuryPort, number: int, payout: Payout, clock: Callable[[], Nanoseconds]
) -> Executed:
    """Sign a payout and wait for it to be executed, or to be over without having been."""
    signed, pause = False, FIRST_PAUSE
    while True:
        try:
            if not signed:
                standing = await treasury.sign(payout)
                signed = True
                log.info("signed a payment", settlement=number, payees=len(payout.payees), now=str(standing))
            done = await treasury.outcome(payout)
        except LedgerError as error:
            log.warning("a payment waits", settlement=number, reason=str(error))
        else:
            if done is not None:
                log.info("a payment was executed", settlement=number, result=done.result, transaction=done.id)
                return Executed(number, done.id, done.succeeded)
            if clock() > payout.expires + EXPIRY_MARGIN:
                log.warning("a payment expired", settlement=number)
                return Executed(number, None, succeeded=False)
        await anyio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
