"""Money that we bring into a run: a transfer to its treasury, made once a name, and the record that names it."""

from dataclasses import dataclass
from typing import Literal

from ledger.hedera import Hedera
from ledger.outbox import KeyTaken
from ledger.topic import LedgerError
from protocol.deposits import deposit_memo
from protocol.ids import AccountId, Tinybar
from protocol.state import RunState
from protocol.transfers import TransactionId


@dataclass(frozen=True, slots=True)
class Deposit:
    """Money for a run's treasury."""

    op: Literal["fund", "topup", "join"]
    by: str
    """The account that funds, or the peer whose stake it is."""
    amount: Tinybar
    name: str
    """What makes it one and the same, however often it is asked for."""


async def pay(hedera: Hedera, state: RunState, deposit: Deposit) -> TransactionId:
    """Move a deposit to the treasury, unless that was done under its name before. Raises LedgerError."""
    memo = deposit_memo(state.run, deposit.op, deposit.by)
    key = f"{deposit.op} {state.run} {deposit.by} {deposit.name}"
    try:
        return TransactionId(await hedera.transfer(treasury_of(state), deposit.amount, memo, key=key))
    except KeyTaken:
        remedy = "" if deposit.op == "join" else ", or another --id"
        raise LedgerError(
            f"a {deposit.op} named {deposit.name!r} was paid, or begun, with another amount before; nothing was "
            f"sent: give that amount again{remedy}"
        ) from None


def treasury_of(state: RunState) -> AccountId:
    """The account that holds a run's money. Raises LedgerError where there is none."""
    if state.money.treasury is None:
        raise LedgerError("this run was founded without a treasury; no money can be brought into it")
    return state.money.treasury
