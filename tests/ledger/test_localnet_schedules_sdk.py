"""The real SDK schedules payouts of a 3-of-5 treasury, as the settlements of a run do."""

from collections.abc import Iterator

import httpx
import pytest

from ledger.hiero import (
    AccountCreateTransaction,
    AccountId,
    Client,
    CryptoGetAccountBalanceQuery,
    Hbar,
    KeyList,
    Network,
    PrivateKey,
    ResponseCode,
    ScheduleCreateTransaction,
    ScheduleInfoQuery,
    ScheduleSignTransaction,
    TransactionGetReceiptQuery,
    TransactionRecordQuery,
    TransferTransaction,
    _Node,
)
from ledger.localnet.description import Description
from tests.ledger.localnet_process import running_localnet


def client_of(description: Description, account: AccountId, key: PrivateKey) -> Client:
    node = _Node(AccountId(0, 0, 3), description.nodes["0.0.3"], None)
    client = Client(Network("localnet", nodes=[node], mirror_address=description.mirror_grpc))
    client.set_operator(account, key)
    return client


@pytest.fixture(scope="module")
def description(tmp_path_factory) -> Iterator[Description]:
    with running_localnet(tmp_path_factory.mktemp("localnet")) as localnet:
        yield localnet.description


@pytest.fixture(scope="module")
def operator(description) -> Iterator[Client]:
    key = PrivateKey.from_string(description.operator_key)
    client = client_of(description, AccountId(0, 0, 2), key)
    yield client
    client.close()


def create_account(client: Client, key, hbar: int) -> AccountId:
    transaction = AccountCreateTransaction().set_key_without_alias(key).set_initial_balance(Hbar(hbar))
    receipt = transaction.execute(client)
    assert receipt.status == ResponseCode.SUCCESS
    return receipt.account_id


def test_members_of_a_treasury_compare_and_sign_until_it_pays(description, operator):
    keys = [PrivateKey.generate_ecdsa() for _ in range(5)]
    accounts = [create_account(operator, key.public_key(), 5) for key in keys]
    members = [client_of(description, account, key) for account, key in zip(accounts, keys, strict=True)]
    treasury = create_account(operator, KeyList([key.public_key() for key in keys], threshold=3), 100)
    due = dict(zip(accounts, (500, 300, 200), strict=False))

    def payout() -> TransferTransaction:
        transfer = TransferTransaction().add_hbar_transfer(treasury, -sum(due.values()))
        for account, amount in due.items():
            transfer.add_hbar_transfer(account, amount)
        return transfer.set_transaction_memo("settle 7")

    def propose(client: Client):
        schedule: ScheduleCreateTransaction = payout().schedule()
        return schedule.set_payer_account_id(treasury).set_schedule_memo("settle 7").execute(client)

    created = propose(members[0])
    assert created.status == ResponseCode.SUCCESS
    again = propose(members[1])
    assert again.status == ResponseCode.IDENTICAL_SCHEDULE_ALREADY_CREATED
    assert str(again.schedule_id) == str(created.schedule_id)

    wanted = payout().build_scheduled_body().cryptoTransfer
    outcomes = []
    for member in members[1:4]:
        info = ScheduleInfoQuery(schedule_id=created.schedule_id).execute(member)
        assert info.scheduled_transaction_body.cryptoTransfer == wanted
        receipt = ScheduleSignTransaction(schedule_id=created.schedule_id).execute(member)
        outcomes.append(ResponseCode(receipt.status))
    assert outcomes == [ResponseCode.SUCCESS] * 2 + [ResponseCode.SCHEDULE_ALREADY_EXECUTED]

    scheduled_id = created.scheduled_transaction_id
    assert TransactionGetReceiptQuery(scheduled_id).execute(operator).status == ResponseCode.SUCCESS
    record = TransactionRecordQuery(scheduled_id).execute(operator)
    assert str(record.schedule_ref) == str(created.schedule_id)
    left = CryptoGetAccountBalanceQuery(treasury).execute(operator).hbars.to_tinybars()
    assert left == 100 * 100_000_000 - 1_000 - record.transaction_fee

    api = f"{description.mirror_rest}/api/v1"
    shown = httpx.get(f"{api}/schedules/{created.schedule_id}").json()
    assert shown["payer_account_id"] == str(treasury)
    assert len(shown["signatures"]) == 3
    (listed,) = httpx.get(f"{api}/schedules?account.id={accounts[0]}").json()["schedules"]
    assert listed == shown
    (entry,) = httpx.get(f"{api}/transactions?timestamp={shown['executed_timestamp']}").json()["transactions"]
    assert entry["scheduled"] is True
    assert {t["account"]: t["amount"] for t in entry["transfers"]}[str(accounts[0])] == 500
    both = httpx.get(f"{api}/transactions/{entry['transaction_id']}").json()["transactions"]
    assert [item["scheduled"] for item in both] == [False, True]
    only = httpx.get(f"{api}/transactions/{entry['transaction_id']}?scheduled=true").json()["transactions"]
    assert only == [entry]
    assert httpx.get(f"{api}/schedules/0.0.9999").status_code == 404
    for member in members:
        member.close()
