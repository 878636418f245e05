"""Money on the ledger as the fold is told of it: what a reader looks up, and what it found (SPEC.md, transfers)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NewType

from protocol.ids import AccountId, Nanoseconds, PublicKey, Tinybar

TransactionId = NewType("TransactionId", str)
"""A transaction as mirrors write it, `0.0.2-1700000000-000000001`, with `?scheduled` for one that a schedule made."""
SCHEDULED = "?scheduled"
"""How the id of a scheduled transaction ends."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transaction that consensus has ordered, successful or not, and what it moved."""

    id: TransactionId
    name: str
    """The mirror's name of its type: `CRYPTOTRANSFER`, `CRYPTOUPDATEACCOUNT`."""
    result: str
    """`SUCCESS`, or the network's reason."""
    time: Nanoseconds
    """Consensus time."""
    memo: str
    fee: Tinybar
    """What its payer was charged."""
    moves: tuple[tuple[AccountId, int], ...]
    """Tinybar by account, negative for who paid, sorted by account; fees are in them."""

    @property
    def succeeded(self) -> bool:
        """Whether it took effect."""
        return self.result == "SUCCESS"

    def moved(self, account: AccountId) -> int:
        """What an account gained by it, in tinybar."""
        return dict(self.moves).get(account, 0)


@dataclass(frozen=True, slots=True)
class Named:
    """Look up one transaction by its id."""

    id: TransactionId


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Look up all that an account paid, successfully or not, between two consensus times, both included."""

    account: AccountId
    since: Nanoseconds
    until: Nanoseconds


Lookup = Named | Outgoing


@dataclass(frozen=True, slots=True)
class SharedKey:
    """A key that any `required` of some keys make up together."""

    required: int
    keys: tuple[PublicKey, ...]


@dataclass(frozen=True, slots=True)
class Payout:
    """What the treasury is to do for one settlement: equal for all members, to the last field (SPEC.md, transfers)."""

    treasury: AccountId
    memo: str
    """The sequence number of the settle (or rotate) record, in decimal: the memo of what is scheduled."""
    opened: Nanoseconds
    """Consensus time of that record: nothing with this memo can be older."""
    expires: Nanoseconds
    """When the schedule ends, in whole seconds: what has not taken effect by then never will."""
    fee: Tinybar
    """The most that the scheduled transaction may be charged."""
    payees: tuple[tuple[AccountId, Tinybar], ...] = ()
    """Who gets what, sorted by account, at most nine; empty for a rotation."""
    key: SharedKey | None = None
    """The treasury's next key, for a rotation; else None."""


def matching(transfers: Iterable[Transfer], wanted: Lookup | None) -> tuple[Transfer, ...]:
    """Those of a ledger's transfers that a lookup asks for, in their order."""
    if wanted is None:
        return ()
    if isinstance(wanted, Named):
        return tuple(each for each in transfers if each.id == wanted.id)[:1]
    return tuple(
        each
        for each in transfers
        if each.moved(wanted.account) < 0 and wanted.since <= each.time <= wanted.until
    )
