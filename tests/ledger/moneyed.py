"""Runs with money for tests of the auditor: a topic that chains, and the transactions that a mirror shows beside it."""

import base64
from typing import Any

from ledger.audit import Audit, audit
from ledger.lookup import FileTransfers
from ledger.pages import SavedHistory
from ledger.reading import take_saved
from protocol.fold import Found
from protocol.ids import SECOND, AccountId
from protocol.payments import SettledRecord, SettleRecord
from protocol.transfers import SCHEDULED, Lookup, Transfer
from tests.ledger.chains import TOPIC
from tests.ledger.test_audit import ChainedRun
from tests.protocol.world import POOL, TREASURY

RULES: dict[str, Any] = {"settle_every": 1, "settle_fee": 10_000, "settle_window": 100, "penalty_absent": 3}
THIEF = AccountId("0.0.6666")


class MoneyedRun(ChainedRun):
    """A run that chains, with a pool from its second message on."""

    def __init__(self, size: int = 4, pool: int = POOL, **changes: Any) -> None:
        super().__init__(size, **changes)
        if pool:
            self.fund(pool)

    @property
    def transactions(self) -> list[dict[str, Any]]:
        """All that the ledger has, as a mirror returns it."""
        return [mirror_entry(transfer) for transfer in self.ledger.transfers]

    @property
    def saved(self) -> dict[str, Any]:
        """What a saved history holds."""
        return {"messages": self.entries, "transactions": self.transactions}

    def find(self, wanted: Lookup) -> Found:
        return FileTransfers(self.transactions).found(wanted)

    def audited(self) -> Audit:
        return audit(TOPIC, self.entries, FileTransfers(self.transactions).found)


def mirror_entry(transfer: Transfer) -> dict[str, Any]:
    """A transaction as a mirror returns it."""
    seconds, nanos = divmod(transfer.time, SECOND)
    return {
        "transaction_id": transfer.id.removesuffix(SCHEDULED),
        "consensus_timestamp": f"{seconds}.{nanos:09}",
        "result": transfer.result,
        "name": transfer.name,
        "memo_base64": base64.b64encode(transfer.memo.encode()).decode(),
        "charged_tx_fee": transfer.fee,
        "scheduled": transfer.id.endswith(SCHEDULED),
        "nonce": 0,
        "transfers": [{"account": account, "amount": amount} for account, amount in transfer.moves],
    }


def opened(**changes: Any) -> MoneyedRun:
    """A run that owes for a round, and has opened a settlement of it."""
    run = MoneyedRun(pool=1_000_000, **(RULES | changes))
    for place in range(4):
        run.topup(place, 500)
    run.accept()
    run.put(SettleRecord(run=run.now.run, number=1))
    return run


def pay(run: MoneyedRun, **changes: Any) -> Any:
    """What the treasury's holders sign for the open settlement, or what they sign instead."""
    settlement = run.now.money.settlement
    assert settlement is not None
    moves = dict(changes.pop("payees", settlement.payees))
    memo = changes.pop("memo", str(settlement.sequence))
    run.time += SECOND
    moves[TREASURY] = -sum(moves.values())
    return run.ledger.put(run.time, TREASURY, moves, memo, **changes)


def paid() -> MoneyedRun:
    run = opened()
    run.put(SettledRecord(run=run.now.run, number=1, transaction=pay(run)))
    return run


def finished(run: MoneyedRun, accounts: tuple[dict[str, Any], ...] = ()) -> Audit:
    """The audit of a run from a saved history."""
    history = SavedHistory(tuple(run.entries), tuple(run.transactions), accounts)
    transfers = FileTransfers(history.transactions)
    result = Audit(TOPIC, transfers.found)
    for entry in history.messages:
        result.add(entry)
    take_saved(result, history, transfers)
    result.finish()
    return result
