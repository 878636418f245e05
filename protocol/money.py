"""The money of a run: where each tinybar of its deposits is (SPEC.md, money).

pool + stakes + unbonding + reserve + owed + paid + fees = deposits, after every record.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from protocol.ids import NOTHING, AccountId, Nanoseconds, Round, Tinybar
from protocol.rules import scaled, split_reward
from protocol.transfers import TransactionId

Accounts = tuple[tuple[AccountId, Tinybar], ...]
"""An amount for each of some accounts, sorted by account; none is 0."""

MAX_PAYEES = 9
"""Accounts that one transfer can pay beside the one that it debits."""
LONGEST_REST = 3
"""An account that refuses its money rests for at most 2^3 times `settle_every` rounds."""


@dataclass(frozen=True, slots=True)
class Unbonding:
    """The stake of a member that has left, until it is safe to return it."""

    place: int
    amount: Tinybar
    until: Round
    """It is owed to the member when this round closes."""


@dataclass(frozen=True, slots=True)
class TreasuryKeys:
    """Whose keys the treasury's are: any `required` of them sign for it."""

    required: int
    places: tuple[int, ...]
    """Places in the roster, increasing."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """A payment, or a rotation of keys, that the members are signing on the ledger."""

    number: int
    sequence: int
    """Of the record that opened it: the memo of what it does on the ledger."""
    opened: Nanoseconds
    payees: Accounts
    """Empty for a rotation."""
    reserve: Tinybar
    """The most it may cost, taken from the pool until it is known."""
    expires: Nanoseconds
    """After this it can no longer take effect; fixed here, whatever becomes of the params."""
    keys: TreasuryKeys | None
    """The next keys, for a rotation."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An account that did not take its money, and rests for a while so that it holds nobody up."""

    account: AccountId
    count: int
    """How often in a row."""
    until: Round
    """It is tried again when so many rounds are over."""


@dataclass(frozen=True, slots=True)
class Money:
    """Every tinybar that the treasury was given."""

    treasury: AccountId | None
    """None: a run without money; all amounts are 0."""
    keys: TreasuryKeys
    stakes: tuple[Tinybar, ...]
    """Of each place."""
    deposits: Tinybar = NOTHING
    pool: Tinybar = NOTHING
    fees: Tinybar = NOTHING
    unbonding: tuple[Unbonding, ...] = ()
    owed: Accounts = ()
    """What accounts are to be paid; what an open settlement pays is still in it."""
    paid: Accounts = ()
    earned: Accounts = ()
    """What accounts were ever credited for proposals and votes."""
    funds: Accounts = ()
    """What accounts gave to the pool."""
    used: frozenset[TransactionId] = frozenset()
    """Transactions that have counted: none counts twice."""
    settlement: Settlement | None = None
    settlements: int = 0
    """How many were opened, rotations included."""
    rotations: int = 0
    snapshot_round: int = 0
    """Rounds that were over when it was last decided who is to be paid."""
    queue: tuple[AccountId, ...] = ()
    """Accounts of the snapshot that no settlement was opened for yet."""
    alone: frozenset[AccountId] = frozenset()
    """Accounts that are paid one at a time, because a payment that they were part of failed."""
    refusals: tuple[Refusal, ...] = ()
    """Accounts to which a payment alone has failed, sorted."""
    wound_up: bool = False
    """The run has ended and all that was left is owed: nothing more is earned or lost."""


def total_of(accounts: Accounts) -> int:
    """The sum of some accounts' amounts."""
    return sum(amount for _, amount in accounts)


def liabilities(money: Money) -> int:
    """What the treasury must hold, in tinybar: all deposits but what was paid and charged."""
    reserve = 0 if money.settlement is None else money.settlement.reserve
    unbonding = sum(part.amount for part in money.unbonding)
    return money.pool + sum(money.stakes) + unbonding + reserve + total_of(money.owed)


def added(accounts: Accounts, changes: Iterable[tuple[AccountId, int]]) -> Accounts:
    """Accounts with some amounts more, or less."""
    amounts: dict[AccountId, int] = dict(accounts)
    for account, amount in changes:
        amounts[account] = amounts.get(account, 0) + amount
    return tuple((account, Tinybar(amounts[account])) for account in sorted(amounts) if amounts[account])


def with_rewards(money: Money, rewards: Sequence[tuple[Tinybar, Sequence[tuple[AccountId, int]]]]) -> Money:
    """Credit rewards from the pool, as far as it can pay them.

    rewards: amount, and how it is shared: accounts with ppm, the first of which has what rounding leaves.
    What would go to the treasury itself stays in the pool.
    """
    amounts = scaled([amount for amount, _ in rewards], money.pool)
    grants = [
        (account, part)
        for amount, (_, shares) in zip(amounts, rewards, strict=True)
        for account, part in split_reward(amount, shares)
        if account != money.treasury
    ]
    return replace(
        money,
        pool=Tinybar(money.pool - sum(part for _, part in grants)),
        owed=added(money.owed, grants),
        earned=added(money.earned, grants),
    )


def with_penalty(money: Money, place: int, amount: Tinybar) -> Money:
    """Move a penalty from a stake to the pool; never more than the stake."""
    lost = min(amount, money.stakes[place])
    return replace(money, stakes=_with(money.stakes, place, -lost), pool=Tinybar(money.pool + lost))


def without_stake(money: Money, place: int) -> Money:
    """Move all that a member has at stake to the pool, what is unbonding included."""
    lost = money.stakes[place] + sum(part.amount for part in money.unbonding if part.place == place)
    return replace(
        money,
        stakes=_with(money.stakes, place, -money.stakes[place]),
        unbonding=tuple(part for part in money.unbonding if part.place != place),
        pool=Tinybar(money.pool + lost),
    )


def with_stake(money: Money, place: int, amount: Tinybar, transaction: TransactionId) -> Money:
    """Take a deposit into a stake."""
    return replace(
        money,
        deposits=Tinybar(money.deposits + amount),
        stakes=_with(money.stakes, place, amount),
        used=money.used | {transaction},
    )


def with_fund(money: Money, account: AccountId, amount: Tinybar, transaction: TransactionId) -> Money:
    """Take a deposit into the pool."""
    return replace(
        money,
        deposits=Tinybar(money.deposits + amount),
        pool=Tinybar(money.pool + amount),
        funds=added(money.funds, [(account, amount)]),
        used=money.used | {transaction},
    )


def unbond(money: Money, place: int, until: Round) -> Money:
    """Set a leaving member's stake aside."""
    amount = money.stakes[place]
    if not amount:
        return money
    return replace(
        money,
        stakes=_with(money.stakes, place, -amount),
        unbonding=(*money.unbonding, Unbonding(place, amount, until)),
    )


def release(money: Money, closed: Round, accounts: Sequence[AccountId]) -> Money:
    """Owe what is no longer at stake once a round has closed. accounts: of each place."""
    due = [part for part in money.unbonding if part.until <= closed]
    if not due:
        return money
    return replace(
        money,
        unbonding=tuple(part for part in money.unbonding if part.until > closed),
        owed=added(money.owed, [(accounts[part.place], part.amount) for part in due]),
    )


def wind_up(money: Money, accounts: Sequence[AccountId], fee: Tinybar) -> Money:
    """Owe all that is left after a run: stakes to members, and the pool to who funded it, but for fees.

    Who gave less than the fee of a payment gets nothing back.
    """
    back: list[tuple[AccountId, int]] = [
        (accounts[place], stake) for place, stake in enumerate(money.stakes) if stake
    ]
    back += [(accounts[part.place], part.amount) for part in money.unbonding]
    money = replace(
        money,
        stakes=(NOTHING,) * len(money.stakes),
        unbonding=(),
        owed=added(money.owed, back),
        wound_up=True,
    )
    # To give back less than a payment costs would be a way to burn what others are due.
    funds = tuple((account, fund) for account, fund in money.funds if fund >= fee)
    payees = {account for account, _ in (*money.owed, *funds)}
    # One fee more than payments, so that what a payment in vain costs holds up nobody.
    rest = max(0, money.pool - fee * (1 - -len(payees) // MAX_PAYEES))
    if not funds or not rest:
        return money
    refunds = [(account, rest * fund // total_of(funds)) for account, fund in funds]
    return replace(
        money,
        pool=Tinybar(money.pool - sum(refund for _, refund in refunds)),
        owed=added(money.owed, refunds),
    )


def _with(stakes: tuple[Tinybar, ...], place: int, change: int) -> tuple[Tinybar, ...]:
    return (*stakes[:place], Tinybar(stakes[place] + change), *stakes[place + 1 :])


def money_form(money: Money) -> dict[str, Any]:
    """The money as plain values for the state digest; amounts are decimal strings."""
    settlement = money.settlement
    return {
        "treasury": money.treasury,
        "keys": [money.keys.required, list(money.keys.places)],
        "stakes": [str(stake) for stake in money.stakes],
        "deposits": str(money.deposits),
        "pool": str(money.pool),
        "fees": str(money.fees),
        "unbonding": [[part.place, str(part.amount), part.until] for part in money.unbonding],
        "owed": _form(money.owed),
        "paid": _form(money.paid),
        "earned": _form(money.earned),
        "funds": _form(money.funds),
        "used": sorted(money.used),
        "settlement": None
        if settlement is None
        else [
            settlement.number,
            settlement.sequence,
            str(settlement.opened),
            _form(settlement.payees),
            str(settlement.reserve),
            str(settlement.expires),
            None if settlement.keys is None else [settlement.keys.required, list(settlement.keys.places)],
        ],
        "settlements": money.settlements,
        "rotations": money.rotations,
        "snapshot_round": money.snapshot_round,
        "queue": list(money.queue),
        "alone": sorted(money.alone),
        "refusals": [[rest.account, rest.count, rest.until] for rest in money.refusals],
    }


def _form(accounts: Accounts) -> list[list[str]]:
    return [[account, str(amount)] for account, amount in accounts]
