"""Records that name money on the ledger: what came in, what is to be paid, what was (SPEC.md, money)."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.fields import MAX_INTEGER, AccountField, DigestField, PeerField, TransactionField
from protocol.ids import Tinybar
from protocol.records import Tagged

Amount = Annotated[Tinybar, Field(ge=1, le=MAX_INTEGER)]
Number = Annotated[int, Field(ge=1, le=MAX_INTEGER)]


class FundRecord(Tagged):
    """Money for the pool, from whoever likes."""

    op: Literal["fund"] = "fund"
    run: DigestField
    account: AccountField
    """Who paid it, and gets back a part of what is left in the end."""
    amount: Amount
    transaction: TransactionField


class TopupRecord(Tagged):
    """Money for a member's stake."""

    op: Literal["topup"] = "topup"
    run: DigestField
    peer: PeerField
    amount: Amount
    transaction: TransactionField


class SettleRecord(Tagged):
    """What is owed now is to be paid; who gets how much follows from the state."""

    op: Literal["settle"] = "settle"
    run: DigestField
    number: Number
    """One more than the settlements and rotations so far."""


class SettledRecord(Tagged):
    """The transaction that did what the open settlement, or rotation, asks for."""

    op: Literal["settled"] = "settled"
    run: DigestField
    number: Number
    transaction: TransactionField


class FailedRecord(Tagged):
    """The open settlement, or rotation, did not take effect and never will."""

    op: Literal["failed"] = "failed"
    run: DigestField
    number: Number
