"""A run's money in a checkpoint: strict models beside the frozen dataclasses of protocol/money.py."""

from typing import Annotated

from pydantic import Field, StringConstraints

from protocol.fields import MAX_INTEGER, AccountField, Model, Place
from protocol.ids import Nanoseconds, Round, Tinybar
from protocol.money import Accounts, Money, Refusal, Settlement, TreasuryKeys, Unbonding
from protocol.transfers import TransactionId

Decimal = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,99})$")]
"""An integer from 0 that may pass 2^53."""
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Places = tuple[Place, ...]
"""A set of places, sorted."""
AccountsForm = tuple[tuple[AccountField, Decimal], ...]
NameForm = Annotated[TransactionId, StringConstraints(max_length=120)]
"""A transaction's id, as a mirror gave it."""


class KeysForm(Model):
    """TreasuryKeys."""

    required: Count
    places: Places


class SettlementForm(Model):
    """Settlement."""

    number: Count
    sequence: Count
    opened: Decimal
    payees: AccountsForm
    reserve: Decimal
    expires: Decimal
    keys: KeysForm | None


class MoneyForm(Model):
    """Money."""

    treasury: AccountField | None
    keys: KeysForm
    stakes: tuple[Decimal, ...]
    deposits: Decimal
    pool: Decimal
    fees: Decimal
    unbonding: tuple[tuple[Place, Decimal, Count], ...]
    owed: AccountsForm
    paid: AccountsForm
    earned: AccountsForm
    funds: AccountsForm
    used: tuple[NameForm, ...]
    settlement: SettlementForm | None
    settlements: Count
    rotations: Count
    snapshot_round: Count
    queue: tuple[AccountField, ...]
    alone: tuple[AccountField, ...]
    refusals: tuple[tuple[AccountField, Count, Count], ...]
    wound_up: bool


def money_form(money: Money) -> MoneyForm:
    """Money as it stands in a checkpoint."""
    return MoneyForm(
        treasury=money.treasury,
        keys=_keys_form(money.keys),
        stakes=tuple(map(str, money.stakes)),
        deposits=str(money.deposits),
        pool=str(money.pool),
        fees=str(money.fees),
        unbonding=tuple((part.place, str(part.amount), part.until) for part in money.unbonding),
        owed=accounts_form(money.owed),
        paid=accounts_form(money.paid),
        earned=accounts_form(money.earned),
        funds=accounts_form(money.funds),
        used=tuple(sorted(money.used)),
        settlement=None if money.settlement is None else settlement_form(money.settlement),
        settlements=money.settlements,
        rotations=money.rotations,
        snapshot_round=money.snapshot_round,
        queue=money.queue,
        alone=tuple(sorted(money.alone)),
        refusals=tuple((rest.account, rest.count, rest.until) for rest in money.refusals),
        wound_up=money.wound_up,
    )


def money_of(form: MoneyForm) -> Money:
    """The money that a form stands for."""
    return Money(
        treasury=form.treasury,
        keys=_keys(form.keys),
        stakes=tuple(map(amount_of, form.stakes)),
        deposits=amount_of(form.deposits),
        pool=amount_of(form.pool),
        fees=amount_of(form.fees),
        unbonding=tuple(
            Unbonding(place, amount_of(amount), Round(until)) for place, amount, until in form.unbonding
        ),
        owed=accounts_of(form.owed),
        paid=accounts_of(form.paid),
        earned=accounts_of(form.earned),
        funds=accounts_of(form.funds),
        used=frozenset(form.used),
        settlement=None if form.settlement is None else settlement_of(form.settlement),
        settlements=form.settlements,
        rotations=form.rotations,
        snapshot_round=form.snapshot_round,
        queue=form.queue,
        alone=frozenset(form.alone),
        refusals=tuple(Refusal(account, count, Round(until)) for account, count, until in form.refusals),
        wound_up=form.wound_up,
    )


def settlement_form(settlement: Settlement) -> SettlementForm:
    """A settlement as it stands in a checkpoint."""
    return SettlementForm(
        number=settlement.number,
        sequence=settlement.sequence,
        opened=str(settlement.opened),
        payees=accounts_form(settlement.payees),
        reserve=str(settlement.reserve),
        expires=str(settlement.expires),
        keys=None if settlement.keys is None else _keys_form(settlement.keys),
    )


def settlement_of(form: SettlementForm) -> Settlement:
    """The settlement that a form stands for."""
    return Settlement(
        number=form.number,
        sequence=form.sequence,
        opened=Nanoseconds(int(form.opened)),
        payees=accounts_of(form.payees),
        reserve=amount_of(form.reserve),
        expires=Nanoseconds(int(form.expires)),
        keys=None if form.keys is None else _keys(form.keys),
    )


def accounts_form(accounts: Accounts) -> AccountsForm:
    """Amounts by account, as they stand in a checkpoint."""
    return tuple((account, str(amount)) for account, amount in accounts)


def accounts_of(form: AccountsForm) -> Accounts:
    """The amounts by account that a form stands for."""
    return tuple((account, amount_of(amount)) for account, amount in form)


def amount_of(decimal: str) -> Tinybar:
    """An amount in decimal."""
    return Tinybar(int(decimal))


def _keys_form(keys: TreasuryKeys) -> KeysForm:
    return KeysForm(required=keys.required, places=keys.places)


def _keys(form: KeysForm) -> TreasuryKeys:
    return TreasuryKeys(form.required, form.places)
