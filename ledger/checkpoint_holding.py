"""What is known of a treasury's account in a checkpoint: strict models beside ledger/holding.py.

What a mirror said of balance and key is asked again, not kept.
"""

from typing import Annotated

from pydantic import StringConstraints

from ledger.checkpoint_money import Count, Decimal, NameForm
from ledger.holding import Holding
from protocol.fields import Model
from protocol.ids import AccountId, Nanoseconds, Tinybar
from protocol.transfers import Transfer

Signed = Annotated[str, StringConstraints(pattern=r"^(0|-?[1-9][0-9]{0,99})$")]
"""An integer that may pass 2^53."""


class TransferForm(Model):
    """Transfer."""

    id: NameForm
    name: str
    result: str
    time: Decimal
    memo: str
    fee: Decimal
    moves: tuple[tuple[str, Signed], ...]


class HoldingForm(Model):
    """Holding, but for its account."""

    reached: Decimal
    cut: Decimal
    read: Count
    moved: Signed
    debits: tuple[TransferForm, ...]
    credits: tuple[TransferForm, ...]


def holding_form(holding: Holding) -> HoldingForm:
    """A holding as it stands in a checkpoint."""
    return HoldingForm(
        reached=str(holding.reached),
        cut=str(holding.cut),
        read=holding.read,
        moved=str(holding.moved),
        debits=tuple(map(_transfer_form, holding.debits)),
        credits=tuple(map(_transfer_form, holding.credits)),
    )


def holding_of(form: HoldingForm) -> Holding:
    """The holding that a form stands for."""
    return Holding(
        reached=Nanoseconds(int(form.reached)),
        cut=Nanoseconds(int(form.cut)),
        read=form.read,
        moved=int(form.moved),
        debits=list(map(_transfer, form.debits)),
        credits=list(map(_transfer, form.credits)),
    )


def _transfer_form(transfer: Transfer) -> TransferForm:
    return TransferForm(
        id=transfer.id,
        name=transfer.name,
        result=transfer.result,
        time=str(transfer.time),
        memo=transfer.memo,
        fee=str(transfer.fee),
        moves=tuple((account, str(amount)) for account, amount in transfer.moves),
    )


def _transfer(form: TransferForm) -> Transfer:
    return Transfer(
        id=form.id,
        name=form.name,
        result=form.result,
        time=Nanoseconds(int(form.time)),
        memo=form.memo,
        fee=Tinybar(int(form.fee)),
        moves=tuple((AccountId(account), int(amount)) for account, amount in form.moves),
    )
