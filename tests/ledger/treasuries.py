"""A 3-of-5 treasury on a real network, its members, and what its payees have."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import anyio
import coincurve

from ledger.hedera import Hedera, open_hedera
from ledger.hiero import (
    AccountId as SdkAccount,
)
from ledger.hiero import (
    ScheduleCreateTransaction,
    ScheduleSignTransaction,
    Timestamp,
    Transaction,
)
from ledger.hiero import ScheduleId as SdkSchedule
from ledger.pages import ScheduleId
from ledger.session import Refused
from ledger.treasury import Signing, Treasury, create_treasury, prescribed
from protocol.ids import SECOND, AccountId, Nanoseconds, PublicKey, Tinybar
from protocol.transfers import Payout, SharedKey
from tests.ledger.localnet_process import Localnet

HBAR = Tinybar(100_000_000)
TRANSFER_FEE = 100_000
"""Tinybar, at the network's fixed price and rate."""


def public(key: coincurve.PrivateKey) -> PublicKey:
    return PublicKey(key.public_key.format())


@dataclass(frozen=True)
class Council:
    """Members with accounts of their own, and the treasury that any three of them sign for."""

    localnet: Localnet
    operator: Hedera
    keys: tuple[coincurve.PrivateKey, ...]
    accounts: tuple[AccountId, ...]
    hederas: tuple[Hedera, ...]
    treasury: AccountId
    payees: tuple[AccountId, ...]

    @property
    def members(self) -> list[Treasury]:
        return [Treasury(hedera) for hedera in self.hederas]

    def payout(self, memo: str = "7", life: int = 600, **changes: Any) -> Payout:
        now = time.time_ns()
        payees = tuple((payee, Tinybar(1_000 * (i + 1))) for i, payee in enumerate(self.payees))
        payout = Payout(
            treasury=self.treasury,
            memo=memo,
            opened=Nanoseconds(now - 60 * SECOND),
            expires=Nanoseconds((now // SECOND + life) * SECOND),
            fee=HBAR,
            payees=payees,
        )
        return replace(payout, **changes)

    async def balance(self, account: AccountId) -> int:
        return (await self.operator.mirror.account(account)).balance.balance

    async def paid(self) -> tuple[int, ...]:
        """What each payee has, who began with nothing."""
        return tuple([await self.balance(payee) for payee in self.payees])

    async def sign_all(self, payout: Payout, members: Sequence[Treasury]) -> list[Signing]:
        """All at once."""
        found: list[Signing] = []

        async def sign(member: Treasury) -> None:
            found.append(await member.sign(payout))

        async with anyio.create_task_group() as tasks:
            for member in members:
                tasks.start_soon(sign, member)
        return found

    async def new_account(self, key: coincurve.PrivateKey, initial: int = 0) -> AccountId:
        return await self.operator.create_account(public(key), Tinybar(initial))


def by_number(account: AccountId) -> int:
    return int(account.rpartition(".")[2])


@asynccontextmanager
async def council(
    localnet: Localnet, payees: int = 9, secrets: Sequence[bytes | None] = (None,) * 5
) -> AsyncIterator[Council]:
    keys = tuple(coincurve.PrivateKey(secret) for secret in secrets)
    accounts: dict[int, AccountId] = {}
    found: list[AccountId] = []
    async with AsyncExitStack() as stack:
        operator = await stack.enter_async_context(
            open_hedera(localnet.network, localnet.operator, localnet.key)
        )

        async def create(number: int) -> None:
            accounts[number] = await operator.create_account(public(keys[number]), Tinybar(100 * HBAR))

        async def create_payee() -> None:
            found.append(await operator.create_account(public(coincurve.PrivateKey()), Tinybar(0)))

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(create, number)
            for _ in range(payees):
                tasks.start_soon(create_payee)
        treasury = await create_treasury(operator, SharedKey(3, tuple(map(public, keys))), "a run's money")
        await operator.transfer(treasury, Tinybar(10 * HBAR))
        opened = [
            await stack.enter_async_context(open_hedera(localnet.network, accounts[i], keys[i].secret))
            for i in range(5)
        ]
        yield Council(
            localnet,
            operator,
            keys,
            tuple(accounts[i] for i in range(5)),
            tuple(opened),
            treasury,
            tuple(sorted(found, key=by_number)),
        )


def run(localnet: Localnet, test: Callable[[Council], Awaitable[None]], payees: int = 9) -> None:
    """A test with a treasury, bounded in time."""

    async def main() -> None:
        with anyio.fail_after(120):
            async with council(localnet, payees) as members:
                await test(members)

    anyio.run(main)


async def schedule(hedera: Hedera, payout: Payout, **changes: Any) -> tuple[str, ScheduleId]:
    """What anybody may schedule: a payout with another body, payer, memo or expiry. The status, and the id."""

    def creation() -> Transaction:
        transaction = ScheduleCreateTransaction()
        transaction.schedulable_body = changes.get("body", prescribed(payout))
        transaction.set_payer_account_id(SdkAccount.from_string(changes.get("payer", payout.treasury)))
        transaction.set_expiration_time(
            Timestamp(changes.get("expires", payout.expires) // SECOND, changes.get("nanos", 0))
        )
        return transaction.set_schedule_memo(changes.get("memo", payout.memo))

    status = "SUCCESS"
    try:
        receipt = await hedera.execute(creation, "schedule", HBAR)
    except Refused as error:
        if error.receipt is None:
            raise
        status, receipt = error.status, error.receipt
    return status, ScheduleId(str(receipt.schedule_id))


async def add_signature(hedera: Hedera, found: ScheduleId) -> str:
    """Sign whatever it is; the status."""
    return await status_of(hedera, lambda: ScheduleSignTransaction(SdkSchedule.from_string(found)))


async def status_of(hedera: Hedera, build: Callable[[], Transaction]) -> str:
    try:
        await hedera.execute(build, "try", HBAR)
    except Refused as error:
        return error.status
    return "SUCCESS"
