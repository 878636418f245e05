"""A treasury on a network of our own: what is looked up, saved and compared is what was done."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio
import coincurve
import httpx
import pytest

from ledger.hedera import Hedera, open_hedera
from ledger.hiero import (
    AccountId as SdkAccount,
)
from ledger.hiero import (
    Client,
    PrivateKey,
    ResponseCode,
    ScheduleCreateTransaction,
    ScheduleSignTransaction,
    TransferTransaction,
    _Node,
)
from ledger.hiero import Network as SdkNetwork
from ledger.holding import key_of
from ledger.lookup import FileTransfers, MirrorTransfers, parts_of
from ledger.pages import read_history, write_history
from ledger.topic import LedgerError
from protocol.ids import AccountId, PublicKey, Tinybar
from protocol.transfers import Named, Outgoing, SharedKey, TransactionId
from tests.ledger.localnet_process import Localnet
from tests.ledger.shown import PAYER, TREASURY, Shown, entry, paid

BACKENDS = ("asyncio", "trio")
HBAR = 100_000_000


@dataclass(frozen=True)
class Treasury:
    """A 2-of-3 account that got a deposit, paid one settlement and failed at another."""

    account: AccountId
    payee: AccountId
    key: SharedKey
    deposit: TransactionId
    payout: TransactionId
    failed: TransactionId
    other: TransactionId
    """Of the operator, and nothing to the treasury."""


def run(localnet: Localnet, test: Callable[[Hedera], Awaitable[Any]], backend: str = "asyncio") -> Any:
    async def main() -> Any:
        with anyio.fail_after(60):
            async with open_hedera(localnet.network, localnet.operator, localnet.key) as operator:
                return await test(operator)

    return anyio.run(main, backend=backend)


async def at_once(seconds: float) -> None:
    """To wait in no time."""


def public(key: PrivateKey) -> PublicKey:
    return PublicKey(coincurve.PrivateKey(key.to_bytes_raw()).public_key.format())


def pay_by_schedule(
    localnet: Localnet, treasury: AccountId, payee: AccountId, amount: int, keys: list[PrivateKey], memo: str
) -> TransactionId:
    """What the scheduled transaction is called; it runs when the second of two keys has signed."""
    (node, address), *_ = localnet.network.nodes.items()
    client = Client(
        SdkNetwork(
            "localnet",
            nodes=[_Node(SdkAccount.from_string(node), address, None)],
            mirror_address=localnet.network.mirror_grpc,
        )
    )
    client.set_operator(SdkAccount.from_string(localnet.operator), PrivateKey.from_string(localnet.key))
    payer = SdkAccount.from_string(treasury)
    transfer = TransferTransaction().add_hbar_transfer(payer, -amount)
    transfer.add_hbar_transfer(SdkAccount.from_string(payee), amount).set_transaction_memo(memo)
    schedule: ScheduleCreateTransaction = transfer.schedule()
    created = schedule.set_payer_account_id(payer).set_schedule_memo(memo).execute(client)
    assert created.status == ResponseCode.SUCCESS
    signing = ScheduleSignTransaction(schedule_id=created.schedule_id).freeze_with(client)
    for key in keys:
        signing.sign(key)
    assert signing.execute(client).status == ResponseCode.SUCCESS
    client.close()
    name = created.scheduled_transaction_id
    start = name.valid_start
    return TransactionId(f"{name.account_id}-{start.seconds}-{start.nanos:09}?scheduled")


@pytest.fixture(scope="module")
def treasury(localnet) -> Treasury:
    keys = [PrivateKey.generate_ecdsa() for _ in range(3)]
    shared = SharedKey(2, tuple(map(public, keys)))

    async def found(operator: Hedera) -> tuple[AccountId, AccountId, str, str]:
        account = await operator.create_account(SharedKey(2, shared.keys), Tinybar(HBAR), "treasury")
        payee = await operator.create_account(shared.keys[0], Tinybar(0))
        other = await operator.transfer(payee, Tinybar(1), "nothing of the treasury's")
        return account, payee, await operator.transfer(account, Tinybar(7), "a stake"), other

    account, payee, deposit, other = run(localnet, found)
    payout = pay_by_schedule(localnet, account, payee, 500, keys[:2], "41")
    failed = pay_by_schedule(localnet, account, payee, 2 * HBAR, keys[1:], "42")
    return Treasury(account, payee, shared, TransactionId(deposit), payout, failed, TransactionId(other))


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_done_is_found(localnet, treasury, backend):
    async def test(operator: Hedera) -> None:
        transfers = MirrorTransfers(operator.mirror, at_once)
        (deposit,) = await transfers.find(Named(treasury.deposit))
        assert (deposit.name, deposit.result, deposit.memo) == ("CRYPTOTRANSFER", "SUCCESS", "a stake")
        assert (deposit.moved(treasury.account), deposit.id) == (7, treasury.deposit)
        assert deposit.moved(operator.account) == -7 - deposit.fee
        (payout,) = await transfers.find(Named(treasury.payout))
        assert (payout.memo, payout.succeeded, payout.id) == ("41", True, treasury.payout)
        assert payout.moves == tuple(
            sorted(
                {
                    treasury.account: -500 - payout.fee,
                    treasury.payee: 500,
                    AccountId("0.0.802"): payout.fee,
                }.items()
            )
        )
        (failed,) = await transfers.find(Named(treasury.failed))
        assert (failed.memo, failed.result) == ("42", "INSUFFICIENT_ACCOUNT_BALANCE")
        assert failed.moved(treasury.account) == -failed.fee < 0
        (created,) = await transfers.find(Named(TransactionId(treasury.payout.removesuffix("?scheduled"))))
        assert (created.name, created.moved(treasury.account)) == ("SCHEDULECREATE", 0)

        async def out(since: int, until: int) -> tuple[TransactionId, ...]:
            found = await transfers.find(Outgoing(treasury.account, since, until))
            return tuple(transfer.id for transfer in found)

        assert await out(deposit.time, failed.time) == (treasury.payout, treasury.failed)
        assert await out(payout.time, payout.time) == (treasury.payout,)
        assert await out(payout.time + 1, failed.time - 1) == ()

    run(localnet, test, backend)


def test_an_unknown_transaction_is_asked_for_again_and_not_found(localnet):
    async def test(operator: Hedera) -> list[float]:
        waited: list[float] = []

        async def sleep(seconds: float) -> None:
            waited.append(seconds)

        transfers = MirrorTransfers(operator.mirror, sleep)
        seconds = await operator.mirror.latest() // 10**9
        assert await transfers.find(Named(TransactionId(f"0.0.2-{seconds}-000000009"))) == ()
        assert len(waited) == 3
        assert await transfers.find(Named(TransactionId("0.0.2-1700000000-000000009"))) == ()
        return waited

    assert len(run(localnet, test)) == 3


def test_an_audit_finds_the_same_in_a_saved_history(localnet, treasury, tmp_path):
    async def test(operator: Hedera) -> None:
        names = [treasury.deposit, treasury.payout, treasury.other, treasury.other, TransactionId("none")]
        entries = list(await operator.mirror.transactions(treasury.account))
        for parts in filter(None, map(parts_of, names)):
            entries += await operator.mirror.transaction(*parts)
        path = tmp_path / "history.json"
        write_history(path, [], entries)
        offline, online = (
            FileTransfers(read_history(path).transactions),
            MirrorTransfers(operator.mirror, at_once),
        )
        end = await operator.mirror.latest()
        lookups = [Named(name) for name in (*names, treasury.failed)]
        for lookup in (*lookups, Outgoing(treasury.account, 0, end), Outgoing(treasury.payee, 0, end)):
            assert offline.found(lookup) == await online.find(lookup)
        assert (
            sum(transfer.moved(treasury.account) for transfer in offline.moving(treasury.account))
            == (await operator.mirror.account(treasury.account)).balance.balance
        )

    run(localnet, test)


@pytest.mark.parametrize("backend", BACKENDS)
def test_balance_and_key(localnet, treasury, backend):
    async def test(operator: Hedera) -> None:
        assert key_of(await operator.mirror.account(treasury.account)) == treasury.key
        payee = await operator.mirror.account(treasury.payee)
        assert key_of(payee) is None, "a single key is not shared"
        assert payee.balance.balance == 501
        with pytest.raises(LedgerError, match="knows nothing of account"):
            await operator.mirror.account_page(AccountId("0.0.999999"))

    run(localnet, test, backend)


def test_filters_are_those_of_the_public_mirrors(localnet, treasury):
    with httpx.Client(base_url=f"{localnet.network.mirror_rest}/api/v1") as rest:

        def names(query: str) -> list[str]:
            shown = rest.get(f"/transactions?account.id={treasury.account}&{query}").raise_for_status().json()
            return [entry["name"] + ("?" if entry["scheduled"] else "") for entry in shown["transactions"]]

        moved = ["CRYPTOCREATEACCOUNT", "CRYPTOTRANSFER", "CRYPTOTRANSFER?", "CRYPTOTRANSFER?"]
        assert names("order=asc") == moved
        assert names("") == moved[::-1]
        assert names("order=asc&type=credit") == moved[:2]
        assert names("order=asc&type=DEBIT") == moved[2:]
        assert names("type=debit&type=credit") == []
        assert names("type=debit&result=fail") == names("type=debit&result=success") == ["CRYPTOTRANSFER?"]
        assert names("type=debit&transactiontype=CRYPTOCREATEACCOUNT") == []

        # Who created a schedule is shown what came of it, though its money did not move.
        mine = rest.get(f"/transactions?account.id={localnet.operator}&limit=3").json()["transactions"]
        assert [entry["name"] for entry in mine] == ["CRYPTOTRANSFER", "SCHEDULESIGN", "SCHEDULECREATE"]
        assert mine[0]["scheduled"] is True
        assert localnet.operator not in {line["account"] for line in mine[0]["transfers"]}
        assert {line["account"] for line in mine[0]["transfers"]} == {treasury.account, "0.0.802"}
        everybody = rest.get("/transactions?type=debit&limit=1").json()["transactions"]
        assert everybody == mine[:1]

        name = treasury.payout.removesuffix("?scheduled")

        def by_name(query: str) -> tuple[int, list[bool]]:
            answer = rest.get(f"/transactions/{name}?{query}")
            entries = answer.json().get("transactions", [])
            return answer.status_code, [entry["scheduled"] for entry in entries]

        assert by_name("") == (200, [False, True])
        assert by_name("scheduled=true&nonce=0") == (200, [True])
        assert by_name("scheduled=true&scheduled=FALSE") == (200, [False])
        assert by_name("nonce=0&nonce=1") == (404, [])
        assert by_name("scheduled=yes") == by_name("nonce=-1") == by_name("nonce=gt:0") == (400, [])
        assert rest.get("/transactions?type=both").status_code == 400


def test_the_first_of_many_transactions_are_read_page_by_page():
    entries = [paid(n, n) if n % 2 else entry(n, n, {TREASURY: 5, PAYER: -5}) for n in range(250)]
    shown = Shown([*entries, entry(900, 900, {PAYER: -5, "0.0.9": 5})])

    async def main(limit: int, is_part: bool) -> tuple[Any, ...]:
        async with shown.mirror() as mirror:
            return await mirror.transactions(AccountId(TREASURY), limit=limit, is_part=is_part)

    assert list(anyio.run(main, 250, False)) == list(anyio.run(main, 300, True)) == entries
    assert list(anyio.run(main, 120, True)) == entries[:120]
    with pytest.raises(LedgerError, match="too many to read"):
        anyio.run(main, 249, False)
