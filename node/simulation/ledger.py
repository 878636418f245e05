"""The money on the ledger: transfers as a mirror shows them, and payments that the members sign together."""

from collections.abc import Callable
from dataclasses import dataclass

from node.simulation.cast import COLLECTOR, TREASURY
from protocol.errors import ProtocolError
from protocol.fold import lookup, names_transfer
from protocol.ids import SECOND, AccountId, Nanoseconds, Tinybar
from protocol.money import total_of
from protocol.parse import parse_record
from protocol.records import Stamp
from protocol.settlement import EXPIRY_MARGIN
from protocol.state import RunState
from protocol.transfers import SCHEDULED, Payout, TransactionId, Transfer, matching
from protocol.view import Cosign, Executed

FEE = Tinybar(1_000)
SUCCESS = "SUCCESS"


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a payment that enough members have signed."""

    result: str = SUCCESS
    is_lost: bool = False
    """It is never executed."""


class Ledger:
    """All transfers, and who has signed which payment."""

    def __init__(self, fate: Callable[[int], Fate]) -> None:
        self.transfers: list[Transfer] = []
        self._fate = fate
        self._signers: dict[Payout, set[int]] = {}
        self._executed: dict[Payout, Transfer] = {}

    def transfer(
        self, now: int, payer: AccountId, moves: dict[AccountId, int], memo: str, result: str = SUCCESS
    ) -> TransactionId:
        """Make a transfer, whose fee its payer is charged; its id."""
        scheduled = SCHEDULED if payer == TREASURY else ""
        name = TransactionId(f"{payer}-{now // SECOND}-{len(self.transfers):09}{scheduled}")
        moved = dict(moves)
        moved[payer] = moved.get(payer, 0) - FEE
        moved[COLLECTOR] = moved.get(COLLECTOR, 0) + FEE
        told = tuple(sorted(moved.items()))
        self.transfers.append(Transfer(name, "CRYPTOTRANSFER", result, Nanoseconds(now), memo, FEE, told))
        return name

    def found(self, state: RunState | None, raw: bytes, stamp: Stamp) -> tuple[Transfer, ...]:
        """What a reader hands the fold with a message."""
        if not names_transfer(raw):
            return ()
        try:
            return matching(self.transfers, lookup(state, parse_record(raw), stamp))
        except ProtocolError:
            return ()

    def sign(self, signer: int, effect: Cosign, required: int, now: int) -> None:
        """Add a signature to a payment; the last that is needed executes it, in vain or not, or it gets lost."""
        payout = effect.payout  # who means another one, signs another schedule
        signers = self._signers.setdefault(payout, set())
        signers.add(signer)
        fate = self._fate(effect.number)
        is_over = payout in self._executed or now >= payout.expires or fate.is_lost
        if len(signers) >= required and not is_over:
            self._execute(payout, fate, now)

    def _execute(self, payout: Payout, fate: Fate, now: int) -> None:
        moves: dict[AccountId, int] = {}
        if fate.result == SUCCESS:
            moves = {**dict(payout.payees), TREASURY: -total_of(payout.payees)}
        self.transfer(now, TREASURY, moves, payout.memo, fate.result)
        self._executed[payout] = self.transfers[-1]

    def outcome(self, effect: Cosign, now: int) -> Executed | None:
        """What became of a payment, or None while it is open."""
        done = self._executed.get(effect.payout)
        if done is not None:
            return Executed(effect.number, done.id, done.succeeded)
        if now > effect.payout.expires + EXPIRY_MARGIN:
            return Executed(effect.number, None, succeeded=False)
        return None
