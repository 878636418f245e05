"""What a mirror says of one account: all its transactions, its balance, the key that it has."""

from collections.abc import Iterable

from ledger.lookup import parts_of
from ledger.mirror import Mirror
from ledger.pages import RawEntry, nanoseconds
from ledger.shared_key import shared_key
from ledger.topic import LedgerError
from protocol.ids import AccountId, Nanoseconds, Tinybar
from protocol.transfers import SharedKey, TransactionId

MAX_HISTORY = 200_000
"""Transactions of the longest history of an account that is read: about what a saved history holds."""


async def treasury_entries(mirror: Mirror, account: AccountId) -> tuple[RawEntry, ...]:
    """All transactions of an account, in and out, oldest first, as the mirror returned them. Raises LedgerError."""
    return await mirror.transactions(account, limit=MAX_HISTORY)


async def entries_to_save(
    mirror: Mirror, account: AccountId, names: Iterable[TransactionId]
) -> tuple[RawEntry, ...]:
    """All transactions of an account and those of some names, each once, oldest first: what an audit looks up.

    Raises LedgerError.
    """
    found = {entry["consensus_timestamp"]: entry for entry in await treasury_entries(mirror, account)}
    for parts in filter(None, map(parts_of, dict.fromkeys(names))):
        for entry in await mirror.transaction(*parts):
            found.setdefault(entry["consensus_timestamp"], entry)
    return tuple(sorted(found.values(), key=lambda entry: nanoseconds(entry["consensus_timestamp"])))


async def balance_at(mirror: Mirror, account: AccountId) -> tuple[Tinybar, Nanoseconds]:
    """What an account holds, and the consensus time up to which the mirror has counted. Raises LedgerError."""
    balance = (await mirror.account(account)).balance
    if balance.timestamp is None:
        raise LedgerError(
            f"the mirror at {mirror.url} does not say when {account} held its balance; use another mirror"
        )
    return Tinybar(balance.balance), nanoseconds(balance.timestamp)


async def account_key(mirror: Mirror, account: AccountId) -> SharedKey | None:
    """The m-of-n key that an account has now; None when it has a key of another kind. Raises LedgerError."""
    key = (await mirror.account(account)).key
    return None if key is None or key.type != "ProtobufEncoded" else shared_key(bytes.fromhex(key.key))
