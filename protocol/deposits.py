"""Money that comes in: the transfer that a record names must be the one it says (SPEC.md, deposits)."""

from protocol.errors import Ignore, Invalid
from protocol.fields import canonical_json
from protocol.ids import Digest, Tinybar, digest_of
from protocol.records import Stamp
from protocol.state import RunState
from protocol.transfers import TransactionId, Transfer


def deposit_memo(run: Digest, op: str, by: str) -> str:
    """The memo of a deposit's transfer: run, purpose and who it is for, as one digest of 43 characters.

    op: `fund`, `topup` or `join`. by: the account that funds, or the peer whose stake it is.
    """
    return digest_of(canonical_json({"by": by, "op": op, "run": run}))


def transfer_of(found: tuple[Transfer, ...], transaction: TransactionId) -> Transfer | None:
    """The transfer with an id: where copies of it failed as duplicates, the one that succeeded."""
    same = [each for each in found if each.id == transaction]
    return min(same, key=lambda each: (not each.succeeded, each.time), default=None)


def check_deposit(
    state: RunState,
    op: str,
    by: str,
    amount: Tinybar,
    transaction: TransactionId,
    found: tuple[Transfer, ...],
    stamp: Stamp,
) -> Transfer:
    """The transfer that a record names, checked against what it says. Raises Ignore or Invalid."""
    money = state.money
    if money.treasury is None:
        raise Invalid(f"a {op} in a run without a treasury")
    if transaction in money.used:
        raise Ignore(f"a {op} with a transfer that has counted before")
    transfer = transfer_of(found, transaction)
    if transfer is None or transfer.time >= stamp.time:
        raise Invalid(f"a {op} before its transfer, or with one that is not on the ledger")
    if not transfer.succeeded:
        raise Invalid(f"a {op} with a transfer that failed: {transfer.result}")
    if transfer.memo != deposit_memo(state.run, op, by):
        raise Invalid(f"a {op} with a transfer for something else: its memo differs")
    if transfer.moved(money.treasury) != amount:
        raise Invalid(f"a {op} of {amount} tinybar with a transfer of {transfer.moved(money.treasury)}")
    return transfer
