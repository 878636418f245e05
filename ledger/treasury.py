"""The account that holds a run's money, as one of its co-signers sees it (SPEC.md, transfers).

Nobody leads: every member makes the same schedule of a payout, which the network takes for one and the same,
reads it back, and signs what is its own to the last field. The m-th signature has it executed, once.

Who pays a scheduled transaction is no part of what makes two schedules the same to Hedera. So anybody can take
a payout's place with a schedule that they alone pay, and then never sign: such a one is passed over, for all
members alike, and the next of a few schedule memos is used.
"""

import base64
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import anyio
from google.protobuf.message import DecodeError

from ledger.hedera import Hedera
from ledger.hiero import (
    AccountId as SdkAccount,
)
from ledger.hiero import (
    ScheduleCreateTransaction,
    ScheduleSignTransaction,
    Timestamp,
    basic_types_pb2,
    schedulable_transaction_body_pb2,
)
from ledger.hiero import ScheduleId as SdkSchedule
from ledger.keys import SigningKey, sdk_key
from ledger.lookup import transfer_of
from ledger.outbox import FEE_CAP, MAX_PAYEES
from ledger.pages import ScheduleEntry, ScheduleId, TransactionEntry, nanoseconds
from ledger.session import Refused
from ledger.topic import LedgerError
from protocol.ids import SECOND, AccountId, Nanoseconds, Tinybar
from protocol.settlement import EXPIRY_MARGIN
from protocol.transfers import Payout, SharedKey, Transfer

SCHEDULE_FEE_CAP = Tinybar(100_000_000)
"""The most that a schedule may cost who makes it, in fees."""
PLACES = 8
"""Schedules that a payout may be looked for in, were others to take the first ones."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_OVER = {
    "INVALID_SCHEDULE_ID",
    "SCHEDULE_PENDING_EXPIRATION",
    "SCHEDULE_EXPIRATION_TIME_MUST_BE_HIGHER_THAN_CONSENSUS_TIME",
}
# Of a payee that never was, networks of different age say one or the other.
_IMPOSSIBLE = {"UNRESOLVABLE_REQUIRED_SIGNERS", "INVALID_ACCOUNT_ID", "INVALID_TRANSFER_ACCOUNT_ID"}

log = logging.getLogger(__name__)

ScheduledBody: TypeAlias = schedulable_transaction_body_pb2.SchedulableTransactionBody


class Standing(Enum):
    """How a payout stands after an attempt to sign it."""

    SIGNED = "signed"
    """Our signature is on it; with enough others it has been, or will be, executed."""
    UNCHANGED = "unchanged"
    """Our signature adds nothing: the network has it already, or our key is none of those it waits for."""
    EXECUTED = "executed"
    """It was executed before, successfully or not: see `Treasury.outcome`."""
    EXPIRED = "expired"
    """Its time is over; nothing was signed."""
    IMPOSSIBLE = "impossible"
    """The network takes no such schedule, because a payee never existed; nothing was signed."""


@dataclass(frozen=True, slots=True)
class Signing:
    """What an attempt to sign a payout led to."""

    standing: Standing
    schedule: ScheduleId | None = None
    """Where it is scheduled, as far as that was asked."""

    def __str__(self) -> str:
        return (
            self.standing.value
            if self.schedule is None
            else f"{self.standing.value}, schedule {self.schedule}"
        )


class _Ended(Exception):
    """The network answered with something that ends the attempt, and is no error."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(standing.value)
        self.standing = standing


async def create_treasury(hedera: Hedera, key: SharedKey, memo: str) -> AccountId:
    """A new, empty account for which `key.required` of the members sign together. Raises LedgerError."""
    return await hedera.create_account(key, Tinybar(0), memo)


class Treasury:
    """A run's money, for a member: signs payouts, and looks up what became of them."""

    def __init__(
        self, hedera: Hedera, member: SigningKey | None = None, now: Callable[[], int] = time.time_ns
    ) -> None:
        """The account of `hedera` pays for what is sent; `member` is the treasury's key, where it is another."""
        self._hedera = hedera
        self._signers = () if member is None else (member,)
        public = hedera.session.public if member is None else member.public
        self._public: bytes = public.to_bytes_raw()
        self._now = now
        # Where the last payout was found, so that asking again costs nothing.
        self._found: dict[tuple[Payout, str], ScheduleId] = {}

    async def sign(self, payout: Payout) -> Signing:
        """Have a payout scheduled, as it is prescribed and no other way, and sign it.

        May be called again at any time, also after a crash: nothing is paid twice. Where it is scheduled already
        only the network itself is asked, which knows its own schedules: a mirror could lie about what is in one.
        Raises LedgerError, also when what is scheduled is not what the payout prescribes; then nothing is signed.
        """
        body = prescribed(payout)
        if self._now() >= payout.expires:
            return Signing(Standing.EXPIRED)
        if await self.outcome(payout) is not None:
            return Signing(Standing.EXECUTED)
        try:
            for memo in schedule_memos(payout):
                schedule = await self._schedule(payout, body, memo)
                shown = await self._shown(schedule)
                compare(shown, payout, body, memo)
                if shown.payer_account_id == payout.treasury:
                    return Signing(await self._sign(payout, shown), schedule)
        except _Ended as end:
            return Signing(end.standing)
        raise LedgerError(
            f"cannot sign payout {payout.memo}: others pay for all {PLACES} schedules that look like it; "
            "it expires unpaid, and the next settlement pays"
        )

    async def outcome(self, payout: Payout) -> Transfer | None:
        """The transaction of a payout's, as the mirror shows it: the successful one, or else the last that failed.

        None while there is none; once the mirror is past the payout's expiry and EXPIRY_MARGIN, there never will be.
        Raises LedgerError.
        """
        own: Transfer | None = None
        until = Nanoseconds(payout.expires + EXPIRY_MARGIN)
        mirror = self._hedera.mirror
        for raw in await mirror.transactions(payout.treasury, payout.opened, until, debits=True):
            transfer = transfer_of(TransactionEntry.model_validate(raw))
            if (
                transfer.memo == payout.memo
                # Anybody can send the treasury something under any memo, but not make it pay.
                and transfer.moved(payout.treasury) < 0
                and not (own is not None and own.succeeded)
            ):
                own = transfer
        return own

    def _note(self, payout: Payout, memo: str, schedule: ScheduleId) -> None:
        self._found = {place: known for place, known in self._found.items() if place[0] == payout}
        self._found[payout, memo] = schedule

    async def _schedule(self, payout: Payout, body: ScheduledBody, memo: str) -> ScheduleId:
        """The schedule of a payout under a schedule memo, made if there is none. Raises _Ended, LedgerError."""
        known = self._found.get((payout, memo))
        if known is not None:
            return known
        what = f"schedule payout {payout.memo}"

        def creation() -> ScheduleCreateTransaction:
            transaction = ScheduleCreateTransaction()
            transaction.schedulable_body = body
            transaction.set_payer_account_id(SdkAccount.from_string(payout.treasury))
            transaction.set_expiration_time(Timestamp(payout.expires // SECOND, 0))
            transaction.set_wait_for_expiry(False)
            return transaction.set_schedule_memo(memo)

        try:
            receipt = await self._hedera.execute(creation, what, SCHEDULE_FEE_CAP, signers=self._signers)
        except Refused as error:
            if error.status in _OVER:
                raise _Ended(Standing.EXPIRED) from error
            if error.status in _IMPOSSIBLE:
                raise _Ended(Standing.IMPOSSIBLE) from error
            if error.status != "IDENTICAL_SCHEDULE_ALREADY_CREATED" or error.receipt is None:
                raise self._hedera.refusal(what, error) from error
            receipt = error.receipt
        schedule = ScheduleId(str(receipt.schedule_id))
        self._note(payout, memo, schedule)
        return schedule

    async def _shown(self, schedule: ScheduleId) -> ScheduleEntry:
        """The schedule, once the mirror shows it. Raises LedgerError."""
        pause = _FIRST_PAUSE
        with anyio.move_on_after(self._hedera.patience):
            while True:
                shown = await self._hedera.mirror.schedule(schedule)
                if shown is not None:
                    return shown
                await anyio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        raise LedgerError(f"the mirror does not show schedule {schedule} yet; it is signed once it does")

    async def _sign(self, payout: Payout, shown: ScheduleEntry) -> Standing:
        """Put our signature on a schedule that was found to be right. Raises LedgerError."""
        if shown.executed_timestamp is not None:
            return Standing.EXECUTED
        if any(_is_of(item.public_key_prefix, self._public) for item in shown.signatures):
            return Standing.SIGNED
        if self._now() >= payout.expires:
            return Standing.EXPIRED
        what = f"sign payout {payout.memo}"
        schedule = SdkSchedule.from_string(shown.schedule_id)
        try:
            await self._hedera.execute(
                lambda: ScheduleSignTransaction(schedule), what, FEE_CAP, signers=self._signers
            )
        except Refused as error:
            if error.status == "SCHEDULE_ALREADY_EXECUTED":
                return Standing.EXECUTED
            if error.status == "NO_NEW_VALID_SIGNATURES":
                return Standing.UNCHANGED
            if error.status in _OVER:
                return Standing.EXPIRED
            raise self._hedera.refusal(what, error) from error
        return Standing.SIGNED


def schedule_memos(payout: Payout) -> tuple[str, ...]:
    """The memos of the schedules that a payout may be in, in order; each but the last may be taken by others."""
    return (payout.memo, *(f"{payout.memo}/{place}" for place in range(2, PLACES + 1)))


def prescribed(payout: Payout) -> ScheduledBody:
    """The transaction that a payout prescribes. Raises LedgerError when it prescribes none."""
    _check(payout)
    body = ScheduledBody(transactionFee=int(payout.fee), memo=payout.memo)
    if payout.key is not None:
        body.cryptoUpdateAccount.accountIDToUpdate.CopyFrom(_account(payout.treasury))
        body.cryptoUpdateAccount.key.CopyFrom(sdk_key(payout.key).to_proto_key())
        return body
    lines = ((payout.treasury, -sum(amount for _, amount in payout.payees)), *payout.payees)
    for account, amount in lines:
        body.cryptoTransfer.transfers.accountAmounts.add(accountID=_account(account), amount=amount)
    return body


def compare(shown: ScheduleEntry, payout: Payout, body: ScheduledBody, memo: str) -> None:
    """Compare a schedule with our own, field by field but for who pays. Raises LedgerError, which names one."""
    expires = None if shown.expiration_time is None else nanoseconds(shown.expiration_time) // SECOND
    theirs = _parsed(shown)
    differences = {
        "memo": shown.memo != memo,
        "admin key": shown.admin_key is not None,
        "expiry": expires != payout.expires // SECOND,
        "waiting for its expiry": shown.wait_for_expiry,
        "transaction's fee limit": theirs.transactionFee != body.transactionFee,
        "transaction's memo": theirs.memo != body.memo,
        "transaction": _bytes(theirs) != _bytes(body),
    }
    for what, is_different in differences.items():
        if is_different:
            raise LedgerError(
                f"schedule {shown.schedule_id} differs from payout {payout.memo} in its {what}, as the mirror "
                "shows it; it is not signed: was another member wrong, or is the mirror?"
            )


def _check(payout: Payout) -> None:
    if (payout.key is None) == (not payout.payees) or len(payout.payees) > MAX_PAYEES:
        raise LedgerError(f"payout {payout.memo} neither pays 1 to {MAX_PAYEES} accounts nor changes the key")
    accounts = {account for account, _ in payout.payees}
    if len(accounts) < len(payout.payees) or payout.treasury in accounts:
        raise LedgerError(f"payout {payout.memo} pays an account twice, or the treasury itself")
    if any(amount <= 0 for _, amount in payout.payees):
        raise LedgerError(f"payout {payout.memo} pays somebody nothing or less")
    if payout.expires % SECOND:
        raise LedgerError(f"payout {payout.memo} does not expire at a whole second")


def _account(account: AccountId) -> basic_types_pb2.AccountID:
    return SdkAccount.from_string(account)._to_proto()


def _bytes(body: ScheduledBody) -> bytes:
    # Fields that we do not know are in them, which a comparison of messages might pass over.
    return bytes(body.SerializeToString(deterministic=True))


def _parsed(shown: ScheduleEntry) -> ScheduledBody:
    try:
        return ScheduledBody.FromString(base64.b64decode(shown.transaction_body, validate=True))
    except (ValueError, DecodeError) as error:
        raise LedgerError(
            f"the mirror shows a transaction in schedule {shown.schedule_id} that is none; use another mirror"
        ) from error


def _is_of(prefix: str, public: bytes) -> bool:
    try:
        raw = base64.b64decode(prefix, validate=True)
    except ValueError:
        return False
    return bool(raw) and public.startswith(raw)
