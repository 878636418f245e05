"""Runs with money for tests of the auditor: a topic that chains, and the transactions that a mirror shows beside it."""

import base64
from typing import Any

from ledger.audit import Audit, audit
from ledger.lookup import FileTransfers
from protocol.fold import Found
from protocol.ids import SECOND
from protocol.transfers import SCHEDULED, Lookup, Transfer
from tests.ledger.chains import TOPIC
from tests.ledger.test_audit import ChainedRun
from tests.protocol.world import POOL


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
